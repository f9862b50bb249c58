"""Devices (platform 3). In a path, a device is its DeviceID."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import DeviceInfo, TransferInfo

router = APIRouter(prefix="/devices", tags=["devices"])


class NewDevice(Body):
    product: str
    sn: str
    name: str = ""
    mac: str = ""
    description: str = ""


@router.get("")
async def list_devices(call: Authenticated, product: str | None = None) -> list[DeviceInfo]:
    return await call.run(Operations.list_devices, product)


@router.post("", status_code=201)
async def add_device(call: Authenticated, body: NewDevice) -> DeviceInfo:
    return await call.run(Operations.add_device, **body.model_dump())


@router.get("/find")
async def find_device(
    call: Authenticated, sn: str, product: str | None = None, keys: bool = False
) -> DeviceInfo:
    """The device with this SN or DeviceID; `product` tells apart devices of several products with one SN."""
    return await call.run(Operations.show_device, sn, product=product, keys=keys)


@router.get("/{device_id}/transfers")
async def transfers(call: Authenticated, device_id: str) -> list[TransferInfo]:
    """The firmware requests of a device."""
    return await call.run(Operations.transfers, device_id)
