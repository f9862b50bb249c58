"""Activation and log-in of devices (cloudsdk-protocol 1, 2.1). The device is the caller.

The Sign has no time and no nonce, and 9.1 wants the same ids for the same request: a repeated activation is
answered, whoever sends it, and the newer of two connections with one DeviceID wins (MQTT 3.1.4-2). What looks
as if two devices used one SN is therefore not refused but audited, and noted at the device.
"""

import hmac
from typing import Final

from sqlalchemy import func, select

from cloudsdk.activation import mqtt_password, sign
from sim.cloud.errors import BadSignError, DeviceLimitError, UnknownDeviceError, UnknownProductError
from sim.cloud.model.audit import audit_device
from sim.cloud.model.devices import device_by_id
from sim.cloud.model.tables import Device, Product
from sim.cloud.model.work import Work
from sim.cloud.shapes import DeviceState

SUSPICION_PAUSE: Final = (
    3600  # seconds; two devices that take over from each other must not fill the audit log
)


def activate(work: Work, product_id: str, sn: str, signature: str, address: str = "") -> Device:
    """Activate the device and return it; the same device again on repetition (cloudsdk-protocol 1.2, 9.1).

    Raises `UnknownProductError`, `BadSignError`, `UnknownDeviceError` or `DeviceLimitError`. The Sign comes
    before the SN, so that only a holder of the ProductKey learns which SNs exist.
    """
    product = work.session.scalar(select(Product).where(Product.product_id == product_id))
    if product is None:
        raise UnknownProductError("there is no product with this ProductId")
    if not hmac.compare_digest(sign(product.product_key, sn).encode(), signature.encode()):
        raise BadSignError("the Sign does not fit the product and SN: check ProductKey and SN of the device")
    query = select(Device).where(Device.product_ref == product.id, Device.sn == sn)
    device = work.session.scalar(query)
    if device is None:
        raise UnknownDeviceError("the product has no device with this SN: add it to the cloud first")
    if device.state != DeviceState.ACTIVATED:
        mark_activated(work, device, address)
        audit_device(work, "device.activate", product.account_id, device.device_id, sn)
        return device
    audit_device(work, "device.activate-again", product.account_id, device.device_id, sn)
    if device.online:
        _suspect(work, device, f"activated again while online, from {address}")
    elif address and device.activated_ip not in (None, address):
        _suspect(work, device, f"activated from {device.activated_ip}, now from {address}")
    device.activated_ip = address or device.activated_ip
    return device


def mark_activated(work: Work, device: Device, address: str) -> None:
    """Raises `DeviceLimitError` (platform 2.5)."""
    if device.state == DeviceState.ACTIVATED:
        return
    product = device.product
    activated = select(func.count()).where(
        Device.product_ref == product.id, Device.state == DeviceState.ACTIVATED
    )
    if work.session.scalars(activated).one() >= product.device_limit:
        raise DeviceLimitError("the product has as many activated devices as it may have")
    device.state = DeviceState.ACTIVATED
    device.activated_ip = address or None
    device.activated_at = device.updated_at = work.now


def connected(work: Work, device: Device, address: str) -> None:
    """The device has logged in from `address`; that it is online it says itself."""
    if device.online and device.last_login_ip not in (None, address):
        _suspect(work, device, f"online from {device.last_login_ip}, logs in from {address}")
    device.last_login_ip = address
    device.bind_until = None


def _suspect(work: Work, device: Device, reason: str) -> None:
    if device.suspect_at is None or work.now - device.suspect_at >= SUSPICION_PAUSE:
        device.suspect_at = work.now
        audit_device(work, "device.suspect", device.product.account_id, device.device_id, reason)


def login(work: Work, device_id: str, password: bytes) -> str | None:
    """ProductID of an activated device if `password` is its MQTT password (2.1), else None."""
    device = device_by_id(work, device_id)
    if device is None or device.state != DeviceState.ACTIVATED:
        return None
    if not hmac.compare_digest(mqtt_password(device.device_key).encode(), password):
        return None
    return device.product.product_id


def logins(work: Work) -> list[tuple[str, str]]:
    """DeviceID and MQTT password of every activated device."""
    query = select(Device.device_id, Device.device_key).where(Device.state == DeviceState.ACTIVATED)
    return [
        (device_id, mqtt_password(key)) for device_id, key in work.session.execute(query.order_by(Device.id))
    ]
