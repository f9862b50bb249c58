"""A key that is shown only when asked for (platform 2.2, 3.2)."""

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from sim.cloud.web.layout import icon_button
from sim.cloud.web.notes import noted
from sim.cloud.web.visit import Visit

_HIDDEN: Final = "••••••••••••"


def copy_button(visit: Visit, text: Callable[[], str]) -> None:
    def copy() -> None:
        ui.clipboard.write(text())
        ui.notify(visit.t("note.copied"))

    icon_button("content_copy", visit.t("do.copy")).props("size=sm").on_click(copy)


def secret(visit: Visit, fetch: Callable[[], Awaitable[str]]) -> None:
    """A hidden value. `fetch` brings it, once per request, and is audited by the operation behind it."""
    shown: list[str] = []
    with ui.row().classes("secret"):
        value = ui.label(_HIDDEN).classes("mono").props("data-mark=secret")
        button = icon_button("visibility", visit.t("do.reveal")).props("size=sm")
        copier = ui.row()

    async def toggle() -> None:
        if shown:
            shown.clear()
            value.set_text(_HIDDEN)
            button.props("icon=visibility")
            copier.clear()
            return
        with noted(visit):
            shown.append(await fetch())
            value.set_text(shown[0])
            button.props("icon=visibility_off")
            with copier:
                copy_button(visit, lambda: shown[0] if shown else "")

    button.on_click(toggle)
