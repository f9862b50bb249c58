"""Firmware in the cloud (platform 8)."""

import asyncio

from fastapi import APIRouter, Request

from sim.cloud.api.context import Authenticated
from sim.cloud.bodies import next_piece
from sim.cloud.model.library import inspect_package
from sim.cloud.operations import Operations
from sim.cloud.shapes import FirmwareInfo

router = APIRouter(prefix="/firmware", tags=["firmware"])

_PACKAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("")
async def list_firmware(call: Authenticated, product: str | None = None) -> list[FirmwareInfo]:
    return await call.run(Operations.list_firmware, product)


@router.post("", status_code=201, openapi_extra=_PACKAGE_BODY)
async def upload_firmware(call: Authenticated, request: Request, product: str) -> FirmwareInfo:
    """The body is the package itself."""
    await call.run(Operations.may_upload, product)
    with call.context.service.blobs.receive() as upload:
        stream = aiter(request.stream())
        while (piece := await next_piece(stream)) is not None:
            await asyncio.to_thread(upload.write, piece)
        await asyncio.to_thread(upload.flush)
        facts = await asyncio.to_thread(inspect_package, upload.path)
        return await call.run(Operations.add_firmware, upload, facts, product)
