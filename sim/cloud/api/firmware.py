"""Firmware in the cloud (platform 8)."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import FileResponse

from cloudsdk.ota.keys import ascii_secret
from sim.cloud.api.context import Authenticated
from sim.cloud.blobs import Upload
from sim.cloud.bodies import pieces
from sim.cloud.model.packages import Expected, inspect_package
from sim.cloud.operations import Operations
from sim.cloud.shapes import FirmwareInfo, Page

router = APIRouter(prefix="/firmware", tags=["firmware"])

FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The package."}
}

# Not in the query: URLs end up in logs.
KeyHeader = Annotated[str | None, Header(alias="X-Package-Key", description="AES-256 key, 32 characters.")]
IvHeader = Annotated[str | None, Header(alias="X-Package-IV", description="AES IV, 16 characters.")]
After = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=1000)]


def secret(text: str | None, what: str) -> bytes | None:
    return ascii_secret(text, what) if text is not None else None


async def receive(request: Request, upload: Upload) -> None:
    """The request body as a file."""
    async for piece in pieces(request):
        await asyncio.to_thread(upload.write, piece)
    await asyncio.to_thread(upload.flush)


@router.get("")
async def list_firmware(call: Authenticated, product: str | None = None) -> list[FirmwareInfo]:
    return await call.run(Operations.list_firmware, product)


@router.get("/page")
async def page_firmware(
    call: Authenticated, product: str | None = None, after: After = 0, limit: Limit = 100
) -> Page[FirmwareInfo]:
    return await call.run(Operations.page_firmware, product, after=after, limit=limit)


@router.post("", status_code=201, openapi_extra=FILE_BODY)
async def upload_firmware(
    call: Authenticated,
    request: Request,
    product: str,
    name: str | None = None,
    version: str | None = None,
    description: str = "",
    allow_lower: bool = False,
    key: KeyHeader = None,
    iv: IvHeader = None,
) -> FirmwareInfo:
    """The body is the package itself. Name and version, if given, must be those of the package."""
    expected = Expected(name, version, secret(key, "key"), secret(iv, "IV"))
    await call.run(Operations.may_upload, product)
    with call.context.service.blobs.receive() as upload:
        await receive(request, upload)
        facts = await asyncio.to_thread(inspect_package, upload.path, expected)
        return await call.run(
            Operations.add_firmware, upload, facts, product, description=description, allow_lower=allow_lower
        )


@router.get("/{firmware_id}")
async def show_firmware(call: Authenticated, firmware_id: int) -> FirmwareInfo:
    return await call.run(Operations.show_firmware, firmware_id)


@router.delete("/{firmware_id}", status_code=204)
async def delete_firmware(call: Authenticated, firmware_id: int) -> Response:
    await call.run(Operations.delete_firmware, firmware_id)
    return Response(status_code=204)


@router.get("/{firmware_id}/file", response_class=FileResponse, responses=_FILE_ANSWER)
async def download_firmware(call: Authenticated, firmware_id: int) -> FileResponse:
    """The package as it was uploaded."""
    info, path = await call.run(Operations.firmware_file, firmware_id)
    return package_file(path, f"{info['name']}-{info['version']}.rbl")


def package_file(path: Path, name: str) -> FileResponse:
    return FileResponse(path, media_type="application/octet-stream", filename=name)
