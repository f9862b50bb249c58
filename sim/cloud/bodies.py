"""Request bodies, read within bounds of size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request

from sim.cloud.errors import BadRequestError, TooLargeError

MAX_DRAINED: Final = 1024 * 1024  # bytes of an oversized body that are read to answer it in good order
BODY_TIMEOUT: Final = 30.0  # seconds to receive the next piece of a request body
BODY_PATIENCE: Final = 60.0  # seconds that a whole body may take, and what follows for its size
SLOWEST_BODY: Final = 1024.0  # bytes a second


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """A request body as it comes. Raises `BadRequestError` when nothing more comes, or too slowly."""
    loop = asyncio.get_running_loop()
    latest = loop.time() + BODY_PATIENCE
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout_at(min(loop.time() + BODY_TIMEOUT, latest)):
                piece = await anext(stream, None)
        except TimeoutError:
            raise BadRequestError("the request body does not arrive, or too slowly") from None
        if piece is None:
            return
        latest += len(piece) / SLOWEST_BODY
        yield piece


async def whole_body(request: Request, limit: int) -> bytes:
    """The body. What is beyond `limit` bytes is read, within bounds, but not kept."""
    body = bytearray()
    received = 0
    async for piece in pieces(request):
        received += len(piece)
        body += piece[: limit + 1 - len(body)]
        if received > max(limit, MAX_DRAINED):
            break
    if received > limit:
        raise TooLargeError(f"the request body is larger than {limit} bytes")
    return bytes(body)


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        value = json.loads(await whole_body(request, limit))
    except (ValueError, RecursionError):
        raise BadRequestError("the request body is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequestError("the request body is not a JSON object")
    return value
