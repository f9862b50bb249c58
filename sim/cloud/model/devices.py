"""Devices (platform 3)."""

import secrets
from typing import Final

from sqlalchemy import select, update

from sim.cloud.errors import (
    AmbiguousNameError,
    BadRequestError,
    DeviceLimitError,
    DuplicateSnError,
    UnknownDeviceError,
)
from sim.cloud.model.audit import audit
from sim.cloud.model.products import count_devices, find_product
from sim.cloud.model.tables import Device, Product
from sim.cloud.model.text import DESCRIPTION_CHARS, NAME_CHARS, check_text
from sim.cloud.model.vault import DEVICE
from sim.cloud.model.work import Work
from sim.cloud.shapes import DeviceInfo, DeviceState

SN_CHARS: Final = 32  # platform, Terms
MAC_CHARS: Final = 32


def add_device(work: Work, product_ref: str, sn: str, *, name: str, mac: str, description: str) -> DeviceInfo:
    """Enter a device by its SN and issue its DeviceID and DeviceKey (platform 3.1)."""
    product = find_product(work, product_ref)
    check_text("the SN", sn, SN_CHARS)
    if not sn.isascii():
        raise BadRequestError("the SN must be ASCII text")
    check_text("the device name", name, NAME_CHARS, empty=True)
    check_text("the MAC address", mac, MAC_CHARS, empty=True)
    check_text("the description", description, DESCRIPTION_CHARS, empty=True)
    taken = select(Device.id).where(Device.product_ref == product.id, Device.sn == sn)
    if work.session.scalar(taken) is not None:
        raise DuplicateSnError(f"product {product.name} has a device with SN {sn} already")
    if count_devices(work, product) >= product.device_limit:
        raise DeviceLimitError(
            f"product {product.name} has all of its {product.device_limit} devices: raise its device limit"
        )
    device_id = secrets.token_hex(8)
    device = Device(
        product=product,
        sn=sn,
        device_id=device_id,
        device_key=work.vault.seal(DEVICE, device_id, secrets.token_hex(16)),
        name=name,
        mac=mac,
        description=description,
        state=DeviceState.INACTIVE,
        online=False,
        created_at=work.now,
        updated_at=work.now,
    )
    work.session.add(device)
    work.session.flush()
    audit(work, "device.create", device.device_id, sn)
    return device_info(device)


def find_device(work: Work, sn: str, product_ref: str | None = None) -> Device:
    """The device with this SN or DeviceID; `product_ref` tells apart devices of products with one SN."""
    query = select(Device).join(Product).where((Device.sn == sn) | (Device.device_id == sn), work.visible())
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(work, product_ref).id)
    found = work.session.scalars(query.limit(2)).all()
    if len(found) > 1:
        raise AmbiguousNameError(f"several products have a device with SN {sn}: name the product")
    if not found:
        raise UnknownDeviceError(f"there is no device with SN {sn}")
    return found[0]


def device_by_id(work: Work, device_id: str) -> Device | None:
    return work.session.scalar(select(Device).where(Device.device_id == device_id))


def list_devices(work: Work, product_ref: str | None) -> list[DeviceInfo]:
    query = select(Device).join(Product).where(work.visible()).order_by(Device.id)
    if product_ref is not None:
        query = query.where(Device.product_ref == find_product(work, product_ref).id)
    return [device_info(device) for device in work.session.scalars(query)]


def device_info(device: Device, *, key: str | None = None) -> DeviceInfo:
    """`key` is the opened DeviceKey, where it is asked for."""
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
    if key is not None:
        info["device_key"] = key
    return info


def everyone_offline(work: Work) -> None:
    work.session.execute(update(Device).where(Device.online).values(online=False, sent_task=None))
