"""Binding by QR code (cloudsdk-protocol 8). The device is the caller of `hand_out`.

The original's board demo shows `/m/#/login?sn=<SN>` as a QR code and asks `GET /devices?sn=<SN>` until
somebody has bound the SN. Its request carries no signature, and the answer holds the DeviceKey: whoever knows
or guesses an SN would own the device. So it is answered only while the device's account keeps a bind window
open, which ends by itself, and when the device logs in.
"""

from typing import Final
from urllib.parse import quote

from sqlalchemy import select

from sim.cloud.errors import BadRequestError, UnknownDeviceError
from sim.cloud.model.activation import mark_activated
from sim.cloud.model.audit import audit
from sim.cloud.model.devices import find_device
from sim.cloud.model.tables import Device
from sim.cloud.model.text import is_int
from sim.cloud.model.work import Work
from sim.cloud.shapes import Binding

MAX_BIND_SECONDS: Final = 3600


def binding(work: Work, public_url: str, sn: str, product_ref: str | None) -> Binding:
    """The binding page of the device, and whether its bind window is open."""
    return _binding(work, public_url, find_device(work, sn, product_ref))


def bind_device(work: Work, public_url: str, sn: str, product_ref: str | None, seconds: int) -> Binding:
    """Open the bind window of the device for so many seconds; 0 closes it. Raises `BadRequestError`."""
    if not is_int(seconds) or not 0 <= seconds <= MAX_BIND_SECONDS:
        raise BadRequestError(f"a bind window must be open for 0 to {MAX_BIND_SECONDS} seconds")
    device = find_device(work, sn, product_ref)
    device.bind_until = work.now + seconds if seconds else None
    audit(work, "device.bind-window", device.device_id, f"{seconds} s")
    return _binding(work, public_url, device)


def hand_out(work: Work, sn: str, address: str) -> Device:
    """The device that may be given its keys for this SN; it counts as activated, since it will log in without
    the activation of the protocol.

    Raises `UnknownDeviceError`, the same whether the SN is unknown, its window shut, or open for several
    devices; and `DeviceLimitError`.
    """
    query = select(Device).where(Device.sn == sn, Device.bind_until > work.now).limit(2)
    found = work.session.scalars(query).all()
    if len(found) != 1:
        raise UnknownDeviceError("no device with this SN is being bound")
    device = found[0]
    mark_activated(work, device, address)
    audit(work, "device.bind", device.device_id, f"{sn} {address}")
    return device


def _binding(work: Work, public_url: str, device: Device) -> Binding:
    open_until = device.bind_until if (device.bind_until or 0) > work.now else None
    return Binding(
        sn=device.sn,
        device_id=device.device_id,
        url=f"{public_url}/m/#/login?sn={quote(device.sn, safe='')}",
        bind_until=open_until,
    )
