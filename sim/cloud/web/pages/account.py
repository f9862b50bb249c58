"""The reader's own account and API tokens (platform 1)."""

from typing import Any, Final

from nicegui import ui

from sim.cloud.model.work import Scope
from sim.cloud.operations import Operations
from sim.cloud.shapes import TokenInfo
from sim.cloud.web.dialogs import Field, Values, ask, open_form
from sim.cloud.web.facts import facts
from sim.cloud.web.layout import heading, section
from sim.cloud.web.notes import note_done
from sim.cloud.web.secret import copy_button
from sim.cloud.web.tables import Column, Row, table
from sim.cloud.web.visit import Visit

DAY: Final = 86_400  # seconds
MAX_DAYS: Final = 3650

COLUMNS: Final = (
    Column("name", "tokens.name"),
    Column("scopes", "tokens.scopes"),
    Column("created", "tokens.created"),
    Column("used", "tokens.used"),
    Column("expires", "tokens.expires"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    account = await visit.run(Operations.account)
    with heading(visit.caller.name):
        if account is not None:
            change = ui.button(t("account.password"), icon="key").props("no-caps outline")
            change.on_click(lambda: _change_password(visit))
    if account is None:
        ui.label(t("account.operator")).classes("soft")
    else:
        with ui.card().classes("wide"):
            facts(
                (t("account.created"), visit.moment(account["created_at"])),
                (t("account.last-login"), visit.moment(account["last_login_at"])),
            )
    await _tokens(visit)


def _change_password(visit: Visit) -> None:
    async def submit(values: Values) -> None:
        await visit.change_password(values["old"], values["new"])
        note_done(visit.t("note.saved"))

    fields = [
        Field("old", "account.password-old", "password", required=True, limit=128),
        Field(
            "new",
            "account.password-new",
            "password",
            required=True,
            limit=128,
            hint="account.password-note",
        ),
    ]
    open_form(visit, "account.password", fields, submit)


async def _tokens(visit: Visit) -> None:
    t = visit.t
    with ui.row().classes("heading"):
        section(t("tokens.title"))
        ui.space()
        create = ui.button(t("tokens.create"), icon="add").props("no-caps outline")
    ui.label(t("tokens.note")).classes("soft")
    shown = table(visit, COLUMNS, [], empty="tokens.empty", action="do.delete")

    async def refresh() -> None:
        shown.rows = [_row(visit, token) for token in await visit.run(Operations.list_tokens)]

    async def submit(values: Values) -> None:
        expires = int(visit.cloud.service.core.now()) + values["days"] * DAY if values["days"] else None
        token = await visit.run(Operations.create_token, values["name"], values["scopes"], expires)
        await refresh()
        _show_once(visit, token["token"])

    def delete(event: Any) -> None:
        row = event.args

        async def act() -> None:
            await visit.run(Operations.delete_token, row["id"])
            await refresh()

        ask(visit, t("tokens.delete", name=row["name"]), act, confirm="do.delete")

    create.on_click(lambda: open_form(visit, "tokens.create", _token_fields(), submit, confirm="do.create"))
    shown.on("act", delete)
    await refresh()


def _token_fields() -> list[Field]:
    scopes = tuple(str(scope) for scope in Scope)
    return [
        Field("name", "tokens.name", required=True),
        Field("scopes", "tokens.scopes", "choices", [str(Scope.READ)], True, choices=scopes, names="scope"),
        Field("days", "tokens.days", "number", 90, limit=MAX_DAYS),
    ]


def _show_once(visit: Visit, token: str) -> None:
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        ui.label(visit.t("tokens.once")).classes("dialog-question")
        with ui.row().classes("secret"):
            ui.label(token).classes("mono").props("data-mark=token")
            copy_button(visit, lambda: token)
        with ui.row().classes("dialog-actions"):
            ui.button(visit.t("do.close"), on_click=dialog.close).props("no-caps unelevated autofocus")
    dialog.props("persistent")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _row(visit: Visit, token: TokenInfo) -> Row:
    return {
        "id": token["id"],
        "name": token["name"],
        "scopes": ", ".join(visit.t.known(f"scope.{scope}", scope) for scope in token["scopes"]),
        "created": visit.moment(token["created_at"]),
        "used": visit.moment(token["last_used_at"]),
        "expires": visit.moment(token["expires_at"]),
    }
