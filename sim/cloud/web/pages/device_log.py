"""The Web Log on a device's page (platform 6): the switch, the live view, the stored lines."""

from collections.abc import Callable
from typing import Any, Final

from nicegui import background_tasks, context, events, ui

from cloudsdk.errors import CloudSdkError
from sim.cloud.gateways.web_logs import LogViewer
from sim.cloud.logs import LogFilter, LogLine
from sim.cloud.web.formats import from_input, precise_moment
from sim.cloud.web.live import follow
from sim.cloud.web.log_file import log_file_path
from sim.cloud.web.notes import note_error, noted
from sim.cloud.web.tables import Column, Pager, Row, filter_input, table
from sim.cloud.web.terminal import plain_line
from sim.cloud.web.visit import Visit

LIVE_LINES: Final = 500  # shown at once
SWITCH_PATIENCE: Final = 8.0  # seconds to wait for the device after the switch was moved
MS: Final = 1000
COLUMNS: Final = (Column("at", "log.at"), Column("text", "log.text", "log"))


async def build_log(visit: Visit, device_id: str) -> None:
    t = visit.t
    with ui.row().classes("log-bar"):
        switch = ui.switch(t("log.switch"))
        state = ui.label().classes("soft").props("data-mark=log-state").props("role=status")
        ui.space()
        views = ui.toggle({"live": t("log.live"), "stored": t("log.stored")}, value="live")
        views.props("no-caps unelevated dense").classes("log-views")
    ui.label(t("log.note")).classes("soft")
    live = ui.log(max_lines=LIVE_LINES).classes("log mono").props("data-mark=log-live")
    live.props["aria-label"] = t("log.live")
    stored = ui.column().classes("wide")
    stored.set_visibility(False)

    def show_status() -> None:
        status = visit.cloud.consoles.log_status(device_id)
        state.set_text(" · ".join(part for part in (t(f"log.state.{status.state}"), status.note) if part))
        if switch.value != status.wanted:
            switch.set_value(status.wanted)

    async def move(event: events.ValueChangeEventArguments[Any]) -> None:
        if event.value == visit.cloud.consoles.log_status(device_id).wanted:
            return
        with noted(visit):
            consoles = await visit.console_of(device_id)
            await consoles.switch_log(device_id, on=bool(event.value))
            await consoles.log_settled(device_id, SWITCH_PATIENCE)
        show_status()

    async def look() -> None:
        await visit.console_of(device_id)
        show_status()

    with stored:
        pager = _stored(visit, device_id)

    async def turn(event: events.ValueChangeEventArguments[Any]) -> None:
        live.set_visibility(event.value == "live")
        stored.set_visibility(event.value == "stored")
        if event.value == "stored":
            await pager.restart()

    show_status()
    switch.on_value_change(move)
    views.on_value_change(turn)
    stop = await _follow(visit, device_id, live)
    follow(look, ended=stop)


async def _follow(visit: Visit, device_id: str, shown: ui.log) -> Callable[[], object]:
    """Show the lines that come while the page is open; what is returned ends it."""
    try:
        viewer = await (await visit.console_of(device_id)).follow_log(device_id)
    except CloudSdkError as exc:
        note_error(visit, exc)
        return lambda: None
    context.client.on_delete(viewer.close)
    background_tasks.create(_show(visit, viewer, shown), name="log viewer")
    return viewer.close


async def _show(visit: Visit, viewer: LogViewer, shown: ui.log) -> None:
    async for batch in viewer:
        lost = batch.lost + max(0, len(batch.lines) - LIVE_LINES)
        if lost:
            shown.push(visit.t("log.lost", count=lost))
        for line in batch.lines[-LIVE_LINES:]:
            shown.push(f"{_at(visit, line)[11:]}  {plain_line(line.text)}")


def _at(visit: Visit, line: LogLine) -> str:
    return precise_moment(line.at_ms, visit.preferences.zone)


def _stored(visit: Visit, device_id: str) -> Pager:
    t = visit.t
    with ui.row().classes("filters"):
        search = filter_input(visit, "log.search")
        since, until = (
            ui.input(t(label))
            .props("outlined dense type=datetime-local stack-label clearable")
            .classes("filter")
            for label in ("log.since", "log.until")
        )
        download = ui.button(t("log.download"), icon="download").props("no-caps outline")
    shown = table(visit, COLUMNS, [], empty="log.empty")

    def wanted() -> LogFilter:
        first, last = (from_input(field.value, visit.preferences.zone) for field in (since, until))
        return LogFilter(
            first * MS if first is not None else None,
            (last + 1) * MS if last is not None else None,
            search.value or "",
        )

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.logs_of(
            device_id, lambda logs: logs.page(device_id, wanted(), cursor=after or None, limit=limit)
        )
        rows = [{"id": line.id, "at": _at(visit, line), "text": plain_line(line.text)} for line in page.lines]
        return rows, page.next

    pager = Pager(visit, shown, fetch)
    pager.controls()
    for element in (search, since, until):
        element.on_value_change(pager.restart)
    download.on_click(lambda: ui.navigate.to(log_file_path(device_id, wanted())))
    return pager
