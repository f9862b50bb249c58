"""Devices, one at a time (platform 3)."""

import secrets
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import joinedload, selectinload

from sim.cloud.errors import (
    ActivatedError,
    AmbiguousNameError,
    BadRequestError,
    DeviceLimitError,
    DuplicateSnError,
    PublishedError,
    UnknownDeviceError,
)
from sim.cloud.model.audit import audit
from sim.cloud.model.products import count_devices, find_product, lock_product
from sim.cloud.model.tables import Device, DeviceTag, Product
from sim.cloud.model.text import DESCRIPTION_CHARS, NAME_CHARS, check_mac, check_tags, check_text
from sim.cloud.model.work import Work
from sim.cloud.shapes import DeviceChanges, DeviceInfo, DeviceKeyInfo, DeviceState, TagInfo

SN_CHARS: Final = 32  # platform, Terms
MAX_LISTED_TAGS: Final = 1000
#: Loads what `device_info` reads in a fixed number of queries.
WITH_INFO: Final = (joinedload(Device.product), selectinload(Device.tags))


def add_device(
    work: Work, product_ref: str, sn: str, *, name: str, mac: str, description: str, tags: object = ()
) -> DeviceInfo:
    """Enter a device by its SN and issue its DeviceID and DeviceKey (platform 3.1).

    Raises `BadRequestError`, `DuplicateSnError` or `DeviceLimitError` (platform 2.5).
    """
    product = lock_product(work, product_ref)
    changes = DeviceChanges(sn=sn, name=name, mac=mac, description=description)
    check_changes(changes)
    tagged = check_tags(tags)
    _check_free(work, product, sn)
    check_room(work, product, 1)
    device = Device(**new_device(work, product, changes))
    device.tags = [DeviceTag(tag=tag) for tag in tagged]
    work.session.add(device)
    work.session.flush()
    audit(work, "device.create", device.device_id, sn)
    return device_info(device)


def new_device(work: Work, product: Product, texts: DeviceChanges) -> dict[str, Any]:
    """The columns of a new device, its DeviceID and DeviceKey among them."""
    return {
        "product_ref": product.id,
        "sn": texts["sn"],
        "device_id": secrets.token_hex(8),
        "device_key": secrets.token_hex(16),
        "name": texts["name"],
        "mac": texts["mac"],
        "description": texts["description"],
        "state": DeviceState.INACTIVE,
        "online": False,
        "created_at": work.now,
        "updated_at": work.now,
    }


def check_changes(changes: DeviceChanges) -> None:
    """Raises `BadRequestError` for a text that cannot be."""
    if "sn" in changes:
        check_text("the SN", changes["sn"], SN_CHARS)
        if not changes["sn"].isascii():
            raise BadRequestError("the SN must be ASCII text")
    if "name" in changes:
        check_text("the device name", changes["name"], NAME_CHARS, empty=True)
    if "mac" in changes:
        check_mac(changes["mac"])
    if "description" in changes:
        check_text("the description", changes["description"], DESCRIPTION_CHARS, empty=True)


def check_room(work: Work, product: Product, more: int) -> None:
    """Raises `DeviceLimitError` if the product cannot have so many devices more (platform 2.5)."""
    free = product.device_limit - count_devices(work, product)
    if more > free:
        remedy = "" if product.published_at is not None else ": raise its device limit"
        raise DeviceLimitError(
            f"product {product.name} has room for {max(free, 0)} more devices of its {product.device_limit}"
            f"{remedy}"
        )


def _check_free(work: Work, product: Product, sn: str) -> None:
    taken = select(Device.id).where(Device.product_ref == product.id, Device.sn == sn)
    if work.session.scalar(taken) is not None:
        raise DuplicateSnError(f"product {product.name} has a device with SN {sn} already")


def update_device(work: Work, sn: str, product_ref: str | None, changes: DeviceChanges) -> DeviceInfo:
    """Modify what `changes` holds; `tags` replaces all tags.

    SN and MAC stay as they are once the device is activated or published: the device carries them. Raises
    `ActivatedError`, `PublishedError`, `BadRequestError` or `DuplicateSnError`.
    """
    device = find_device(work, sn, product_ref)
    check_changes(changes)
    tagged = check_tags(changes.get("tags", ()))
    if changes.get("sn", device.sn) != device.sn or changes.get("mac", device.mac) != device.mac:
        _check_identity_free(device)
    if "sn" in changes and changes["sn"] != device.sn:
        _check_free(work, device.product, changes["sn"])
    for what, value in changes.items():
        if what != "tags":
            setattr(device, what, value)
    if "tags" in changes:
        kept = {row.tag: row for row in device.tags}
        device.tags = [kept.get(tag) or DeviceTag(tag=tag) for tag in tagged]
    device.updated_at = work.now
    work.session.flush()
    audit(work, "device.update", device.device_id, " ".join(sorted(changes)))
    return device_info(device)


