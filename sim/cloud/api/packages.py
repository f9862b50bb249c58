"""The packer (platform 7)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.pack import PackOptions
from sim.cloud.api.context import Authenticated
from sim.cloud.api.firmware import FILE_BODY, IvHeader, KeyHeader, receive, secret
from sim.cloud.model.packages import Expected
from sim.cloud.operations import Operations
from sim.cloud.operations.firmware import packed_info, take_in
from sim.cloud.responses import json_response
from sim.cloud.shapes import PackedInfo

router = APIRouter(prefix="/packages", tags=["packages"])

_PIECE: Final = 64 * 1024  # bytes
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The package."},
    201: {"model": PackedInfo, "description": "The package was stored as firmware of the product."},
}


@router.post("", openapi_extra=FILE_BODY, responses=_ANSWERS)
async def pack_package(
    call: Authenticated,
    request: Request,
    name: str,
    version: str,
    compression: Literal["none", "gzip", "quicklz", "fastlz"] = "none",
    encryption: Literal["none", "aes256"] = "none",
    timestamp: Annotated[int | None, Query(ge=0, description="Seconds; default: now.")] = None,
    product: str | None = None,
    description: str = "",
    allow_lower: bool = False,
    key: KeyHeader = None,
    iv: IvHeader = None,
) -> Response:
    """The body is the raw firmware, the answer the package; with `product` it is stored there instead.

    What the packer shows (platform 7.2) is in the header X-Package, as JSON, or in the answer.
    """
    core = call.context.service.core
    options = PackOptions(
        name=name,
        version=version,
        timestamp=core.now() if timestamp is None else timestamp,
        compression=Compression[compression.upper()],
        encryption=Encryption[encryption.upper()],
        key=secret(key, "key"),
        iv=secret(iv, "IV"),
    )
    await call.run(Operations.may_pack, product)
    made = core.blobs.scratch()
    try:
        with core.blobs.receive() as upload:
            await receive(request, upload)
            header = await core.packers.pack(upload.path, made, options)
        size = made.seek(0, 2)
        made.seek(0)
        if product is None:
            shown = json.dumps(packed_info(header, size, None), separators=(",", ":"))
            fields = {"Content-Length": str(size), "X-Package": shown}
            return StreamingResponse(_sent(made), media_type="application/octet-stream", headers=fields)
        with core.blobs.receive() as upload:
            facts = await asyncio.to_thread(take_in, upload, made, Expected(key=options.key, iv=options.iv))
            firmware = await call.run(
                Operations.add_firmware,
                upload,
                facts,
                product,
                description=description,
                allow_lower=allow_lower,
            )
        made.close()
        return json_response(packed_info(header, size, firmware), 201)
    except BaseException:
        made.close()
        raise


async def _sent(made: BinaryIO) -> AsyncIterator[bytes]:
    with made:
        while piece := await asyncio.to_thread(made.read, _PIECE):
            yield piece
