"""Products (platform 2). In a path, a product is its ProductID."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, ProductInfo

router = APIRouter(prefix="/products", tags=["products"])


class NewProduct(Body):
    name: str
    account: str | None = None
    kind: str = ""
    model: str = ""
    connection: str = ""
    description: str = ""
    device_limit: int = DEFAULT_DEVICE_LIMIT


@router.get("")
async def list_products(call: Authenticated) -> list[ProductInfo]:
    return await call.run(Operations.list_products)


@router.post("", status_code=201)
async def create_product(call: Authenticated, body: NewProduct) -> ProductInfo:
    """The answer holds the ProductKey."""
    return await call.run(Operations.create_product, **body.model_dump())


@router.get("/find")
async def find_product(call: Authenticated, ref: str, keys: bool = False) -> ProductInfo:
    """The product with this ProductID or name."""
    return await call.run(Operations.show_product, ref, keys=keys)
