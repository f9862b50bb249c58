"""One product (platform 2.2 to 2.5)."""

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import DeviceFilter, ProductInfo
from sim.cloud.web.dialogs import Values, ask, open_form
from sim.cloud.web.facts import facts
from sim.cloud.web.layout import heading
from sim.cloud.web.pages.device_forms import open_add_device, open_import
from sim.cloud.web.pages.first_steps import first_steps
from sim.cloud.web.pages.products import product_fields
from sim.cloud.web.routes import DEVICES_PATH, FIRMWARE_PATH, PRODUCTS_PATH, TASKS_PATH, product_path
from sim.cloud.web.secret import copy_button, secret
from sim.cloud.web.visit import Visit


async def build(visit: Visit) -> None:
    t = visit.t
    product = await visit.run(Operations.show_product, visit.parameter("product_id"))
    product_id = product["product_id"]
    with heading(product["name"]):
        _actions(visit, product)
    with ui.card().classes("wide"):
        _facts(visit, product)
    with ui.row().classes("links"):
        for text, path, icon in (
            ("menu.devices", DEVICES_PATH, "memory"),
            ("menu.firmware", FIRMWARE_PATH, "inventory_2"),
            ("menu.tasks", TASKS_PATH, "system_update_alt"),
        ):
            button = ui.button(t(text), icon=icon).props("no-caps outline")
            button.props["href"] = f"{path}?product={product_id}"
        add = ui.button(t("devices.add"), icon="add").props("no-caps unelevated")
        add.on_click(lambda: open_add_device(visit, product_id))
        many = ui.button(t("devices.import"), icon="upload_file").props("no-caps outline")
        many.on_click(lambda: open_import(visit, product_id))
    if product["activated"] == 0:
        page = await visit.run(Operations.page_devices, DeviceFilter(product=product_id), limit=1)
        sn = page["items"][0]["sn"] if page["items"] else None
        if sn is None:
            first_steps(visit, product, device=False)
        else:
            first_steps(visit, product, device=True, sn=sn)


def _facts(visit: Visit, product: ProductInfo) -> None:
    t = visit.t

    async def key() -> str:
        return (await visit.run(Operations.product_key, product["product_id"]))["product_key"]

    def product_id() -> None:
        with ui.row().classes("secret"):
            ui.label(product["product_id"]).classes("mono").props("data-mark=product-id")
            copy_button(visit, lambda: product["product_id"])

    facts(
        (t("product.id"), product_id),
        (t("product.key"), lambda: secret(visit, key)),
        (t("product.state"), t("product.published" if product["published"] else "product.unpublished")),
        (t("product.kind"), product["kind"]),
        (t("product.model"), product["model"]),
        (t("product.connection"), product["connection"]),
        (t("product.devices"), t("product.used", used=product["devices"], limit=product["device_limit"])),
        (t("product.activated"), str(product["activated"])),
        (t("product.online"), str(product["online"])),
        (t("product.created"), visit.moment(product["created_at"])),
        (t("product.updated"), visit.moment(product["updated_at"])),
        (t("product.published-at"), visit.moment(product["published_at"])),
        (t("product.owner"), product["account"]),
        (t("product.description"), product["description"]),
    )


def _actions(visit: Visit, product: ProductInfo) -> None:
    t, product_id = visit.t, product["product_id"]

    async def change(values: Values) -> None:
        await visit.run(Operations.update_product, product_id, **values)
        ui.navigate.to(product_path(product_id))

    async def publish() -> None:
        await visit.run(Operations.publish_product, product_id)
        ui.navigate.to(product_path(product_id))

    async def delete() -> None:
        await visit.run(Operations.delete_product, product_id, cascade=True)
        ui.navigate.to(PRODUCTS_PATH)

    if product["published"]:
        ui.label(t("product.fixed")).classes("soft")
        return
    edit = ui.button(t("do.edit"), icon="edit").props("no-caps outline")
    edit.on_click(lambda: open_form(visit, "product.edit", product_fields(product), change))
    ui.button(t("do.publish"), icon="public").props("no-caps outline").on_click(
        lambda: ask(visit, t("product.ask-publish"), publish, confirm="do.publish", dangerous=False)
    )
    ui.button(t("do.delete"), icon="delete").props("no-caps outline color=negative").props(
        "data-mark=delete"
    ).on_click(
        lambda: ask(
            visit,
            t("product.ask-delete", name=product["name"], devices=product["devices"]),
            delete,
            confirm="do.delete",
        )
    )
