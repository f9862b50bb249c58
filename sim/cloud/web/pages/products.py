"""The list of products (platform 2.1)."""

from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, ProductInfo
from sim.cloud.web.dialogs import Field, Values, open_form
from sim.cloud.web.layout import heading
from sim.cloud.web.pages.first_steps import first_steps
from sim.cloud.web.routes import product_path
from sim.cloud.web.tables import Column, Pager, Row, filter_input, table
from sim.cloud.web.visit import Visit

MAX_DEVICE_LIMIT: Final = 1_000_000

COLUMNS: Final = (
    Column("name", "product.name", "link"),
    Column("state", "product.state", "state"),
    Column("kind", "product.kind"),
    Column("model", "product.model"),
    Column("devices", "product.devices"),
    Column("online", "product.online"),
    Column("created", "product.created"),
)


async def build(visit: Visit) -> None:
    t = visit.t
    with heading(t("products.title")):
        create = ui.button(t("products.create"), icon="add").props("no-caps unelevated")
    with ui.row().classes("filters"):
        search = filter_input(visit, "products.search")
    shown = table(visit, COLUMNS, [], empty="products.empty")

    async def fetch(after: int, limit: int) -> tuple[list[Row], int | None]:
        page = await visit.run(
            Operations.page_products, search=search.value or None, after=after, limit=limit
        )
        return [_row(visit, product) for product in page["items"]], page["next"]

    async def submit(values: Values) -> None:
        product = await visit.run(Operations.create_product, **values)
        ui.navigate.to(product_path(product["product_id"]))

    create.on_click(
        lambda: open_form(visit, "products.create", product_fields(), submit, confirm="do.create")
    )
    pager = Pager(visit, shown, fetch)
    pager.controls()
    search.on_value_change(pager.restart)
    await pager.refresh()
    if not shown.rows:
        first_steps(visit, None, device=False)


def product_fields(known: ProductInfo | None = None) -> list[Field]:
    """What is asked for a new product, or shown of a known one to change."""

    def value(name: str) -> str:
        return str(known[name]) if known is not None else ""  # type: ignore[literal-required]

    limit = known["device_limit"] if known is not None else DEFAULT_DEVICE_LIMIT
    return [
        Field("name", "product.name", value=value("name"), required=True),
        Field("kind", "product.kind", value=value("kind"), hint="product.kind-hint"),
        Field("model", "product.model", value=value("model")),
        Field("connection", "product.connection", value=value("connection"), hint="product.connection-hint"),
        Field("device_limit", "product.limit", "number", limit, True, MAX_DEVICE_LIMIT),
        Field("description", "product.description", "long", value("description"), limit=512),
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
        "online": product["online"],
        "created": visit.moment(product["created_at"]),
    }
