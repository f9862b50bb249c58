"""One product (platform 2.2)."""

from sim.cloud.operations import Operations
from sim.cloud.web.layout import heading
from sim.cloud.web.visit import Visit


async def build(visit: Visit) -> None:
    product = await visit.run(Operations.show_product, visit.parameter("product_id"))
    heading(visit, product["name"])
