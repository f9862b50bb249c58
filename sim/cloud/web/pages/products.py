"""The list of products (platform 2.1)."""

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, ProductInfo
from sim.cloud.web.dialogs import Field, Values, open_form
from sim.cloud.web.layout import heading
from sim.cloud.web.routes import product_path
from sim.cloud.web.tables import Column, Row, table
from sim.cloud.web.visit import Visit

COLUMNS = (
    Column("name", "product.name", "link"),
    Column("state", "product.state", "state"),
    Column("kind", "product.kind"),
    Column("model", "product.model"),
    Column("devices", "product.devices"),
    Column("created", "product.created"),
)


async def build(visit: Visit) -> None:
    products = await visit.run(Operations.list_products)
    with heading(visit, visit.t("products.title")):
        create = ui.button(visit.t("products.create"), icon="add").props("no-caps unelevated").mark("create")
    create.on_click(
        lambda: open_form(visit, "products.create", product_fields(), submit, confirm="do.create")
    )

    async def submit(values: Values) -> None:
        product = await visit.run(Operations.create_product, **values)
        ui.navigate.to(product_path(product["product_id"]))

    table(visit, COLUMNS, [_row(visit, product) for product in products], empty="products.empty")


def product_fields(product: ProductInfo | None = None) -> list[Field]:
    """What is asked for a new product, or shown of `product` to change."""
    empty = ProductInfo(
        name="",
        product_id="",
        account="",
        kind="",
        model="",
        connection="",
        description="",
        device_limit=DEFAULT_DEVICE_LIMIT,
        devices=0,
        published=False,
        created_at=0,
        updated_at=0,
    )
    known = product or empty
    return [
        Field("name", "product.name", value=known["name"], required=True),
        Field("kind", "product.kind", value=known["kind"], hint="product.kind-hint"),
        Field("model", "product.model", value=known["model"]),
        Field("connection", "product.connection", value=known["connection"], hint="product.connection-hint"),
        Field("device_limit", "product.limit", "number", known["device_limit"], True, 1_000_000),
        Field("description", "product.description", "long", known["description"], limit=512),
    ]


def _row(visit: Visit, product: ProductInfo) -> Row:
    published = product["published"]
    return {
        "id": product["product_id"],
        "name": product["name"],
        "name_href": product_path(product["product_id"]),
        "state": visit.t("product.published" if published else "product.unpublished"),
        "state_color": "positive" if published else "grey-7",
        "kind": product["kind"],
        "model": product["model"],
        "devices": visit.t("product.used", used=product["devices"], limit=product["device_limit"]),
        "created": visit.moment(product["created_at"]),
    }
