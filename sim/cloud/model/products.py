"""Products (platform 2)."""

import secrets
import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import case, delete, func, select
from sqlalchemy.orm import joinedload

from sim.cloud.errors import (
    AmbiguousNameError,
    BadRequestError,
    DuplicateProductError,
    LimitReachedError,
    NotEmptyError,
    PublishedError,
    UnknownProductError,
)
from sim.cloud.model.accounts import owner_account
from sim.cloud.model.audit import audit
from sim.cloud.model.keys import open_product_key, sealed_product_key
from sim.cloud.model.tables import Device, Firmware, Product, Task
from sim.cloud.model.text import DESCRIPTION_CHARS, NAME_CHARS, check_text, is_int
from sim.cloud.model.work import Work
from sim.cloud.pages import MAX_PAGE, cut, page_limit
from sim.cloud.shapes import (
    DeviceCounts,
    DeviceState,
    Page,
    ProductChanges,
    ProductInfo,
    ProductKeyInfo,
)

MAX_DEVICE_LIMIT: Final = 1_000_000
MAX_PRODUCTS: Final = 1000  # of an account; the console offers so many to choose from
_NO_DEVICES: Final = DeviceCounts(total=0, activated=0, online=0)


def create_product(
    work: Work,
    name: str,
    *,
    account: str | None,
    kind: str,
    model: str,
    connection: str,
    description: str,
    device_limit: int,
) -> ProductInfo:
    """Create a product and issue ProductID and ProductKey (platform 2.1, 2.2). The result holds the key.

    Without an `account` it belongs to the caller's. Raises `BadRequestError`, `DuplicateProductError`,
    `LimitReachedError` or `UnknownAccountError`.
    """
    _check_name(name)
    _check_texts(kind=kind, model=model, connection=connection)
    check_text("the description", description, DESCRIPTION_CHARS, empty=True)
    _check_limit(device_limit)
    owner = owner_account(work, account)
    _check_free(work, owner.id, name)
    count = select(func.count(Product.id)).where(Product.account_id == owner.id)
    if work.session.scalars(count).one() >= MAX_PRODUCTS:
        raise LimitReachedError(f"the account has all of its {MAX_PRODUCTS} products: delete one")
    product_id, key = secrets.token_hex(8), str(uuid.uuid4())
    product = Product(
        account=owner,
        product_id=product_id,
        product_key=sealed_product_key(work, product_id, key),
        name=name,
        kind=kind,
        model=model,
        connection=connection,
        description=description,
        device_limit=device_limit,
        created_at=work.now,
        updated_at=work.now,
    )
    work.session.add(product)
    work.session.flush()
    audit(work, "product.create", product.product_id, name, account=product.account_id)
    info = _info(product, _NO_DEVICES)
    info["product_key"] = key
    return info


def _check_name(name: str) -> None:
    check_text("the product name", name, NAME_CHARS)


def _check_texts(**texts: str) -> None:
    for what, value in texts.items():
        check_text(what, value, NAME_CHARS, empty=True)


def _check_limit(limit: int) -> None:
    if not is_int(limit) or not 1 <= limit <= MAX_DEVICE_LIMIT:
        raise BadRequestError(f"the device limit must be 1 to {MAX_DEVICE_LIMIT}")


def _check_free(work: Work, account_id: int, name: str) -> None:
    taken = select(Product.id).where(Product.account_id == account_id, Product.name == name)
    if work.session.scalar(taken) is not None:
        raise DuplicateProductError(f"there is a product {name} already: choose another name")


def update_product(work: Work, product_ref: str, changes: ProductChanges) -> ProductInfo:
    """Modify what `changes` holds. Platform 2.3 makes no exception: a published product keeps everything.

    Raises `PublishedError`, `BadRequestError` (a limit below the devices there are included) or
    `DuplicateProductError`.
    """
    product = lock_product(work, product_ref)
    _check_unpublished(product, "modified")
    if "name" in changes:
        _check_name(changes["name"])
        if changes["name"] != product.name:
            _check_free(work, product.account_id, changes["name"])
    _check_texts(**{what: changes[what] for what in ("kind", "model", "connection") if what in changes})
    if "description" in changes:
        check_text("the description", changes["description"], DESCRIPTION_CHARS, empty=True)
    if "device_limit" in changes:
        _check_limit(changes["device_limit"])
        devices = count_devices(work, product)
        if changes["device_limit"] < devices:
            raise BadRequestError(f"the product has {devices} devices: its limit cannot be lower")
    for what, value in changes.items():
        setattr(product, what, value)
    product.updated_at = work.now
    work.session.flush()
    audit(work, "product.update", product.product_id, " ".join(sorted(changes)), account=product.account_id)
    return product_info(work, product)


def publish_product(work: Work, product_ref: str) -> ProductInfo:
    """Publish; from now on the product keeps what it has (platform 2.4). Once more changes nothing."""
    product = find_product(work, product_ref)
    if product.published_at is None:
        product.published_at = product.updated_at = work.now
        audit(work, "product.publish", product.product_id, product.name, account=product.account_id)
    return product_info(work, product)


