"""Dialogs: a form, a question. Enter confirms, Escape closes, an error is shown in place."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui import context, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.web.notes import error_text
from sim.cloud.web.visit import Visit

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `label` and `hint` are keys of texts, `names` the beginning of those of `choices`; `limit`
    is in characters, or the largest number."""

    name: str
    label: str
    kind: Literal["text", "long", "number", "password", "choice", "choices"] = "text"
    value: Any = ""
    required: bool = False
    limit: int = 64
    hint: str | None = None
    choices: tuple[str, ...] = ()
    names: str = "choice"
    disabled: bool = False


def open_form(
    visit: Visit,
    title: str,
    fields: Sequence[Field],
    submit: Callable[[Values], Awaitable[None]],
    *,
    confirm: str = "do.save",
) -> None:
    """Show `fields` in a dialog. `submit` gets their values; what it raises stays in the dialog."""
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        dialog.props["aria-label"] = visit.t(title)
        ui.label(visit.t(title)).classes("dialog-title").props('role=heading aria-level="2"')
        inputs = {field.name: input_of(visit, field) for field in fields}
        problem = ui.label().classes("dialog-problem").props("role=alert")
        problem.set_visibility(False)

        client = context.client

        async def finish() -> None:
            wrong = [element for element in inputs.values() if not element.validate()]
            if wrong:
                return
            button.disable()
            try:
                with client:  # what comes of it outlives the dialog
                    await submit({name: _value(element.value) for name, element in inputs.items()})
            except CloudSdkError as exc:
                problem.set_text(error_text(visit.t, exc))
                problem.set_visibility(True)
            else:
                dialog.close()
            finally:
                button.enable()

        for field in fields:
            if field.kind != "long":
                inputs[field.name].on("keydown.enter.prevent", finish)
        with ui.row().classes("dialog-actions"):
            ui.button(visit.t("do.cancel"), on_click=dialog.close).props("flat no-caps")
            button = ui.button(visit.t(confirm), on_click=finish).props("no-caps unelevated")
    dialog.on("hide", dialog.delete)
    dialog.open()


def ask(
    visit: Visit, question: str, act: Callable[[], Awaitable[None]], *, confirm: str, dangerous: bool = True
) -> None:
    """Ask before `act`. `question` is text, `confirm` the key of the button's."""
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        ui.label(question).classes("dialog-question")
        problem = ui.label().classes("dialog-problem").props("role=alert")
        problem.set_visibility(False)

        client = context.client

        async def finish() -> None:
            try:
                with client:
                    await act()
            except CloudSdkError as exc:
                problem.set_text(error_text(visit.t, exc))
                problem.set_visibility(True)
            else:
                dialog.close()

        with ui.row().classes("dialog-actions"):
            cancel = ui.button(visit.t("do.cancel"), on_click=dialog.close).props("flat no-caps autofocus")
            button = ui.button(visit.t(confirm), on_click=finish).props("no-caps unelevated")
            if dangerous:
                button.props("color=negative")
            else:
                cancel.props(remove="autofocus")
                button.props("autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def input_of(visit: Visit, field: Field) -> Any:
    """The element of a field; its `value` and `validate` are NiceGUI's."""
    label = visit.t(field.label) + (" *" if field.required else "")
    rules: dict[str, Callable[[Any], bool]] = {}
    if field.required:
        rules[visit.t("form.required")] = lambda value: value not in (None, "", [])
    element: Any
    if field.kind == "number":
        element = ui.number(label, value=field.value, min=1, max=field.limit, precision=0, validation=rules)
    elif field.kind == "long":
        element = ui.textarea(label, value=field.value, validation=rules).props("autogrow")
        element.props["maxlength"] = field.limit
    elif field.kind in ("choice", "choices"):
        options = {choice: visit.t.known(f"{field.names}.{choice}", choice) for choice in field.choices}
        several = field.kind == "choices"
        element = ui.select(options, label=label, value=field.value, multiple=several, validation=rules)
        element.props("use-chips" if several else "")
    else:
        element = ui.input(label, value=field.value, password=field.kind == "password", validation=rules)
        element.props["maxlength"] = field.limit
    element.props("outlined dense")
    element.classes("field")
    if field.hint is not None:
        element.props["hint"] = visit.t(field.hint)
    if field.disabled:
        element.disable()
    return element


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return int(value)
    return value.strip() if isinstance(value, str) else value
