"""Products (platform 2). In a path, a product is its ProductID."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, Page, ProductInfo, ProductKeyInfo

router = APIRouter(prefix="/products", tags=["products"])


class NewProduct(Body):
    name: str
    account: str | None = None
    kind: str = ""
    model: str = ""
    connection: str = ""
    description: str = ""
    device_limit: int = DEFAULT_DEVICE_LIMIT


class ProductPatch(Body):
    """Members that are absent stay as they are; the values here say nothing."""

    name: str = ""
    kind: str = ""
    model: str = ""
    connection: str = ""
    description: str = ""
    device_limit: int = DEFAULT_DEVICE_LIMIT


@router.get("")
async def page_products(
    call: Authenticated, search: str | None = None, after: int = 0, limit: int = 100
) -> Page[ProductInfo]:
    """Products in the order of their creation; `search` is a part of the name or ProductID."""
    return await call.run(Operations.page_products, search=search, after=after, limit=limit)


@router.post("", status_code=201)
async def create_product(call: Authenticated, body: NewProduct) -> ProductInfo:
    """The answer holds the ProductKey."""
    return await call.run(Operations.create_product, **body.model_dump())


@router.get("/find")
async def find_product(call: Authenticated, ref: str, keys: bool = False) -> ProductInfo:
    """The product with this ProductID or name."""
    return await call.run(Operations.show_product, ref, keys=keys)


@router.get("/{product_id}")
async def show_product(call: Authenticated, product_id: str) -> ProductInfo:
    return await call.run(Operations.show_product, product_id)


@router.get("/{product_id}/key")
async def product_key(call: Authenticated, product_id: str) -> ProductKeyInfo:
    """The ProductKey; audited."""
    return await call.run(Operations.product_key, product_id)


@router.patch("/{product_id}")
async def update_product(call: Authenticated, product_id: str, body: ProductPatch) -> ProductInfo:
    """Modify an unpublished product; only members that are given change."""
    return await call.run(Operations.update_product, product_id, **body.model_dump(exclude_unset=True))


@router.post("/{product_id}/publish")
async def publish_product(call: Authenticated, product_id: str) -> ProductInfo:
    """Publish: the product can no longer be modified or deleted."""
    return await call.run(Operations.publish_product, product_id)


@router.delete("/{product_id}", status_code=204)
async def delete_product(call: Authenticated, product_id: str, cascade: bool = False) -> None:
    """Delete an unpublished product; one with devices only with `cascade`."""
    await call.run(Operations.delete_product, product_id, cascade=cascade)
