"""Who did what."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import AuditInfo
from sim.cloud.web.layout import heading
from sim.cloud.web.tables import Column, Pager, Row, filter_input, table
from sim.cloud.web.visit import Visit

COLUMNS: Final = (
    Column("at", "audit.at"),
    Column("actor", "audit.actor"),
    Column("address", "audit.address"),
    Column("action", "audit.action"),
    Column("subject", "audit.subject"),
    Column("detail", "audit.detail"),
)


async def build(visit: Visit) -> None:
    heading(visit.t("audit.title"))
    with ui.row().classes("filters"):
        action = filter_input(visit, "audit.filter-action")
        subject = filter_input(visit, "audit.filter-subject")
    shown = table(visit, COLUMNS, [], empty="audit.empty")

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.run(
            Operations.page_audit,
            action=action.value or None,
            subject=subject.value or None,
            after=after,
            limit=limit,
        )
        return [row(visit, entry) for entry in page["items"]], page["next"]

    pager = Pager(visit, shown, fetch)
    pager.controls()
    for element in (action, subject):
        element.on_value_change(pager.restart)
    await pager.refresh()


def row(visit: Visit, entry: AuditInfo) -> Row:
    return {
        "id": entry["id"],
        "at": visit.moment(entry["at"]),
        "actor": entry["actor"],
        "address": entry["address"],
        "action": entry["action"],
        "subject": entry["subject"],
        "detail": entry["detail"],
    }
