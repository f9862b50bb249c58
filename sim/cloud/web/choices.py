"""Select boxes that filter a list; nothing chosen means all."""

from collections.abc import Mapping
from typing import Final

from nicegui import ui

from sim.cloud.operations import Operations
from sim.cloud.web.visit import Visit

MAX_PRODUCTS: Final = 1000  # offered in a select box


def choice(visit: Visit, label: str, options: Mapping[str, str], value: str | None = None) -> ui.select:
    """`options` are values with the keys of their texts."""
    texts = {name: visit.t(key) for name, key in options.items()}
    return _select(visit, visit.t(label), texts, value)


async def product_choice(visit: Visit, product_id: str | None, *, clear: bool = False) -> ui.select:
    """The caller's products; the value is a ProductID. An unknown `product_id` chooses nothing, or unless
    `clear` the only product there is."""
    page = await visit.run(Operations.page_products, limit=MAX_PRODUCTS)
    texts = {product["product_id"]: product["name"] for product in page["items"]}
    only = next(iter(texts)) if len(texts) == 1 and not clear else None
    chosen = product_id if product_id in texts else only
    return _select(visit, visit.t("product.title"), texts, chosen).props("data-mark=product")


def _select(visit: Visit, label: str, texts: dict[str, str], value: str | None) -> ui.select:
    select: ui.select = ui.select(texts, label=label, value=value, clearable=True)
    return select.props("outlined dense options-dense").classes("filter")
