"""Web Shell over a WebSocket (platform 5): bytes both ways in binary frames.

A text frame of the cloud is a JSON object: `open` when the shell is there, `end` with the reason why it is
over, or `error` with the members of a problem. The close code is 1000 after `end`, 4000 and the HTTP status
after `error`.
"""

import asyncio
import contextlib
import json
from typing import Any, Final

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketState

from cloudsdk.errors import CloudSdkError
from sim.cloud.api.context import Call, identify, refuse_other_sites, still_valid
from sim.cloud.errors import (
    BadRequestError,
    CloudError,
    CrossSiteError,
    ShellEndedError,
    TooLargeError,
    UnauthorizedError,
)
from sim.cloud.gateways.shells import ShellSession
from sim.cloud.operations import Operations
from sim.cloud.responses import problem

MAX_TYPED: Final = 64 * 1024  # bytes of one frame
RECHECK: Final = 15.0  # seconds between two looks whether the caller may still be here
LAST_OUTPUT: Final = 5.0  # seconds to read what the device printed before it closed, and why it did
NORMAL: Final = 1000
ERROR_CODES: Final = 4000  # and the HTTP status

router = APIRouter(prefix="/devices/{device_id}/shell", tags=["consoles"])


@router.websocket("")
async def shell(socket: WebSocket, device_id: str) -> None:
    """The device's console for one caller."""
    try:
        _refuse_other_pages(socket)
    except CrossSiteError as exc:
        # Nothing that the page could read: a handshake is all it gets.
        await socket.send_denial_response(problem(exc.http_status, exc.code, str(exc)))
        return
    await socket.accept()
    try:
        await _serve(socket, await identify(socket), device_id)
    except CloudSdkError as exc:
        status = exc.http_status if isinstance(exc, CloudError) else BadRequestError.http_status
        told = {"type": "error", "status": status, "code": exc.code, "detail": str(exc)}
        await _say(socket, told, ERROR_CODES + status)


def _refuse_other_pages(socket: WebSocket) -> None:
    """A browser sends the cookie along with any page's handshake, and always names the page's origin."""
    refuse_other_sites(socket)
    by_cookie = "authorization" not in socket.headers and "cookie" in socket.headers
    if by_cookie and "origin" not in socket.headers:
        raise CrossSiteError("a session's shell needs the Origin of the cloud's own page")


async def _serve(socket: WebSocket, call: Call, device_id: str) -> None:
    device_id = await call.run(Operations.console_device, device_id)
    first = asyncio.create_task(socket.receive())
    try:
        session = await _open(call, device_id, first)
        if session is None:
            return
        try:
            await call.run(Operations.note_console, device_id, "shell.open")
            await socket.send_text(json.dumps({"type": "open", "device_id": device_id}))
            await _bridge(socket, session, first)
        finally:
            session.hang_up()
            # Also of a device that was deleted meanwhile.
            with contextlib.suppress(CloudError):
                await call.run(Operations.note_console, device_id, "shell.close", str(session.end))
    finally:
        first.cancel()


async def _open(call: Call, device_id: str, first: "asyncio.Task[Any]") -> ShellSession | None:
    """The shell; None if the caller has gone before it was there."""
    opening = asyncio.create_task(call.context.consoles.open_shell(device_id))
    try:
        await asyncio.wait({opening, first}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done() and first.result()["type"] == "websocket.disconnect":
            return None
        return await opening
    finally:
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


async def _bridge(socket: WebSocket, session: ShellSession, first: "asyncio.Task[Any]") -> None:
    typing = asyncio.create_task(_type(socket, session, first))
    showing = asyncio.create_task(_show(socket, session))
    watching = asyncio.create_task(_watch(socket))
    ended = asyncio.create_task(session.wait_ended())
    tasks = {typing, showing, watching, ended}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in (typing, watching):
            if task.done():
                task.result()  # raises what is wrong with the caller
        if typing.done():
            return  # it has gone
        await asyncio.wait({showing}, timeout=LAST_OUTPUT)
        await _say(socket, {"type": "end", "reason": str(session.end)}, NORMAL)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _type(socket: WebSocket, session: ShellSession, first: "asyncio.Task[Any]") -> None:
    """Until the caller goes. No frame is read before the device has taken the one before."""
    message = await first
    while message["type"] == "websocket.receive":
        data = message.get("bytes")
        if data is None:
            raise BadRequestError("what is typed comes in binary frames")
        if len(data) > MAX_TYPED:
            raise TooLargeError(f"a frame has at most {MAX_TYPED} bytes")
        try:
            await session.send(data)
        except ShellEndedError:
            await session.wait_ended()  # who shows the output says so
        message = await socket.receive()


async def _show(socket: WebSocket, session: ShellSession) -> None:
    """Until the shell ends. A caller who does not read holds up the device."""
    async for output in session:
        await socket.send_bytes(output)


async def _watch(socket: WebSocket) -> None:
    """While the caller may be here."""
    while await still_valid(socket):  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(RECHECK)
    raise UnauthorizedError("the session or token has ended: log in again")


async def _say(socket: WebSocket, message: dict[str, Any], code: int) -> None:
    """The last words, to a caller who may have gone or not read any more."""
    with contextlib.suppress(TimeoutError, RuntimeError, OSError):
        async with asyncio.timeout(LAST_OUTPUT):
            if socket.client_state is WebSocketState.CONNECTED:
                await socket.send_text(json.dumps(message))
                await socket.close(code)
