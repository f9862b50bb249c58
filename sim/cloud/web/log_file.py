"""The stored log of a device as a file."""

from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.responses import Response, StreamingResponse

from sim.cloud.logs import LogFilter
from sim.cloud.web.routes import DEVICES_PATH
from sim.cloud.web.visit import Visit
from sim.cloud.worker import Worker

LOG_FILE_PATH: Final = DEVICES_PATH + "/{device_id}/log"


def log_file_path(device_id: str, wanted: LogFilter) -> str:
    query = {"since": wanted.since_ms, "until": wanted.until_ms, "text": wanted.text}
    given = {name: value for name, value in query.items() if value}
    return LOG_FILE_PATH.format(device_id=device_id) + (f"?{urlencode(given)}" if given else "")


async def log_file(visit: Visit) -> Response:
    """The lines that fit, oldest first, as they come out of the database. Raises a `CloudError`."""
    device_id, query = visit.parameter("device_id"), visit.request.query_params
    wanted = LogFilter(_number(query, "since"), _number(query, "until"), query.get("text", ""))
    pieces = await visit.logs_of(device_id, lambda logs: logs.export(device_id, wanted))
    return StreamingResponse(
        _sent(visit.cloud.worker, pieces),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="device.log"'},
    )


async def _sent(worker: Worker, pieces: Iterator[str]) -> AsyncIterator[bytes]:
    # Each piece is read when the browser has taken the one before.
    while (piece := await worker.run(next, pieces, None)) is not None:
        yield piece.encode("utf-8", "replace")


def _number(query: QueryParams, name: str) -> int | None:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
