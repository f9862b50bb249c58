"""Responses that fit the original HTTP client, and the streaming of firmware."""

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloudsdk.errors import CloudSdkError
from sim.cloud.errors import (
    BadRequestError,
    CloudError,
    DevicesRefusedError,
    TooManyAttemptsError,
    UnauthorizedError,
)
from sim.cloud.firmware import ranged_body
from sim.cloud.model.transfers import OpenDownload
from sim.cloud.service import Service
from sim.cloud.shapes import Outcome
from sim.cloud.worker import Worker

STALL_TIMEOUT: Final = 600.0  # seconds in which a device must take the next piece of firmware
_MEANING: Final = {404: "there is nothing here", 405: "this method is not allowed here"}
_SPELLING: Final = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate"}

_log = logging.getLogger(__name__)


def json_response(value: object, status: int = 200) -> Response:
    """Compact JSON with Content-Length."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(body, status, media_type="application/json")


def problem(status: int, code: str, detail: str, **more: object) -> Response:
    """An error in the form of RFC 9457, with our stable code."""
    fields = {"status": status, "code": code, "detail": detail, **more}
    body = json.dumps(fields, separators=(",", ":")).encode()
    return Response(body, status, media_type="application/problem+json")


class TitleCaseHeaders:
    """Writes header names as the original client looks for them: `Content-Length`, not `content-length`
    (cloudsdk-protocol 1.3). The server below must keep the case given, as h11 does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def spelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(_title(name), value) for name, value in message["headers"]]
                headers.append((b"Date", formatdate(usegmt=True).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, spelled)


def _title(name: bytes) -> bytes:
    lower = name.lower()
    return _SPELLING.get(lower) or lower.title()


class FirmwareResponse:
    """Streams an encrypted firmware and notes how many bytes went out, whatever ends it."""

    def __init__(self, download: OpenDownload, service: Service, worker: Worker) -> None:
        self._download = download
        self._service = service
        self._worker = worker
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome = Outcome.ABORTED
        watcher = asyncio.create_task(_disconnected(receive))
        try:
            if await self._stream(send, watcher):
                outcome = Outcome.COMPLETE
        except TimeoutError:
            # Returning early makes the server cut the connection.
            _log.warning("a device takes no more of its firmware: connection given up")
        finally:
            watcher.cancel()
            # A request cancelled by a stopping server is accounted for as well.
            await asyncio.shield(
                self._worker.run(self._service.finish_transfer, self._download.transfer, self._sent, outcome)
            )

    async def _stream(self, send: Send, watcher: "asyncio.Task[None]") -> bool:
        """True if the whole response was handed to the network."""
        plan = self._download.plan
        pieces: Iterator[bytes] = iter(())
        if plan.end > plan.start:
            path = self._service.blobs.path(self._download.sha256)
            size, key = self._download.file_size, self._download.device_key
            pieces = ranged_body(path, size, key, plan.start, plan.end)
        # The first piece comes before the status line, so that a lost file is an error, not a broken body.
        piece = await asyncio.to_thread(next, pieces, None)
        headers = [(name.encode(), value.encode()) for name, value in plan.headers]
        await send({"type": "http.response.start", "status": plan.status, "headers": headers})
        while piece is not None:
            async with asyncio.timeout(STALL_TIMEOUT):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # The server ignores what is sent after a disconnect; only the watcher tells.
            if watcher.done():
                return False
            self._sent += len(piece)
            self._service.core.live.advance(self._download.transfer, len(piece))
            piece = await asyncio.to_thread(next, pieces, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True


async def _disconnected(receive: Receive) -> None:
    message: dict[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = dict(await receive())


def exception_handlers() -> dict[Any, Any]:
    """What every application of the cloud makes of an exception: a problem with a stable code."""
    return {
        CloudSdkError: _refused,
        ClientDisconnect: _gone,
        HTTPException: _http_error,
        Exception: _own_failure,
    }


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.http_status if isinstance(error, CloudError) else 400
    code = error.code if isinstance(error, CloudSdkError) else CloudError.code
    more = {"rows": error.rows} if isinstance(error, DevicesRefusedError) else {}
    response = problem(status, code, str(error), **more)
    if status == UnauthorizedError.http_status:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyAttemptsError):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


async def _gone(_request: Request, _error: Exception) -> Response:
    return problem(400, BadRequestError.code, "the client went away")


async def _http_error(_request: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    response = problem(status, BadRequestError.code, _MEANING.get(status, "not allowed"))
    response.headers.update(headers or {})
    return response


async def _own_failure(_request: Request, error: Exception) -> Response:
    _log.error("a request failed: %s", type(error).__name__)
    return problem(500, CloudError.code, "the cloud failed; its log says more")
