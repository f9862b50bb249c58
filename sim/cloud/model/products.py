"""Products (platform 2)."""

import secrets
import uuid
from typing import Final

from sqlalchemy import func, select

from sim.cloud.errors import AmbiguousNameError, BadRequestError, DuplicateProductError, UnknownProductError
from sim.cloud.model.accounts import owner_account
from sim.cloud.model.audit import audit
from sim.cloud.model.keys import product_key
from sim.cloud.model.tables import Device, Product
from sim.cloud.model.text import DESCRIPTION_CHARS, NAME_CHARS, check_text, is_int
from sim.cloud.model.vault import PRODUCT
from sim.cloud.model.work import Work
from sim.cloud.shapes import ProductInfo

MAX_DEVICE_LIMIT: Final = 1_000_000


def create_product(
    work: Work,
    name: str,
    *,
    account: str,
    kind: str,
    model: str,
    connection: str,
    description: str,
    device_limit: int,
) -> ProductInfo:
    """Create a product and issue ProductID and ProductKey (platform 2.1, 2.2). The result holds the key."""
    check_text("the product name", name, NAME_CHARS)
    for what, value in (("kind", kind), ("model", model), ("connection", connection)):
        check_text(what, value, NAME_CHARS, empty=True)
    check_text("the description", description, DESCRIPTION_CHARS, empty=True)
    if not is_int(device_limit) or not 1 <= device_limit <= MAX_DEVICE_LIMIT:
        raise BadRequestError(f"the device limit must be 1 to {MAX_DEVICE_LIMIT}")
    owner = owner_account(work, account)
    taken = select(Product.id).where(Product.account_id == owner.id, Product.name == name)
    if work.session.scalar(taken) is not None:
        raise DuplicateProductError(f"there is a product {name} already: choose another name")
    product_id = secrets.token_hex(8)
    product = Product(
        account=owner,
        product_id=product_id,
        product_key=work.vault.seal(PRODUCT, product_id, str(uuid.uuid4())),
        name=name,
        kind=kind,
        model=model,
        connection=connection,
        description=description,
        device_limit=device_limit,
        published=False,
        created_at=work.now,
        updated_at=work.now,
    )
    work.session.add(product)
    work.session.flush()
    audit(work, "product.create", product.product_id, name)
    return product_info(work, product, key=product_key(work, product))


def find_product(work: Work, ref: str) -> Product:
    """The product with this ProductID, else the one with this name."""
    product = work.session.scalar(select(Product).where(Product.product_id == ref, work.visible()))
    if product is not None:
        return product
    named = work.session.scalars(select(Product).where(Product.name == ref, work.visible()).limit(2)).all()
    if len(named) > 1:
        raise AmbiguousNameError(f"several products are called {ref}: give the ProductID")
    if not named:
        raise UnknownProductError(f"there is no product {ref}")
    return named[0]


def list_products(work: Work) -> list[ProductInfo]:
    return [
        product_info(work, row)
        for row in work.session.scalars(select(Product).where(work.visible()).order_by(Product.id))
    ]


def product_info(work: Work, product: Product, *, key: str | None = None) -> ProductInfo:
    """`key` is the opened ProductKey, where it is asked for."""
    info = ProductInfo(
        name=product.name,
        product_id=product.product_id,
        account=product.account.name,
        kind=product.kind,
        model=product.model,
        connection=product.connection,
        description=product.description,
        device_limit=product.device_limit,
        devices=count_devices(work, product),
        published=product.published,
        created_at=product.created_at,
        updated_at=product.updated_at,
    )
    if key is not None:
        info["product_key"] = key
    return info


def count_devices(work: Work, product: Product) -> int:
    return work.session.scalars(select(func.count()).where(Device.product_ref == product.id)).one()
