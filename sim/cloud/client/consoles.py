"""Web Log and Web Shell (platform 5, 6)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from cloudsdk.files import replacing
from sim.cloud.client.http import ApiSession
from sim.cloud.client.shell import ShellClient
from sim.cloud.logs import EVERYTHING, LogFilter
from sim.cloud.shapes import ClearedInfo, LogBatchInfo, LogInfo, LogLineInfo, Page

PATIENCE: Final = 10.0  # seconds for a device to follow the switch
PIECE: Final = 64 * 1024  # bytes of a download


class ConsoleCalls(ApiSession):
    def log_state(self, device: str, *, product: str | None = None) -> LogInfo:
        return cast(LogInfo, self._get(self._log_path(device, product)))

    def switch_log(
        self, device: str, on: bool, *, product: str | None = None, patience: float = PATIENCE
    ) -> LogInfo:
        """Returns when the device has followed, or after `patience` seconds."""
        return cast(LogInfo, self._put(self._log_path(device, product), {"on": on}, patience=patience))

    def page_log(
        self,
        device: str,
        wanted: LogFilter = EVERYTHING,
        *,
        product: str | None = None,
        after: int = 0,
        limit: int = 100,
        newest_first: bool = True,
    ) -> Page[LogLineInfo]:
        query = {**_query(wanted), "order": "newest" if newest_first else "oldest"}
        path = self._log_path(device, product) + "/lines"
        return cast(Page[LogLineInfo], self._get(path, after=after, limit=limit, **query))

    def download_log(
        self, device: str, output: Path, wanted: LogFilter = EVERYTHING, *, product: str | None = None
    ) -> int:
        """Write the text file to `output`; returns its size in bytes."""
        path = f"/api/v1{self._log_path(device, product)}/download"
        with self._request("GET", path, params=_query(wanted), stream=True) as answer:
            with replacing(output) as target, self._broken():
                return sum(target.write(piece) for piece in answer.iter_content(PIECE))

    def clear_log(
        self, device: str, *, until_ms: int | None = None, product: str | None = None
    ) -> ClearedInfo:
        path = self._log_path(device, product) + "/lines"
        return cast(ClearedInfo, self._delete(path, until_ms=until_ms))

    def follow_log(
        self, device: str, *, product: str | None = None, seen: int | None = None
    ) -> Iterator[LogBatchInfo]:
        """Lines as they come, after those stored beyond the id `seen`, until the cloud ends it."""
        path = f"/api/v1{self._log_path(device, product)}/live"
        headers = {} if seen is None else {"Last-Event-ID": str(seen)}
        with self._request("GET", path, headers=headers, stream=True) as answer, self._broken():
            for line in answer.iter_lines(chunk_size=None):
                if line.startswith(b"data: "):
                    yield cast(LogBatchInfo, json.loads(line.removeprefix(b"data: ")))

    def open_shell(self, device: str, *, product: str | None = None) -> ShellClient:
        """The device's shell, once the device has connected; close it."""
        device_id = self._device_id(device, product)
        token = str(self._session.headers["Authorization"]).removeprefix("Bearer ")
        return ShellClient(self._url, token, device_id, self._ca)

    def _log_path(self, device: str, product: str | None) -> str:
        return f"/devices/{self._device_id(device, product)}/log"

    def _device_id(self, device: str, product: str | None) -> str:
        return str(self._get("/devices/find", sn=device, product=product)["device_id"])


def _query(wanted: LogFilter) -> dict[str, Any]:
    return {"since_ms": wanted.since_ms, "until_ms": wanted.until_ms, "text": wanted.text or None}
