"""The OTA tasks (platform 9)."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import CampaignState, TaskInfo, TaskState
from sim.cloud.web.charts import BADGES
from sim.cloud.web.choices import choice, product_choice
from sim.cloud.web.layout import heading
from sim.cloud.web.live import follow
from sim.cloud.web.routes import NEW_TASK_PATH, product_path, task_path
from sim.cloud.web.tables import Column, Pager, Row, table
from sim.cloud.web.visit import Visit

COLUMNS: Final = (
    Column("task", "task.title", "link"),
    Column("product", "product.title", "link"),
    Column("state", "task.state", "state"),
    Column("progress", "task.progress", "bar"),
    Column("done", "task.devices"),
    Column("firmware", "task.firmware"),
    Column("created", "task.created"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    with heading(t("tasks.title")):
        create = ui.button(t("tasks.create"), icon="add").props("no-caps unelevated")
    with ui.row().classes("filters"):
        product = await product_choice(visit, visit.request.query_params.get("product"), clear=True)
        state = choice(visit, "task.state", {each: f"campaign.{each}" for each in CampaignState})
    shown = table(visit, COLUMNS, [], empty="tasks.empty")

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.run(Operations.page_tasks, product.value, state.value, after=after, limit=limit)
        return [row(visit, task) for task in page["items"]], page["next"]

    pager = Pager(visit, shown, fetch)
    pager.controls()
    for element in (product, state):
        element.on_value_change(pager.restart)
    query = f"?product={visit.request.query_params['product']}" if product.value else ""
    create.props["href"] = NEW_TASK_PATH + query
    await pager.refresh()
    follow(pager.look)


def row(visit: Visit, task: TaskInfo) -> Row:
    return {
        "id": task["id"],
        "task": visit.t("task.name", id=task["id"], version=task["version"]),
        "task_href": task_path(task["id"]),
        "product": task["product"],
        "product_href": product_path(task["product_id"]),
        "state": visit.t(f"campaign.{task['state']}"),
        "state_color": BADGES[task["state"]],
        "progress": task["percent"],
        "done": done_of(visit, task),
        "firmware": firmware_text(task),
        "created": visit.moment(task["created_at"]),
    }


def done_of(visit: Visit, task: TaskInfo) -> str:
    return visit.t("task.done-of", done=task["counts"].get(TaskState.DONE, 0), count=task["device_count"])


def firmware_text(task: TaskInfo) -> str:
    """The firmware in the order of installation."""
    return ", ".join(f"{each['name']} {each['version']}" for each in task["firmware"])
