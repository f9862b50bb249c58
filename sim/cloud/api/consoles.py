"""Web Log (platform 6): its switch, its stored lines, and the lines as they come."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sim.cloud.api.context import Authenticated, Body, Call, still_valid
from sim.cloud.gateways.web_logs import LogStatus, LogViewer
from sim.cloud.logs import LogFilter
from sim.cloud.operations import Operations
from sim.cloud.operations.logs import line_info
from sim.cloud.shapes import ClearedInfo, LogBatchInfo, LogInfo, LogLineInfo, Page
from sim.cloud.worker import Worker

KEEP_ALIVE: Final = 15.0  # seconds without a line until a comment says that the stream is alive
MAX_PATIENCE: Final = 30.0  # seconds that a request may wait for a device
MISSED_PAGE: Final = 1000  # lines read at a time for a reader who comes back

router = APIRouter(prefix="/devices/{device_id}/log", tags=["consoles"])

_TEXT_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "UTC time and text."}
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Server-sent events `lines`; the data of each is a `LogBatchInfo` as JSON, its id the "
        "last line's.",
    }
}
Milliseconds = Annotated[int | None, Query(ge=0, description="Milliseconds since 1970.")]


class LogChange(Body):
    on: bool


def _lines_wanted(since_ms: Milliseconds = None, until_ms: Milliseconds = None, text: str = "") -> LogFilter:
    return LogFilter(since_ms, until_ms, text)


Wanted = Annotated[LogFilter, Depends(_lines_wanted)]


@router.get("")
async def log_state(call: Authenticated, device_id: str) -> LogInfo:
    """The switch, and how far the device has followed it."""
    found = await call.run(Operations.log_state, device_id)
    return _info(found["device_id"], call.context.consoles.log_status(found["device_id"]))


@router.put("")
async def switch_log(
    call: Authenticated,
    device_id: str,
    body: LogChange,
    patience: Annotated[
        float, Query(ge=0, le=MAX_PATIENCE, description="Seconds to wait for the device.")
    ] = 0,
) -> LogInfo:
    """Turn the log on or off. The switch stays as it is set until the log is idle for five minutes."""
    consoles = call.context.consoles
    device_id = await call.run(Operations.console_device, device_id)
    await consoles.switch_log(device_id, on=body.on)
    await call.run(Operations.note_console, device_id, "log.on" if body.on else "log.off")
    return _info(device_id, await consoles.log_settled(device_id, patience))


def _info(device_id: str, status: LogStatus) -> LogInfo:
    return LogInfo(
        device_id=device_id,
        wanted=status.wanted,
        state=status.state,
        since_ms=status.since_ms,
        note=status.note,
    )


@router.get("/lines")
async def page_log(
    call: Authenticated,
    device_id: str,
    wanted: Wanted,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    order: Literal["newest", "oldest"] = "newest",
) -> Page[LogLineInfo]:
    """Stored lines, the newest or the oldest first; `after` is the `next` of the page before.

    `text` is searched for without regard to the case of ASCII letters. Text is as the device sent it, control
    characters included.
    """
    newest = order == "newest"
    return await call.run(
        Operations.page_log, device_id, wanted, after=after, limit=limit, newest_first=newest
    )


@router.delete("/lines")
async def clear_log(call: Authenticated, device_id: str, until_ms: Milliseconds = None) -> ClearedInfo:
    """Delete the stored lines, or those before `until_ms`."""
    return await call.run(Operations.clear_log, device_id, until_ms=until_ms)


@router.get("/download", response_class=StreamingResponse, responses=_TEXT_FILE)
async def download_log(call: Authenticated, device_id: str, wanted: Wanted) -> StreamingResponse:
    """The stored lines as a text file, oldest first, without colours and with control characters escaped."""
    found = await call.run(Operations.log_state, device_id)
    pieces = await call.run(Operations.log_text, device_id, wanted)
    name = f"{found['device_id']}.log"
    return StreamingResponse(
        _texts(call.context.worker, pieces),
        media_type="text/plain",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _texts(worker: Worker, pieces: Iterator[str]) -> AsyncIterator[str]:
    while (piece := await worker.run(next, pieces, None)) is not None:
        yield piece


@router.get("/live", response_class=StreamingResponse, responses=_EVENTS)
async def follow_log(
    call: Authenticated,
    request: Request,
    device_id: str,
    last_event_id: Annotated[
        int | None, Header(ge=0, description="Id of the last line seen: later stored ones come first.")
    ] = None,
) -> StreamingResponse:
    """Lines as they come, until the caller goes or may no longer read them."""
    found = await call.run(Operations.log_state, device_id)
    viewer = await call.context.consoles.follow_log(found["device_id"])
    return _LiveLog(_events(request, call, found["device_id"], viewer, last_event_id), viewer)


class _LiveLog(StreamingResponse):
    """Closes the viewer, whatever ends the response."""

    def __init__(self, events: AsyncIterator[str], viewer: LogViewer) -> None:
        headers = {"Cache-Control": "no-store"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._viewer = viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewer.close()


async def _events(
    request: Request, call: Call, device_id: str, viewer: LogViewer, seen: int | None
) -> AsyncIterator[str]:
    yield ": follows\n\n"
    while seen is not None:
        page = await call.run(
            Operations.page_log, device_id, after=seen, limit=MISSED_PAGE, newest_first=False
        )
        if page["items"]:
            seen = page["items"][-1]["id"]
            yield _event(LogBatchInfo(lines=page["items"], lost=0))
        if page["next"] is None:
            break
    loop = asyncio.get_running_loop()
    due = loop.time() + KEEP_ALIVE
    coming = asyncio.ensure_future(anext(viewer, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=max(due - loop.time(), 0))
            if loop.time() >= due:
                if not await still_valid(request):
                    return
                due = loop.time() + KEEP_ALIVE
                yield ": alive\n\n"
            if not coming.done():
                continue
            batch = coming.result()
            if batch is None:
                return
            coming = asyncio.ensure_future(anext(viewer, None))
            lines = [line_info(line) for line in batch.lines]
            new = [line for line in lines if seen is None or line["id"] is None or line["id"] > seen]
            if new or batch.lost:
                yield _event(LogBatchInfo(lines=new, lost=batch.lost))
    finally:
        coming.cancel()


def _event(batch: LogBatchInfo) -> str:
    """One server-sent event. JSON keeps line ends of the text out of the framing."""
    ids = [line["id"] for line in batch["lines"] if line["id"] is not None]
    number = f"id: {ids[-1]}\n" if ids else ""
    return f"event: lines\n{number}data: {json.dumps(batch, separators=(',', ':'))}\n\n"
