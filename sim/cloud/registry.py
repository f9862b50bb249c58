"""Accounts, products, devices and activation. Functions of one open transaction."""

import hashlib
import hmac
import secrets
import uuid
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from cloudsdk.activation import mqtt_password, sign
from sim.cloud.errors import (
    AmbiguousNameError,
    BadRequestError,
    BadSignError,
    DeviceLimitError,
    DuplicateAccountError,
    DuplicateProductError,
    DuplicateSnError,
    UnknownAccountError,
    UnknownDeviceError,
    UnknownProductError,
)
from sim.cloud.shapes import OPERATOR, AccountInfo, DeviceInfo, DeviceState, ProductInfo
from sim.cloud.store import Account, AuditEntry, Device, Product

NAME_CHARS: Final = 64
SN_CHARS: Final = 32  # platform, Terms
MAC_CHARS: Final = 32
DESCRIPTION_CHARS: Final = 512
PASSWORD_CHARS: Final = range(8, 129)
MAX_DEVICE_LIMIT: Final = 1_000_000
AUDIT_ENTRIES: Final = 10_000  # older ones are dropped; what devices cause must not fill the disk

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


def check_text(what: str, value: object, limit: int, *, empty: bool = False) -> str:
    """`value` if it is printable text of at most `limit` characters. Raises `BadRequestError`."""
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        raise BadRequestError(f"{what} must be printable text without blanks around it")
    if len(value) > limit or not (value or empty):
        raise BadRequestError(f"{what} must have {0 if empty else 1} to {limit} characters")
    return value


def audit(session: Session, now: int, action: str, subject: str, detail: str = "") -> None:
    """Note what happened. `subject` and `detail` must not hold keys."""
    entry = AuditEntry(at=now, action=action, subject=subject[:128], detail=detail[:256])
    session.add(entry)
    session.flush()
    session.execute(delete(AuditEntry).where(AuditEntry.id <= entry.id - AUDIT_ENTRIES))


# Accounts


def create_account(session: Session, now: int, name: str, password: str | None) -> AccountInfo:
    """Register an account; without a password nobody can log in to it."""
    check_text("the account name", name, NAME_CHARS)
    if session.scalar(select(Account.id).where(Account.name == name)) is not None:
        raise DuplicateAccountError(f"there is an account {name} already")
    salt = hashed = None
    if password is not None:
        if not isinstance(password, str) or len(password) not in PASSWORD_CHARS:
            low, high = PASSWORD_CHARS.start, PASSWORD_CHARS.stop - 1
            raise BadRequestError(f"the password must have {low} to {high} characters")
        salt = secrets.token_bytes(16)
        hashed = hash_password(password, salt)
    session.add(Account(name=name, salt=salt, password_hash=hashed, created_at=now))
    audit(session, now, "account.create", name)
    return AccountInfo(name=name, created_at=now)


def hash_password(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_SCRYPT)


def check_password(session: Session, name: str, password: str) -> bool:
    """True if the account exists, can log in, and this is its password."""
    account = session.scalar(select(Account).where(Account.name == name))
    if account is None or account.salt is None or account.password_hash is None:
        return False
    return hmac.compare_digest(hash_password(password, account.salt), account.password_hash)


def _account(session: Session, now: int, name: str) -> Account:
    account = session.scalar(select(Account).where(Account.name == name))
    if account is None:
        if name != OPERATOR:
            raise UnknownAccountError(f"there is no account {name}")
        create_account(session, now, OPERATOR, None)
        account = session.scalars(select(Account).where(Account.name == OPERATOR)).one()
    return account


# Products


