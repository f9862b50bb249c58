"""The consoles of all devices: Web Shell and Web Log behind one object, which the server holds."""

import asyncio
import time
from collections.abc import Callable

from sim.cloud.errors import DeviceBusyError
from sim.cloud.gateways.connection import Listener
from sim.cloud.gateways.decoders import LogDecoder, ShellDecoder
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.publisher import Publish, Publisher
from sim.cloud.gateways.records import Records
from sim.cloud.gateways.shells import Shells, ShellSession
from sim.cloud.gateways.web_logs import LogStatus, LogViewer, WebLogs
from sim.cloud.messages import ServerAddress
from sim.cloud.notices import News, Notice


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Consoles:
    """A device is named by its DeviceID. All methods belong to the event loop that called `start`."""

    def __init__(
        self,
        records: Records,
        publish: Publish,
        limits: ConsoleLimits | None = None,
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        limits = limits or ConsoleLimits()
        self._publisher = Publisher(publish)
        self._shells = Shells(records, self._publisher, limits)
        self._logs = WebLogs(records, self._publisher, limits, clock_ms)
        self._shell_listener = Listener(ShellDecoder, self._shells, limits, idle=limits.shell_idle)
        self._log_listener = Listener(LogDecoder, self._logs, limits, idle=limits.log_idle)

    @property
    def shell_address(self) -> ServerAddress:
        """What devices are told by 1025; valid after `start`."""
        return self._shells.address

    @property
    def log_address(self) -> ServerAddress:
        """What devices are told by 1022; valid after `start`."""
        return self._logs.address

    async def start(self, host: str, shell_port: int, log_port: int, announced: str) -> None:
        """Listen on the IPv4 address `host` and take up the log switches as they were left.

        `announced` is the dotted IPv4 address that devices are told. Port 0 takes any free one. Raises
        `ListenError` and `PortInUseError`.
        """
        try:
            self._shell_listener.start(host, shell_port, "--shell-port")
            self._log_listener.start(host, log_port, "--log-port")
            self._shells.address = ServerAddress(announced, self._shell_listener.port)
            self._logs.address = ServerAddress(announced, self._log_listener.port)
            self._publisher.start()
            await self._logs.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all sessions by FIN. Logs that are on stay wanted for the next start."""
        await asyncio.gather(self._shell_listener.stop(), self._log_listener.stop())
        await self._logs.stop()
        await self._publisher.stop()

    def notice(self, notice: Notice) -> None:
        """What a device has reported; to be called in the order of the reports."""
        match notice.news:
            case News.ONLINE:
                self._shells.came_online(notice.device_id)
                self._logs.came_online(notice.device_id)
            case News.OFFLINE:
                self._shells.went_offline(notice.device_id)
                self._logs.went_offline(notice.device_id)
            case News.LOG_ON | News.LOG_OFF:
                self._logs.reported(notice.device_id, on=notice.news is News.LOG_ON)

    async def open_shell(self, device_id: str) -> ShellSession:
        """Open the device's shell for one viewer (platform 5).

        Raises `UnknownDeviceError`, `DeviceOfflineError`, `DeviceBusyError` while there is a shell or a log
        (platform 6.4), `ConsoleLimitError` and `ShellTimeoutError`.
        """
        if self._logs.occupies(device_id):
            raise DeviceBusyError(
                "the log of the device is on, and a shell would get in its way: turn it off first"
            )
        return await self._shells.open(device_id)

    async def switch_log(self, device_id: str, *, on: bool) -> LogStatus:
        """Turn the device's log on or off (platform 6.1); `log_settled` waits until it has come to that.

        Raises `UnknownDeviceError`, and `DeviceBusyError` while there is a shell (platform 6.4).
        """
        if on and self._shells.occupies(device_id):
            raise DeviceBusyError(
                "the shell of the device is open, and a log would get in its way: close it first"
            )
        return await self._logs.switch(device_id, on=on)

    async def log_settled(self, device_id: str, patience: float) -> LogStatus:
        """The status once the device has done what was asked of it, or after `patience` seconds."""
        return await self._logs.settled(device_id, patience)

    def log_status(self, device_id: str) -> LogStatus:
        """Off for a device that is not known."""
        return self._logs.status(device_id)

    async def follow_log(self, device_id: str) -> LogViewer:
        """The lines of the device from now on, stored before they are shown; close it.

        Raises `UnknownDeviceError` and `ConsoleLimitError`.
        """
        return await self._logs.follow(device_id)

    def close_viewers(self) -> None:
        """End all `follow_log`, after the lines that are there."""
        self._logs.close_viewers()
