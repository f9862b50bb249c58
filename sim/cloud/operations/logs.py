"""Logs of devices and the right to their shells (platform 5, 6)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cloudsdk.files import replacing
from sim.cloud.gateways.log_control import LogState
from sim.cloud.logs import EVERYTHING, LogFilter, LogLine
from sim.cloud.model import devices
from sim.cloud.model.audit import audit
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import ClearedInfo, LogInfo, LogLineInfo, Page

_NO_SERVER: Final = "no server runs on this data directory"


class LogOperations(BaseOperations):
    """A device is named by its DeviceID or SN; `product` tells apart devices of products with one SN."""

    def log_state(self, device: str, *, product: str | None = None) -> LogInfo:
        """The switch as it is stored. What the device makes of it, a running server knows."""
        device_id = self._visible(device, product)
        wanted = any(topics.device_id == device_id for topics in self.core.logs.switches())
        state = LogState.WAITING if wanted else LogState.OFF
        return LogInfo(device_id=device_id, wanted=wanted, state=state, since_ms=None, note=_NO_SERVER)

    def switch_log(self, device: str, on: bool, *, product: str | None = None) -> LogInfo:
        """Store the switch, for a server that starts later; one that runs is told by
        `gateways.consoles.Consoles`."""
        device_id = self.console_device(device, product=product)
        self.core.logs.set_switch(device_id, int(self.core.clock() * 1000), on=on)
        self.note_console(device_id, "log.on" if on else "log.off")
        return self.log_state(device_id)

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
        """Stored lines; `after` is the `next` of the page before, 0 for the first."""
        device_id = self._visible(device, product)
        page = self.core.logs.page(
            device_id, wanted, cursor=after or None, limit=limit, newest_first=newest_first
        )
        return Page(items=[line_info(line) for line in page.lines], next=page.next)

    def log_text(
        self, device: str, wanted: LogFilter = EVERYTHING, *, product: str | None = None
    ) -> Iterator[str]:
        """The stored lines as a text file, piece by piece (`logs.LogBook.export`)."""
        return self.core.logs.export(self._visible(device, product), wanted)

    def download_log(
        self, device: str, output: Path, wanted: LogFilter = EVERYTHING, *, product: str | None = None
    ) -> int:
        """Write the text file to `output`; returns its size in bytes."""
        pieces = self.log_text(device, wanted, product=product)
        with replacing(output) as target:
            return sum(target.write(piece.encode()) for piece in pieces)

    def clear_log(
        self, device: str, *, until_ms: int | None = None, product: str | None = None
    ) -> ClearedInfo:
        """Delete the stored lines, or those before `until_ms`, milliseconds since 1970."""
        device_id = self.console_device(device, product=product)
        deleted = self.core.logs.clear(device_id, until_ms=until_ms)
        self.note_console(device_id, "log.clear", f"{deleted} lines")
        return ClearedInfo(deleted=deleted)

    def console_device(self, device: str, *, product: str | None = None) -> str:
        """The DeviceID of a device whose shell and log the caller may use."""
        with self._look(Scope.CONSOLE) as work:
            return devices.find_device(work, device, product).device_id

    def note_console(self, device_id: str, action: str, detail: str = "") -> None:
        """Note in the audit what the caller did with a console."""
        with self._work(Scope.CONSOLE) as work:
            device = devices.find_device(work, device_id)
            audit(work, action, device.device_id, detail, account=device.product.account_id)

    def _visible(self, device: str, product: str | None) -> str:
        with self._look(Scope.READ) as work:
            return devices.find_device(work, device, product).device_id


def line_info(line: LogLine) -> LogLineInfo:
    return LogLineInfo(id=line.id, at_ms=line.at_ms, text=line.text)