def delete_product(work: Work, product_ref: str, *, cascade: bool) -> tuple[list[str], list[str]]:
    """Delete an unpublished product; with `cascade` its devices, firmware, tasks and all that goes with them.

    Returns the DeviceIDs that are gone, and the SHA-256 of the firmware that was deleted. Raises
    `PublishedError`, and `NotEmptyError` for a product with devices without `cascade`.
    """
    product = lock_product(work, product_ref)
    _check_unpublished(product, "deleted")
    session = work.session
    gone = list(session.scalars(select(Device.device_id).where(Device.product_ref == product.id)))
    if gone and not cascade:
        raise NotEmptyError(f"product {product.name} has {len(gone)} devices: delete them too by cascade")
    hashes = list(session.scalars(select(Firmware.sha256).where(Firmware.product_ref == product.id)))
    # Tasks first: they refer to firmware. What belongs to a row goes with it in the database.
    for table in (Task, Device, Firmware):
        session.execute(delete(table).where(table.product_ref == product.id))
    session.execute(delete(Product).where(Product.id == product.id))
    audit(
        work,
        "product.delete",
        product.product_id,
        f"{product.name}, {len(gone)} devices",
        account=product.account_id,
    )
    return gone, hashes


def _check_unpublished(product: Product, what: str) -> None:
    if product.published_at is not None:
        raise PublishedError(f"product {product.name} is published and can no longer be {what}")


def product_key(work: Work, product_ref: str) -> ProductKeyInfo:
    """The ProductKey, to be shown to the caller; audited."""
    product = find_product(work, product_ref)
    audit(work, "product.show-key", product.product_id, account=product.account_id)
    return ProductKeyInfo(product_id=product.product_id, product_key=open_product_key(work, product))


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


def lock_product(work: Work, ref: str) -> Product:
    """The product, held until the transaction ends: nobody else adds devices to it meanwhile.

    SQLite has one writer anyway; other databases lock the row.
    """
    product = find_product(work, ref)
    work.session.refresh(product, with_for_update=True)
    return product


def list_products(work: Work) -> list[ProductInfo]:
    query = select(Product).where(work.visible()).order_by(Product.id)
    return _infos(work, work.session.scalars(query.options(joinedload(Product.account))).all())


def page_products(work: Work, *, search: str | None, after: int, limit: int) -> Page[ProductInfo]:
    """Products in the order of their creation; `search` is a part of name or ProductID."""
    query = select(Product).where(work.visible(), Product.id > after).order_by(Product.id)
    query = query.limit(page_limit(limit) + 1)
    if search is not None:
        check_text("search", search, NAME_CHARS, empty=True)
        query = query.where(
            Product.name.icontains(search, autoescape=True)
            | Product.product_id.icontains(search, autoescape=True)
        )
    rows = work.session.scalars(query.options(joinedload(Product.account))).all()
    counts = device_counts(work, [row.id for row in rows])
    return cut(rows, limit, lambda row: _info(row, counts.get(row.id, _NO_DEVICES)), lambda row: row.id)


def product_info(work: Work, product: Product) -> ProductInfo:
    return _infos(work, [product])[0]


def _infos(work: Work, products: Sequence[Product]) -> list[ProductInfo]:
    counts = device_counts(work, [product.id for product in products])
    return [_info(product, counts.get(product.id, _NO_DEVICES)) for product in products]


def _info(product: Product, counts: DeviceCounts) -> ProductInfo:
    return ProductInfo(
        name=product.name,
        product_id=product.product_id,
        account=product.account.name,
        kind=product.kind,
        model=product.model,
        connection=product.connection,
        description=product.description,
        device_limit=product.device_limit,
        devices=counts["total"],
        activated=counts["activated"],
        online=counts["online"],
        published=product.published_at is not None,
        published_at=product.published_at,
        created_at=product.created_at,
        updated_at=product.updated_at,
    )


def count_devices(work: Work, product: Product) -> int:
    return work.session.scalars(select(func.count()).where(Device.product_ref == product.id)).one()


#: Columns of a query that counts devices: all, activated, online.
COUNTS: Final = (
    func.count(Device.id),
    func.count(case((Device.state == DeviceState.ACTIVATED, 1))),
    func.count(case((Device.online, 1))),
)


def device_counts(work: Work, product_refs: Sequence[int]) -> dict[int, DeviceCounts]:
    """By row id; products without devices are absent."""
    query = select(Device.product_ref, *COUNTS).group_by(Device.product_ref)
    if len(product_refs) <= MAX_PAGE:
        query = query.where(Device.product_ref.in_(product_refs))
    return {
        ref: DeviceCounts(total=total, activated=activated, online=online)
        for ref, total, activated, online in work.session.execute(query)
    }
