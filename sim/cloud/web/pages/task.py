"""One OTA task, live (platform 9)."""

from collections.abc import Callable
from typing import Any, Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import CampaignState, TaskDeviceInfo, TaskInfo, TaskState
from sim.cloud.web.charts import BADGES, states
from sim.cloud.web.choices import choice
from sim.cloud.web.dialogs import ask
from sim.cloud.web.facts import facts
from sim.cloud.web.formats import NOTHING, size
from sim.cloud.web.layout import heading, section
from sim.cloud.web.live import follow
from sim.cloud.web.notes import noted
from sim.cloud.web.pages.firmware import number
from sim.cloud.web.pages.tasks import done_of, firmware_text
from sim.cloud.web.routes import device_path, product_path
from sim.cloud.web.tables import Column, Pager, Row, table
from sim.cloud.web.visit import Visit

PERIOD: Final = 1.0  # seconds until a change shows
PERCENT: Final = 100

COLUMNS: Final = (
    Column("sn", "device.sn", "link"),
    Column("state", "task.state", "state"),
    Column("progress", "task.progress", "bar"),
    Column("now", "task.now"),
    Column("version", "device.version"),
    Column("online", "device.online", "state"),
    Column("attempts", "task.attempts"),
    Column("reason", "task.reason"),
)


async def build(visit: Visit) -> None:
    t, task_id = visit.t, number(visit, "task_id")
    task = await visit.run(Operations.show_task, task_id)
    with heading(t("task.name", id=task_id, version=task["version"])):
        buttons = _actions(visit, task_id)
    with ui.card().classes("wide"):
        with ui.row().classes("task-line"):
            state = ui.badge().classes("task-state").props("data-mark=task-state")
            done = ui.label().props("data-mark=task-done")
            stage = ui.label().classes("soft")
            ui.space()
            rate = ui.label().classes("soft")
            percent = ui.label().classes("task-percent").props("data-mark=task-percent")
        bar = ui.linear_progress(show_value=False, size="14px").props("rounded instant-feedback")
        bar.props["aria-label"] = t("task.progress")
        reason = ui.label().classes("warning").props("role=status")
        names = {str(each): t(f"taskstate.{each}") for each in TaskState}
        chart = ui.echart({}).classes("chart chart-low")
    with ui.card().classes("wide"):
        _facts(visit, task)
    with ui.row().classes("filters"):
        section(t("task.devices"))
        wanted = choice(visit, "task.filter", {each: f"taskstate.{each}" for each in TaskState})
    shown = table(visit, COLUMNS, [], empty="devices.empty")
    count = len(task["firmware"])

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.run(Operations.page_task_devices, task_id, wanted.value, after=after, limit=limit)
        return [_row(visit, each, count) for each in page["items"]], page["next"]

    pager = Pager(visit, shown, fetch)
    pager.controls()
    wanted.on_value_change(pager.restart)

    def show(now: TaskInfo) -> None:
        state.set_text(t(f"campaign.{now['state']}"))
        state.props["color"] = BADGES[now["state"]]
        done.set_text(done_of(visit, now))
        percent.set_text(f"{now['percent']} %")
        bar.set_value(now["percent"] / PERCENT)
        moving = now["eta"] is not None
        rate.set_text(t("task.rate", rate=size(now["rate"]), eta=now["eta"]) if moving else "")
        reason.set_text(now["reason"])
        stages = now["rollout"]["stages"]
        open_stage = t("task.stage", stage=now["stage"], count=len(stages), percent=stages[now["stage"] - 1])
        stage.set_text(open_stage if len(stages) > 1 else "")
        option = states([(str(now["id"]), now["counts"])], names)
        if option != chart.options:
            chart.options.clear()
            chart.options.update(option)
            chart.update()
        for name, button in buttons.items():
            button.set_visibility(_possible(name, now))

    async def look() -> None:
        show(await visit.run(Operations.show_task, task_id))
        await pager.look()

    show(task)
    await pager.refresh()
    follow(look, PERIOD)


def _possible(action: str, task: TaskInfo) -> bool:
    state = task["state"]
    if action == "pause":
        return state in (CampaignState.RUNNING, CampaignState.SCHEDULED)
    if action == "resume":
        return state in (CampaignState.PAUSED, CampaignState.STOPPED)
    if action == "retry":
        return task["counts"].get(TaskState.FAILED, 0) > 0 and state != CampaignState.CANCELLED
    return state not in (CampaignState.DONE, CampaignState.CANCELLED)


def _actions(visit: Visit, task_id: int) -> dict[str, ui.button]:
    t = visit.t

    def doing(operation: Callable[[Operations, int], TaskInfo]) -> Callable[[], Any]:
        async def act() -> None:
            with noted(visit):
                await visit.run(operation, task_id)

        return act

    async def cancel() -> None:
        await visit.run(Operations.cancel_task, task_id)

    def button(name: str, icon: str, color: str, act: Callable[[], Any]) -> ui.button:
        made = ui.button(t(f"task.{name}"), icon=icon).props(f"no-caps outline color={color}")
        return made.on_click(act)

    return {
        "pause": button("pause", "pause", "primary", doing(Operations.pause_task)),
        "resume": button("resume", "play_arrow", "primary", doing(Operations.resume_task)),
        "retry": button("retry", "refresh", "primary", doing(Operations.retry_task)),
        "cancel": button(
            "cancel",
            "block",
            "negative",
            lambda: ask(visit, t("task.ask-cancel"), cancel, confirm="task.cancel"),
        ),
    }


def _facts(visit: Visit, task: TaskInfo) -> None:
    t, rollout = visit.t, task["rollout"]
    limit = rollout["failure_limit"]
    facts(
        (t("product.title"), lambda: ui.link(task["product"], product_path(task["product_id"]))),
        (t("task.firmware"), firmware_text(task)),
        (t("task.mode"), t.known(f"mode.{task['mode']}", task["mode"])),
        (t("task.stages"), ", ".join(f"{stage} %" for stage in rollout["stages"])),
        (t("task.failure-limit"), NOTHING if limit is None else f"{limit} %"),
        (t("task.by"), task["created_by"]),
        (t("task.created"), visit.moment(task["created_at"])),
        (t("task.starts"), visit.moment(task["starts_at"])),
        (t("task.ends"), visit.moment(task["ends_at"])),
    )


def _row(visit: Visit, device: TaskDeviceInfo, count: int) -> Row:
    t = visit.t
    return {
        "id": device["device_id"],
        "sn": device["sn"],
        "sn_href": device_path(device["device_id"]),
        "state": t(f"taskstate.{device['state']}"),
        "state_color": BADGES[device["state"]],
        "progress": device_percent(device, count),
        "now": t("task.of", number=device["firmware"], count=count) if device["firmware"] else NOTHING,
        "version": device["version"] or NOTHING,
        "online": t("device.is-online" if device["online"] else "device.is-offline"),
        "online_color": "positive" if device["online"] else "grey-7",
        "attempts": device["attempts"],
        "reason": device["reason"],
    }


def device_percent(device: TaskDeviceInfo, count: int) -> int:
    """How much of its `count` firmwares a device has fetched, in percent."""
    if device["state"] == TaskState.DONE:
        return PERCENT
    before = max(0, device["firmware"] - 1)
    share = device["offset"] / device["file_size"] if device["file_size"] else 0.0
    return min(PERCENT, int((before + min(1.0, share)) * PERCENT / count))