def _check_identity_free(device: Device) -> None:
    remedy = "SN and MAC stay; delete the device and add it anew"
    if device.state == DeviceState.ACTIVATED:
        raise ActivatedError(f"device {device.sn} is activated: {remedy}")
    if device.published_at is not None:
        raise PublishedError(f"device {device.sn} is published: {remedy}")


def publish_device(work: Work, sn: str, product_ref: str | None) -> DeviceInfo:
    """Publish (platform 3.3); from now on SN and MAC stay. Once more changes nothing."""
    device = find_device(work, sn, product_ref)
    if device.published_at is None:
        device.published_at = device.updated_at = work.now
        audit(work, "device.publish", device.device_id, device.sn)
    return device_info(device)


def delete_device(work: Work, sn: str, product_ref: str | None) -> str:
    """Delete the device and all that is kept for it; returns its DeviceID.

    It can neither log in nor activate nor download from now on, whatever its state was.
    """
    device = find_device(work, sn, product_ref)
    work.session.execute(delete(Device).where(Device.id == device.id))
    audit(work, "device.delete", device.device_id, device.sn)
    return device.device_id


def device_key(work: Work, sn: str, product_ref: str | None) -> DeviceKeyInfo:
    """The DeviceKey, to be shown to the caller; audited."""
    device = find_device(work, sn, product_ref)
    audit(work, "device.show-key", device.device_id, device.sn)
    return DeviceKeyInfo(device_id=device.device_id, device_key=device.device_key)


def find_device(work: Work, sn: str, product_ref: str | None = None) -> Device:
    """The device with this DeviceID, else the one with this SN; `product_ref` tells apart devices of products
    with one SN."""
    query = select(Device).join(Product).where(work.visible()).limit(2)
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(work, product_ref).id)
    device = work.session.scalar(query.where(Device.device_id == sn))
    if device is not None:
        return device
    found = work.session.scalars(query.where(Device.sn == sn)).all()
    if len(found) > 1:
        raise AmbiguousNameError(f"several products have a device with SN {sn}: name the product")
    if not found:
        raise UnknownDeviceError(f"there is no device with SN {sn}")
    return found[0]


def device_by_id(work: Work, device_id: str) -> Device | None:
    return work.session.scalar(select(Device).where(Device.device_id == device_id))


def list_devices(work: Work, product_ref: str | None) -> list[DeviceInfo]:
    query = select(Device).join(Product).where(work.visible()).order_by(Device.id).options(*WITH_INFO)
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(work, product_ref).id)
    return [device_info(device) for device in work.session.scalars(query)]


def list_tags(work: Work, product_ref: str | None) -> list[TagInfo]:
    """The tags in use and how many devices have each, in alphabetical order."""
    query = (
        select(DeviceTag.tag, func.count())
        .select_from(DeviceTag)
        .join(Device)
        .join(Product)
        .where(work.visible())
        .group_by(DeviceTag.tag)
        .order_by(DeviceTag.tag)
        .limit(MAX_LISTED_TAGS)
    )
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(work, product_ref).id)
    return [TagInfo(tag=tag, devices=count) for tag, count in work.session.execute(query)]


def device_info(device: Device) -> DeviceInfo:
    return DeviceInfo(
        sn=device.sn,
        product=device.product.name,
        product_id=device.product.product_id,
        device_id=device.device_id,
        name=device.name,
        mac=device.mac,
        description=device.description,
        tags=[row.tag for row in device.tags],
        state=device.state,
        published=device.published_at is not None,
        published_at=device.published_at,
        activated_at=device.activated_at,
        suspect_at=device.suspect_at,
        bind_until=device.bind_until,
        online=device.online,
        last_login_at=device.last_login_at,
        last_login_ip=device.last_login_ip,
        version=device.version,
        created_at=device.created_at,
        updated_at=device.updated_at,
    )


def everyone_offline(work: Work) -> None:
    work.session.execute(update(Device).where(Device.online).values(online=False, sent_task=None))