def create_product(
    session: Session,
    now: int,
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
    if not _is_int(device_limit) or not 1 <= device_limit <= MAX_DEVICE_LIMIT:
        raise BadRequestError(f"the device limit must be 1 to {MAX_DEVICE_LIMIT}")
    owner = _account(session, now, account)
    taken = select(Product.id).where(Product.account_id == owner.id, Product.name == name)
    if session.scalar(taken) is not None:
        raise DuplicateProductError(f"there is a product {name} already: choose another name")
    product = Product(
        account=owner,
        product_id=secrets.token_hex(8),
        product_key=str(uuid.uuid4()),
        name=name,
        kind=kind,
        model=model,
        connection=connection,
        description=description,
        device_limit=device_limit,
        published=False,
        created_at=now,
        updated_at=now,
    )
    session.add(product)
    session.flush()
    audit(session, now, "product.create", product.product_id, name)
    return product_info(session, product, keys=True)


def find_product(session: Session, ref: str) -> Product:
    """The product with this ProductID, else the one with this name."""
    product = session.scalar(select(Product).where(Product.product_id == ref))
    if product is not None:
        return product
    named = session.scalars(select(Product).where(Product.name == ref).limit(2)).all()
    if len(named) > 1:
        raise AmbiguousNameError(f"several products are called {ref}: give the ProductID")
    if not named:
        raise UnknownProductError(f"there is no product {ref}")
    return named[0]


def list_products(session: Session) -> list[ProductInfo]:
    return [product_info(session, row) for row in session.scalars(select(Product).order_by(Product.id))]


def product_info(session: Session, product: Product, *, keys: bool = False) -> ProductInfo:
    info = ProductInfo(
        name=product.name,
        product_id=product.product_id,
        account=product.account.name,
        kind=product.kind,
        model=product.model,
        connection=product.connection,
        description=product.description,
        device_limit=product.device_limit,
        devices=_count_devices(session, product),
        published=product.published,
        created_at=product.created_at,
        updated_at=product.updated_at,
    )
    if keys:
        info["product_key"] = product.product_key
    return info


def _count_devices(session: Session, product: Product) -> int:
    return session.scalars(select(func.count()).where(Device.product_ref == product.id)).one()


# Devices


def add_device(
    session: Session, now: int, product_ref: str, sn: str, *, name: str, mac: str, description: str
) -> DeviceInfo:
    """Enter a device by its SN and issue its DeviceID and DeviceKey (platform 3.1)."""
    product = find_product(session, product_ref)
    check_text("the SN", sn, SN_CHARS)
    if not sn.isascii():
        raise BadRequestError("the SN must be ASCII text")
    check_text("the device name", name, NAME_CHARS, empty=True)
    check_text("the MAC address", mac, MAC_CHARS, empty=True)
    check_text("the description", description, DESCRIPTION_CHARS, empty=True)
    taken = select(Device.id).where(Device.product_ref == product.id, Device.sn == sn)
    if session.scalar(taken) is not None:
        raise DuplicateSnError(f"product {product.name} has a device with SN {sn} already")
    if _count_devices(session, product) >= product.device_limit:
        raise DeviceLimitError(
            f"product {product.name} has all of its {product.device_limit} devices: raise its device limit"
        )
    device = Device(
        product=product,
        sn=sn,
        device_id=secrets.token_hex(8),
        device_key=secrets.token_hex(16),
        name=name,
        mac=mac,
        description=description,
        state=DeviceState.INACTIVE,
        online=False,
        created_at=now,
        updated_at=now,
    )
    session.add(device)
    session.flush()
    audit(session, now, "device.create", device.device_id, sn)
    return device_info(device)


def find_device(session: Session, sn: str, product_ref: str | None = None) -> Device:
    """The device with this SN; `product_ref` tells apart devices of several products with one SN."""
    query = select(Device).where(Device.sn == sn)
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(session, product_ref).id)
    found = session.scalars(query.limit(2)).all()
    if len(found) > 1:
        raise AmbiguousNameError(f"several products have a device with SN {sn}: name the product")
    if not found:
        raise UnknownDeviceError(f"there is no device with SN {sn}")
    return found[0]


def device_by_id(session: Session, device_id: str) -> Device | None:
    return session.scalar(select(Device).where(Device.device_id == device_id))


def list_devices(session: Session, product_ref: str | None) -> list[DeviceInfo]:
    query = select(Device).order_by(Device.id)
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(session, product_ref).id)
    return [device_info(device) for device in session.scalars(query)]


def device_info(device: Device, *, keys: bool = False) -> DeviceInfo:
    info = DeviceInfo(
        sn=device.sn,
        product=device.product.name,
        product_id=device.product.product_id,
        device_id=device.device_id,
        name=device.name,
        mac=device.mac,
        description=device.description,
        state=device.state,
        activated_at=device.activated_at,
        online=device.online,
        last_login_at=device.last_login_at,
        last_login_ip=device.last_login_ip,
        version=device.version,
        created_at=device.created_at,
        updated_at=device.updated_at,
    )
    if keys:
        info["device_key"] = device.device_key
    return info


def everyone_offline(session: Session) -> None:
    session.execute(update(Device).where(Device.online).values(online=False, sent_task=None))


# Activation and log-in


def activate(session: Session, now: int, product_id: str, sn: str, signature: str) -> Device:
    """Activate the device and return it; the same device again on repetition (cloudsdk-protocol 1.2, 9.1).

    Raises `UnknownProductError`, `BadSignError`, `UnknownDeviceError` or `DeviceLimitError`. The Sign comes
    before the SN, so that only a holder of the ProductKey learns which SNs exist.
    """
    product = session.scalar(select(Product).where(Product.product_id == product_id))
    if product is None:
        raise UnknownProductError("there is no product with this ProductId")
    if not hmac.compare_digest(sign(product.product_key, sn).encode(), signature.encode()):
        raise BadSignError("the Sign does not fit the product and SN: check ProductKey and SN of the device")
    query = select(Device).where(Device.product_ref == product.id, Device.sn == sn)
    device = session.scalar(query)
    if device is None:
        raise UnknownDeviceError("the product has no device with this SN: add it to the cloud first")
    if device.state != DeviceState.ACTIVATED:
        activated = select(func.count()).where(
            Device.product_ref == product.id, Device.state == DeviceState.ACTIVATED
        )
        if session.scalars(activated).one() >= product.device_limit:
            raise DeviceLimitError("the product has as many activated devices as it may have")
        device.state = DeviceState.ACTIVATED
        device.activated_at = device.updated_at = now
        audit(session, now, "device.activate", device.device_id, sn)
    else:
        audit(session, now, "device.activate-again", device.device_id, sn)
    return device


def login(session: Session, device_id: str, password: bytes) -> str | None:
    """ProductID of an activated device if `password` is its MQTT password (2.1), else None."""
    device = device_by_id(session, device_id)
    if device is None or device.state != DeviceState.ACTIVATED:
        return None
    if not hmac.compare_digest(mqtt_password(device.device_key).encode(), password):
        return None
    return device.product.product_id


def logins(session: Session) -> list[tuple[str, str]]:
    """DeviceID and MQTT password of every activated device."""
    query = select(Device.device_id, Device.device_key).where(Device.state == DeviceState.ACTIVATED)
    return [(device_id, mqtt_password(key)) for device_id, key in session.execute(query.order_by(Device.id))]


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
