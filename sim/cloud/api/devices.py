"""Devices (platform 3). In a path, a device is its DeviceID."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.bodies import whole_body
from sim.cloud.device_table import MAX_TABLE
from sim.cloud.operations import Operations
from sim.cloud.qr import MEDIA_TYPES, QrFormat
from sim.cloud.shapes import (
    BIND_SECONDS,
    Binding,
    DeviceCounts,
    DeviceFilter,
    DeviceInfo,
    DeviceKeyInfo,
    DeviceState,
    ImportInfo,
    Page,
    TagInfo,
    TransferInfo,
)

router = APIRouter(prefix="/devices", tags=["devices"])

_TABLE_BODY = {
    "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}},
}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()
        }
    }
}


class NewDevice(Body):
    product: str
    sn: str
    name: str = ""
    mac: str = ""
    description: str = ""
    tags: list[str] = []


class DevicePatch(Body):
    """Members that are absent stay as they are; the values here say nothing."""

    sn: str = ""
    name: str = ""
    mac: str = ""
    description: str = ""
    tags: list[str] = []


class BindWindow(Body):
    seconds: int = BIND_SECONDS


def _wanted(
    product: str | None = None,
    search: str | None = None,
    tag: str | None = None,
    version: str | None = None,
    state: DeviceState | None = None,
    online: bool | None = None,
) -> DeviceFilter:
    return DeviceFilter(product=product, search=search, tag=tag, version=version, state=state, online=online)


Wanted = Annotated[DeviceFilter, Depends(_wanted)]


@router.get("")
async def page_devices(
    call: Authenticated, wanted: Wanted, after: int = 0, limit: int = 100
) -> Page[DeviceInfo]:
    """Devices in the order in which they were added; `search` is a part of SN, name or DeviceID."""
    return await call.run(Operations.page_devices, wanted, after=after, limit=limit)


@router.post("", status_code=201)
async def add_device(call: Authenticated, body: NewDevice) -> DeviceInfo:
    return await call.run(Operations.add_device, **body.model_dump())


@router.get("/counts")
async def count_devices(call: Authenticated, wanted: Wanted) -> DeviceCounts:
    return await call.run(Operations.count_devices, wanted)


@router.get("/tags")
async def list_tags(call: Authenticated, product: str | None = None) -> list[TagInfo]:
    """The tags in use."""
    return await call.run(Operations.list_tags, product)


@router.post("/import", status_code=201, openapi_extra=_TABLE_BODY)
async def add_devices(call: Authenticated, request: Request, product: str) -> ImportInfo:
    """Add the devices of a CSV table with the columns sn, name, mac, description and tags, all or none.

    A refusal names the bad rows as `rows`.
    """
    return await call.run(Operations.add_devices, product, await whole_body(request, MAX_TABLE))


@router.get("/find")
async def find_device(
    call: Authenticated, sn: str, product: str | None = None, keys: bool = False
) -> DeviceInfo:
    """The device with this SN or DeviceID; `product` tells apart devices of several products with one SN."""
    return await call.run(Operations.show_device, sn, product=product, keys=keys)


@router.get("/{device_id}")
async def show_device(call: Authenticated, device_id: str) -> DeviceInfo:
    return await call.run(Operations.show_device, device_id)


@router.get("/{device_id}/key")
async def device_key(call: Authenticated, device_id: str) -> DeviceKeyInfo:
    """The DeviceKey; audited."""
    return await call.run(Operations.device_key, device_id)


@router.patch("/{device_id}")
async def update_device(call: Authenticated, device_id: str, body: DevicePatch) -> DeviceInfo:
    """Modify a device; only members that are given change. SN and MAC stay once it is activated or
    published."""
    return await call.run(Operations.update_device, device_id, **body.model_dump(exclude_unset=True))


@router.post("/{device_id}/publish")
async def publish_device(call: Authenticated, device_id: str) -> DeviceInfo:
    return await call.run(Operations.publish_device, device_id)


@router.delete("/{device_id}", status_code=204)
async def delete_device(call: Authenticated, device_id: str) -> None:
    """Delete a device in whatever state; it is disconnected."""
    await call.run(Operations.delete_device, device_id)


@router.get("/{device_id}/binding")
async def binding_url(call: Authenticated, device_id: str) -> Binding:
    """The address of the binding page."""
    return await call.run(Operations.binding_url, device_id)


@router.post("/{device_id}/bind")
async def bind_device(call: Authenticated, device_id: str, body: BindWindow) -> Binding:
    """Let the device fetch its keys by its SN alone for so many seconds; 0 ends it."""
    return await call.run(Operations.bind_device, device_id, seconds=body.seconds)


@router.get("/{device_id}/qr.{kind}", response_class=Response, responses=_IMAGE)
async def binding_qr(call: Authenticated, device_id: str, kind: QrFormat) -> Response:
    """The address of the binding page as a QR code."""
    image = await call.run(Operations.binding_qr, device_id, kind)
    return Response(image, media_type=MEDIA_TYPES[kind])


@router.get("/{device_id}/transfers")
async def transfers(call: Authenticated, device_id: str) -> list[TransferInfo]:
    """The firmware requests of a device."""
    return await call.run(Operations.transfers, device_id)
