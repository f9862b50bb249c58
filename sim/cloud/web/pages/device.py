"""One device (platform 3.2)."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import Binding, DeviceInfo, DeviceTaskInfo, TransferInfo
from sim.cloud.web.charts import BADGES
from sim.cloud.web.dialogs import Values, ask, open_form
from sim.cloud.web.facts import facts
from sim.cloud.web.formats import NOTHING, size
from sim.cloud.web.layout import heading
from sim.cloud.web.live import follow
from sim.cloud.web.notes import noted
from sim.cloud.web.pages.device_forms import device_fields, with_tags
from sim.cloud.web.pages.device_log import build_log
from sim.cloud.web.pages.first_steps import code, port_snippet, run_command
from sim.cloud.web.routes import DEVICES_PATH, device_path, product_path, shell_path, task_path
from sim.cloud.web.secret import copy_button, secret
from sim.cloud.web.tables import Column, Row, table
from sim.cloud.web.uploads import api_url
from sim.cloud.web.visit import Visit

TRANSFERS: Final = (
    Column("at", "transfer.at"),
    Column("firmware", "transfer.firmware"),
    Column("from", "transfer.from", align="right"),
    Column("sent", "transfer.sent", align="right"),
    Column("outcome", "transfer.outcome", "state"),
)
TASKS: Final = (
    Column("task", "task.title", "link"),
    Column("state", "task.state", "state"),
    Column("reason", "task.reason"),
    Column("created", "task.created"),
    Column("done", "task.finished"),
)


async def build(visit: Visit) -> None:
    t, device_id = visit.t, visit.parameter("device_id")
    device = await visit.run(Operations.show_device, device_id)
    with heading(device["name"] or device["sn"]):
        _actions(visit, device)
    warning = ui.label().classes("warning").props("role=status")
    with ui.card().classes("wide"):
        values = _facts(visit, device)
    with (
        ui.tabs()
        .props("no-caps align=left inline-label outside-arrows mobile-arrows")
        .classes("tabs") as tabs
    ):
        ui.tab("log", t("device.tab.log"))
        ui.tab("transfers", t("device.tab.transfers"))
        ui.tab("tasks", t("device.tab.tasks"))
        ui.tab("port", t("device.tab.port"))
        ui.tab("binding", t("device.tab.binding"))

    async def product_key() -> str:
        return (await visit.run(Operations.product_key, device["product_id"]))["product_key"]

    first = "log" if device["activated_at"] is not None else "port"
    if visit.request.query_params.get("tab") == "binding":
        first = "binding"
    with ui.tab_panels(tabs, value=first).props("keep-alive").classes("wide panels"):
        with ui.tab_panel("log"):
            await build_log(visit, device_id)
        with ui.tab_panel("transfers"):
            transfers = table(visit, TRANSFERS, [], empty="transfer.empty")
        with ui.tab_panel("tasks"):
            tasks = table(visit, TASKS, [], empty="tasks.empty")
        with ui.tab_panel("port"):
            product = await visit.run(Operations.show_product, device["product_id"])
            facts((t("product.key"), lambda: secret(visit, product_key)))
            ui.label(t("steps.port-why")).classes("soft")
            code(visit, port_snippet(product, device["sn"]))
            ui.label(t("steps.run-why")).classes("soft")
            code(visit, run_command(visit, product, device["sn"]))
        with ui.tab_panel("binding"):
            await _binding(visit, device_id)

    async def look() -> None:
        now = await visit.run(Operations.show_device, device_id)
        for name, text in _live(visit, now).items():
            values[name].set_text(text)
        values["online"].classes(replace="state-on" if now["online"] else "state-off")
        suspect = now["suspect_at"]
        warning.set_visibility(suspect is not None)
        warning.set_text(t("device.suspect", at=visit.moment(suspect)) if suspect is not None else "")
        if tabs.value == "transfers":
            found = await visit.run(Operations.transfers, device_id)
            _show(transfers, [_transfer(visit, each) for each in reversed(found)])
        elif tabs.value == "tasks":
            history = await visit.run(Operations.tasks_of_device, device_id)
            _show(tasks, [_task(visit, each) for each in history])

    await look()
    follow(look)


def _show(shown: ui.table, rows: list[Row]) -> None:
    if shown.rows != rows:
        shown.rows = rows


def _actions(visit: Visit, device: DeviceInfo) -> None:
    t, device_id = visit.t, device["device_id"]

    async def change(values: Values) -> None:
        changed = with_tags(values)
        for name in ("sn", "mac"):
            if changed[name] == device[name]:
                del changed[name]
        await visit.run(Operations.update_device, device_id, **changed)
        ui.navigate.to(device_path(device_id))

    async def publish() -> None:
        await visit.run(Operations.publish_device, device_id)
        ui.navigate.to(device_path(device_id))

    async def delete() -> None:
        await visit.run(Operations.delete_device, device_id)
        ui.navigate.to(f"{DEVICES_PATH}?product={device['product_id']}")

    shell = ui.button(t("shell.open"), icon="terminal").props("no-caps unelevated")
    shell.props["href"] = shell_path(device_id)
    edit = ui.button(t("do.edit"), icon="edit").props("no-caps outline")
    edit.on_click(lambda: open_form(visit, "device.edit", device_fields(device), change))
    if not device["published"]:
        ui.button(t("do.publish"), icon="public").props("no-caps outline").props(
            "data-mark=publish"
        ).on_click(
            lambda: ask(visit, t("device.ask-publish"), publish, confirm="do.publish", dangerous=False)
        )
    ui.button(t("do.delete"), icon="delete").props("no-caps outline color=negative").props(
        "data-mark=delete"
    ).on_click(lambda: ask(visit, t("device.ask-delete", sn=device["sn"]), delete, confirm="do.delete"))


def _live(visit: Visit, device: DeviceInfo) -> dict[str, str]:
    """What changes while one looks."""
    t = visit.t
    return {
        "online": t("device.is-online" if device["online"] else "device.is-offline"),
        "state": t(f"device.state.{device['state']}"),
        "version": device["version"] or NOTHING,
        "activated": visit.moment(device["activated_at"]),
        "login": visit.moment(device["last_login_at"]),
        "ip": device["last_login_ip"] or NOTHING,
        "updated": visit.moment(device["updated_at"]),
    }


def _facts(visit: Visit, device: DeviceInfo) -> dict[str, ui.label]:
    t = visit.t
    labels: dict[str, ui.label] = {}

    async def key() -> str:
        return (await visit.run(Operations.device_key, device["device_id"]))["device_key"]

    def device_id() -> None:
        with ui.row().classes("secret"):
            ui.label(device["device_id"]).classes("mono")
            copy_button(visit, lambda: device["device_id"])

    def live(name: str) -> None:
        labels[name] = ui.label().props(f"data-mark=live-{name}")

    facts(
        (t("device.online"), lambda: live("online")),
        (t("device.state"), lambda: live("state")),
        (t("device.version"), lambda: live("version")),
        (t("device.sn"), device["sn"]),
        (t("device.id"), device_id),
        (t("device.key"), lambda: secret(visit, key)),
        (t("product.title"), lambda: ui.link(device["product"], product_path(device["product_id"]))),
        (t("device.mac"), device["mac"]),
        (t("device.tags"), ", ".join(device["tags"])),
        (t("device.activated-at"), lambda: live("activated")),
        (t("device.last-login"), lambda: live("login")),
        (t("device.last-ip"), lambda: live("ip")),
        (t("device.created"), visit.moment(device["created_at"])),
        (t("device.updated"), lambda: live("updated")),
        (t("device.published-at"), visit.moment(device["published_at"])),
        (t("device.description"), device["description"]),
    )
    return labels


async def _binding(visit: Visit, device_id: str) -> None:
    t = visit.t
    found = await visit.run(Operations.binding_url, device_id)
    with ui.row().classes("binding"):
        image = ui.element("img").classes("qr")
        image.props["src"] = api_url(f"/devices/{device_id}/qr.svg")
        image.props["alt"] = t("binding.code", url=found["url"])
        with ui.column().classes("step-text"):
            ui.label(found["url"]).classes("mono")
            ui.label(t("binding.how")).classes("soft")
            state = ui.label().classes("step-title").props("data-mark=binding-state")

            def show(binding: Binding) -> None:
                until = binding["bind_until"]
                is_open = until is not None and until > visit.cloud.service.core.now()
                state.set_text(
                    t("binding.is-open", at=visit.moment(until)) if is_open else t("binding.is-closed")
                )

            async def bind(seconds: int | None) -> None:
                with noted(visit):
                    if seconds is None:
                        show(await visit.run(Operations.bind_device, device_id))
                    else:
                        show(await visit.run(Operations.bind_device, device_id, seconds=seconds))

            with ui.row():
                ui.button(t("binding.open"), on_click=lambda: bind(None)).props("no-caps outline")
                ui.button(t("binding.close"), on_click=lambda: bind(0)).props("no-caps flat")
            show(found)


def _transfer(visit: Visit, transfer: TransferInfo) -> Row:
    return {
        "id": transfer["id"],
        "at": visit.moment(transfer["started_at"]),
        "firmware": f"{transfer['name']} {transfer['version']}",
        "from": transfer["first_byte"],
        "sent": size(transfer["bytes_sent"]),
        "outcome": visit.t(f"outcome.{transfer['outcome']}"),
        "outcome_color": {"complete": "positive", "running": "primary"}.get(transfer["outcome"], "grey-7"),
    }


def _task(visit: Visit, task: DeviceTaskInfo) -> Row:
    return {
        "id": task["task_id"],
        "task": f"{task['task_id']}: {task['version']}",
        "task_href": task_path(task["task_id"]),
        "state": visit.t(f"taskstate.{task['state']}"),
        "state_color": BADGES[task["state"]],
        "reason": task["reason"],
        "created": visit.moment(task["created_at"]),
        "done": visit.moment(task["done_at"]),
    }
