"""Request bodies, read within bounds of size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request

from sim.cloud.errors import BadRequestError, TooLargeError

MAX_DRAINED: Final = 1024 * 1024  # bytes of an oversized body that are read to answer it in good order
BODY_TIMEOUT: Final = 30.0  # seconds to receive the next piece of a request body


async def next_piece(stream: AsyncIterator[bytes]) -> bytes | None:
    """The next piece of a request body, None at its end."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await anext(stream, None)
    except TimeoutError:
        raise BadRequestError("the request body does not arrive") from None


async def whole_body(request: Request, limit: int) -> bytes:
    """The body. What is beyond `limit` bytes is read, within bounds, but not kept."""
    body = bytearray()
    received = 0
    stream = aiter(request.stream())
    while (piece := await next_piece(stream)) is not None and received <= max(limit, MAX_DRAINED):
        received += len(piece)
        body += piece[: limit + 1 - len(body)]
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
