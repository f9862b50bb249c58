"""What goes on, at a glance."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import OnlinePoint, OverviewInfo, TaskInfo, TaskState
from sim.cloud.web.charts import over_time, shares, states
from sim.cloud.web.layout import heading, section
from sim.cloud.web.live import follow
from sim.cloud.web.pages import audit
from sim.cloud.web.pages.first_steps import first_steps
from sim.cloud.web.routes import DEVICES_PATH, PRODUCTS_PATH, TASKS_PATH
from sim.cloud.web.tables import table
from sim.cloud.web.visit import Visit

PERIOD: Final = 5.0  # seconds until a change shows
HISTORY: Final = 86_400  # seconds that the chart goes back
SEEN: Final = 24  # counts that the page remembers, for longer than samples are apart
SHOWN_TASKS: Final = 6
SHOWN_AUDIT: Final = 8

#: Number, text and address of the boxes on top.
BOXES: Final = (
    ("products", "dashboard.products", PRODUCTS_PATH, "category"),
    ("devices", "dashboard.devices", DEVICES_PATH, "memory"),
    ("online", "dashboard.online", DEVICES_PATH, "sensors"),
    ("open_tasks", "dashboard.tasks", TASKS_PATH, "system_update_alt"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    heading(t("dashboard.title"))
    numbers = {}
    with ui.element("div").classes("boxes"):
        for name, text, path, icon in BOXES:
            with ui.link(target=path).classes("box"):
                ui.icon(icon).classes("box-icon").props("aria-hidden=true")
                numbers[name] = ui.label().classes("box-number").props(f"data-mark=count-{name}")
                ui.label(t(text)).classes("soft")
    start = ui.column().classes("wide")
    start.set_visibility(False)
    with ui.element("div").classes("charts"):
        history, versions, progress, failures = (
            _chart(t(f"dashboard.{name}"), t("dashboard.nothing"))
            for name in ("history", "versions", "progress", "failures")
        )
    section(t("dashboard.audit"))
    log = table(visit, audit.COLUMNS, [], empty="audit.empty")
    seen: deque[OnlinePoint] = deque(maxlen=SEEN)
    names = {str(each): t(f"taskstate.{each}") for each in TaskState}

    async def look() -> None:
        overview = await visit.run(Operations.overview)
        for name, label in numbers.items():
            label.set_text(str(_count(overview, name)))
        now = visit.cloud.service.core.now()
        noted = await visit.run(Operations.online_history, None, now - HISTORY)
        seen.append(OnlinePoint(at=now, online=overview["online"], activated=overview["activated"]))
        points = with_seen(noted, seen)
        _draw(
            history,
            over_time(
                {
                    t("dashboard.online"): [(point["at"], point["online"]) for point in points],
                    t("dashboard.activated"): [(point["at"], point["activated"]) for point in points],
                }
            ),
            noted or overview["devices"],
        )
        _draw(versions, shares(overview["versions"]), overview["versions"])
        causes = {cause or t("dashboard.unknown-cause"): n for cause, n in overview["failures"].items()}
        _draw(failures, shares(causes), causes)
        tasks = (await visit.run(Operations.page_tasks, limit=SHOWN_TASKS))["items"]
        _draw(progress, states([_bar(task) for task in tasks], names), tasks)
        page = await visit.run(Operations.page_audit, limit=SHOWN_AUDIT)
        rows = [audit.row(visit, entry) for entry in page["items"]]
        if rows != log.rows:
            log.rows = rows

    await look()
    if (await visit.run(Operations.overview))["products"] == 0:
        start.set_visibility(True)
        with start:
            first_steps(visit, None, device=False)
    follow(look, PERIOD)


def with_seen(noted: Sequence[OnlinePoint], seen: Iterable[OnlinePoint]) -> list[OnlinePoint]:
    """The samples, and what the page has seen since the last of them: samples are a minute apart."""
    last = noted[-1]["at"] if noted else 0
    return [*noted, *(point for point in seen if point["at"] > last)]


def _count(overview: OverviewInfo, name: str) -> int:
    counts: Mapping[str, Any] = overview
    return int(counts[name])


def _bar(task: TaskInfo) -> tuple[str, Mapping[str, int]]:
    return f"{task['id']}: {task['version']}", task["counts"]


class _Chart:
    """A chart, and what is said in its place while there is nothing to draw."""

    def __init__(self, chart: ui.echart, nothing: ui.label) -> None:
        self.chart = chart
        self.nothing = nothing


def _chart(title: str, empty: str) -> _Chart:
    with ui.card().classes("chart-card"):
        section(title)
        chart = ui.echart({}).classes("chart")
        chart.props["aria-label"] = title
        nothing = ui.label(empty).classes("soft")
    return _Chart(chart, nothing)


def _draw(shown: _Chart, option: dict[str, Any], data: object) -> None:
    if option != shown.chart.options:
        shown.chart.options.clear()
        shown.chart.options.update(option)
        shown.chart.update()
    shown.chart.set_visibility(bool(data))
    shown.nothing.set_visibility(not data)
