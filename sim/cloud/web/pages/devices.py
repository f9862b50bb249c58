"""The devices: search, filter, pages (platform 3)."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import DeviceFilter, DeviceInfo, DeviceState
from sim.cloud.web.choices import choice, product_choice
from sim.cloud.web.formats import NOTHING
from sim.cloud.web.layout import heading
from sim.cloud.web.live import follow
from sim.cloud.web.pages.device_forms import open_add_device, open_import
from sim.cloud.web.routes import device_path, product_path
from sim.cloud.web.tables import Column, Pager, Row, filter_input, table
from sim.cloud.web.visit import Visit

PERIOD: Final = 2.0  # seconds until a change shows

COLUMNS: Final = (
    Column("sn", "device.sn", "link"),
    Column("name", "device.name"),
    Column("product", "product.title", "link"),
    Column("online", "device.online", "state"),
    Column("state", "device.state", "state"),
    Column("version", "device.version"),
    Column("tags", "device.tags"),
    Column("login", "device.last-login"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    with heading(t("devices.title")):
        counts = ui.label().classes("soft")
        add = ui.button(t("devices.add"), icon="add").props("no-caps unelevated")
        many = ui.button(t("devices.import"), icon="upload_file").props("no-caps outline")
    with ui.row().classes("filters"):
        product = await product_choice(visit, visit.request.query_params.get("product"))
        search = filter_input(visit, "devices.search")
        online = choice(visit, "device.online", {"yes": "device.is-online", "no": "device.is-offline"})
        state = choice(visit, "device.state", {each: f"device.state.{each}" for each in DeviceState})
        tag = filter_input(visit, "devices.tag")
        version = filter_input(visit, "device.version")
    shown = table(visit, COLUMNS, [], empty="devices.empty")

    def wanted() -> DeviceFilter:
        return DeviceFilter(
            product=product.value,
            search=search.value or None,
            tag=tag.value or None,
            version=version.value or None,
            state=DeviceState(state.value) if state.value else None,
            online={"yes": True, "no": False}.get(online.value),
        )

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        total = await visit.run(Operations.count_devices, wanted())
        counts.set_text(t("devices.counts", total=total["total"], online=total["online"]))
        page = await visit.run(Operations.page_devices, wanted(), after=after, limit=limit)
        return [row(visit, device) for device in page["items"]], page["next"]

    pager = Pager(visit, shown, fetch)
    pager.controls()
    for element in (product, search, online, state, tag, version):
        element.on_value_change(pager.restart)

    def with_product(form: str) -> None:
        if product.value is None:
            ui.notify(t("devices.choose-product"), type="warning")
        elif form == "add":
            open_add_device(visit, product.value)
        else:
            open_import(visit, product.value)

    add.on_click(lambda: with_product("add"))
    many.on_click(lambda: with_product("import"))
    await pager.refresh()
    follow(pager.look, PERIOD)


def row(visit: Visit, device: DeviceInfo) -> Row:
    t = visit.t
    return {
        "id": device["device_id"],
        "sn": device["sn"],
        "sn_href": device_path(device["device_id"]),
        "name": device["name"],
        "product": device["product"],
        "product_href": product_path(device["product_id"]),
        "online": t("device.is-online" if device["online"] else "device.is-offline"),
        "online_color": "positive" if device["online"] else "grey-7",
        "state": t(f"device.state.{device['state']}"),
        "state_color": "primary" if device["state"] == DeviceState.ACTIVATED else "grey-7",
        "version": device["version"] or NOTHING,
        "tags": ", ".join(device["tags"]),
        "login": visit.moment(device["last_login_at"]),
    }
