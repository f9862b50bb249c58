"""Web Log: the consoles of devices line by line, to the database and to viewers (cloudsdk-protocol 5,
platform 6)."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloudsdk.datapoints import Topics
from sim.cloud.errors import CloudError, ConsoleLimitError
from sim.cloud.gateways.connection import Connection, Receiver
from sim.cloud.gateways.decoders import text_lines
from sim.cloud.gateways.greeting import Key
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.log_control import Action, LogControl, LogState
from sim.cloud.gateways.publisher import Publisher
from sim.cloud.gateways.records import Records
from sim.cloud.logs import LogLine
from sim.cloud.messages import ServerAddress, log_server, log_switch

REFUSED: Final = "log.refused"  # in the audit

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogStatus:
    """`since_ms`: when the state was entered, milliseconds since 1970; None for one that never changed.
    `note` says what the state does not, for people."""

    wanted: bool
    state: LogState
    since_ms: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """`lost`: lines before these that the viewer was too slow for."""

    lines: list[LogLine]
    lost: int


class LogViewer:
    """Iterate over the lines of a device from now on. Only one task may iterate."""

    def __init__(self, limit: int, closed: Callable[["LogViewer"], None]) -> None:
        self._limit = limit
        self._lines: deque[LogLine] = deque(maxlen=limit)
        self._lost = 0
        self._changed = asyncio.Event()
        self._is_closed = False
        self._tell_closed = closed

    def __aiter__(self) -> AsyncIterator[LogBatch]:
        return self

    async def __anext__(self) -> LogBatch:
        while not self._lines:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        batch = LogBatch(list(self._lines), self._lost)
        self._lines.clear()
        self._lost = 0
        return batch

    def show(self, lines: Sequence[LogLine]) -> None:
        self._lost += max(0, len(self._lines) + len(lines) - self._limit)
        self._lines.extend(lines)
        self._changed.set()

    def close(self) -> None:
        """End the iteration, after the lines that are there."""
        if not self._is_closed:
            self._is_closed = True
            self._changed.set()
            self._tell_closed(self)


class _Link:
    """What the cloud knows of one device's log."""

    def __init__(self, topics: Topics, control: LogControl) -> None:
        self.topics = topics
        self.control = control
        self.receiver: _LogReceiver | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.pending: list[LogLine] = []
        self.room = asyncio.Event()
        self.viewers: list[LogViewer] = []
        self.since_ms: int | None = None
        self.note = ""
        self.changed = asyncio.Event()

    @property
    def is_needed(self) -> bool:
        in_use = self.control.wanted or self.control.connected
        return in_use or bool(self.viewers or self.pending or self.note)


class _LogReceiver:
    """The connection a device's log comes on."""

    def __init__(self, logs: "WebLogs", link: _Link, connection: Connection) -> None:
        self.connection = connection
        self._logs = logs
        self._link = link

    async def take(self, data: Sequence[bytes]) -> None:
        await self._logs.received(self._link, data)

    def idle(self) -> None:
        self._logs.went_idle(self._link)

    def closing(self) -> None:
        self._link.room.set()

    def ended(self) -> None:
        self._logs.left(self._link, self)


class WebLogs:
    """The logs of all devices. `address` has to be set before the first is switched on.

    `clock_ms`: milliseconds since 1970.
    """

    def __init__(
        self, records: Records, publisher: Publisher, limits: ConsoleLimits, clock_ms: Callable[[], int]
    ) -> None:
        self.address = ServerAddress("", 0)
        self._records = records
        self._publisher = publisher
        self._limits = limits
        self._clock_ms = clock_ms
        self._online: set[str] = set()
        self._links: dict[str, _Link] = {}
        self._claims: Counter[str] = Counter()  # calls under way that turn a log on
        self._unstored: dict[str, _Link] = {}
        self._has_unstored = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up the switches as they were left."""
        for topics in await self._records.switches():
            control = LogControl(self._limits, online=False, wanted=True)
            self._links[topics.device_id] = _Link(topics, control)
        self._writer = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Store what is there and close all viewers. The connections have ended before."""
        for link in list(self._links.values()):
            if link.timer is not None:
                link.timer.cancel()
        self.close_viewers()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._is_stopping = True
        self._has_unstored.set()
        if self._writer is not None:
            await self._writer

    def close_viewers(self) -> None:
        for link in list(self._links.values()):
            for viewer in list(link.viewers):
                viewer.close()

    def occupies(self, device_id: str) -> bool:
        """Whether the log of the device is on, or about to be."""
        link = self._links.get(device_id)
        in_use = link is not None and (link.control.wanted or link.control.connected)
        return in_use or self._claims[device_id] > 0

    def status(self, device_id: str) -> LogStatus:
        """Of an unknown device: off."""
        link = self._links.get(device_id)
        if link is None:
            return LogStatus(wanted=False, state=LogState.OFF)
        return LogStatus(link.control.wanted, link.control.state, link.since_ms, link.note)

    async def switch(self, device_id: str, *, on: bool) -> LogStatus:
        """Turn the log on or off, now or when the device comes online; the choice outlives the server.

        The caller has made sure that no shell is in the way. Raises `UnknownDeviceError`.
        """
        self._claims[device_id] += on
        try:
            await self._records.set_switch(device_id, self._clock_ms(), on=on)
            link = await self._link(device_id)
            link.note = ""
            self._do(link, lambda control, now: control.switch(now, on=on))
        finally:
            self._claims[device_id] -= on
            self._claims += Counter()  # forgets who has none
        status = self.status(device_id)
        self._drop_unneeded(link)
        return status

    async def settled(self, device_id: str, patience: float) -> LogStatus:
        """The status once the device has done what was asked of it, or after `patience` seconds."""
        link = self._links.get(device_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while link is not None and link.control.state in (LogState.STARTING, LogState.STOPPING):
                    link.changed.clear()
                    await link.changed.wait()
        return self.status(device_id)

    async def follow(self, device_id: str) -> LogViewer:
        """The lines from now on; close it. Raises `UnknownDeviceError` and `ConsoleLimitError`."""
        link = await self._link(device_id)
        if len(link.viewers) >= self._limits.log_viewers:
            raise ConsoleLimitError(
                f"{self._limits.log_viewers} viewers follow the log of the device already: close one"
            )

        def closed(viewer: LogViewer) -> None:
            link.viewers.remove(viewer)
            self._drop_unneeded(link)

        viewer = LogViewer(self._limits.log_viewer_lines, closed)
        link.viewers.append(viewer)
        return viewer

    # What the device reports

    def came_online(self, device_id: str) -> None:
        self._online.add(device_id)
        if (link := self._links.get(device_id)) is not None:
            self._do(link, lambda control, now: control.came_online(now))

    def went_offline(self, device_id: str) -> None:
        self._online.discard(device_id)
        if (link := self._links.get(device_id)) is not None:
            self._do(link, lambda control, _now: control.went_offline())

    def reported(self, device_id: str, *, on: bool) -> None:
        """DP 1021."""
        if (link := self._links.get(device_id)) is not None:
            self._do(link, lambda control, now: control.reported(now, on=on))

    # Doorkeeper

    async def admit(self, key: Key, connection: Connection) -> Receiver | End:
        """Let in the device that was asked for its log."""
        if not self._is_expected(key.device_id):
            return await self._refused(key, End.UNEXPECTED)
        if not await self._records.login(key.device_id, key.password):
            return await self._refused(key, End.BAD_KEY)
        if not self._is_expected(key.device_id):
            return await self._refused(key, End.UNEXPECTED)
        link = self._links[key.device_id]
        before = link.receiver
        link.receiver = _LogReceiver(self, link, connection)
        if before is not None:
            before.connection.finish(End.REPLACED)
        self._do(link, lambda control, now: control.arrived(now))
        return link.receiver

    def _is_expected(self, device_id: str) -> bool:
        link = self._links.get(device_id)
        return link is not None and link.control.expects

    async def _refused(self, key: Key, end: End) -> End:
        await self._records.audit(REFUSED, key.device_id, end)
        return end

    # Called by the connections

    async def received(self, link: _Link, data: Sequence[bytes]) -> None:
        at_ms = self._clock_ms()
        lines = [LogLine(at_ms, text) for each in data for text in text_lines(each, self._limits.log_line)]
        if not lines:
            return
        link.pending += lines
        self._unstored[link.topics.device_id] = link
        self._has_unstored.set()
        while len(link.pending) >= self._limits.log_pending:
            link.room.clear()
            await link.room.wait()

    def went_idle(self, link: _Link) -> None:
        """6.3: the server turns the log off by itself."""
        self._do(link, lambda control, now: control.idle(now))
        if link.control.wanted:
            return
        link.note = f"turned off after {self._limits.log_idle:g} s without data"
        self._start(self._records.set_switch(link.topics.device_id, self._clock_ms(), on=False))

    def left(self, link: _Link, receiver: _LogReceiver) -> None:
        if link.receiver is receiver:
            link.receiver = None
            self._do(link, lambda control, now: control.left(now))
            self._drop_unneeded(link)

    # Carrying out

    async def _link(self, device_id: str) -> _Link:
        if device_id not in self._links:
            topics = await self._records.topics(device_id)
            control = LogControl(self._limits, online=device_id in self._online)
            self._links.setdefault(device_id, _Link(topics, control))
        return self._links[device_id]

    def _do(self, link: _Link, event: Callable[[LogControl, float], list[Action]]) -> None:
        loop = asyncio.get_running_loop()
        before = link.control.state
        for action in event(link.control, loop.time()):
            match action:
                case Action.SWITCH_ON:
                    self._publisher.put(log_switch(link.topics, on=True))
                case Action.SWITCH_OFF:
                    self._publisher.put(log_switch(link.topics, on=False))
                case Action.CALL:
                    self._publisher.put(log_server(link.topics, self.address))
                case Action.CLOSE if link.receiver is not None:
                    link.receiver.connection.finish(End.CLOSED)
        if link.timer is not None:
            link.timer.cancel()
        deadline = link.control.deadline
        link.timer = None if deadline is None else loop.call_at(deadline, self._expired, link)
        if link.control.state is not before:
            link.since_ms = self._clock_ms()
            link.note = _NOTES.get(link.control.state, link.note)
            link.changed.set()

    def _expired(self, link: _Link) -> None:
        self._do(link, lambda control, now: control.expired(now))

    def _drop_unneeded(self, link: _Link) -> None:
        if not link.is_needed and self._links.get(link.topics.device_id) is link:
            del self._links[link.topics.device_id]

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except CloudError as exc:
                _log.error("the log switch of a device was not stored: %s", exc)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self) -> None:
        while not self._is_stopping:
            await self._has_unstored.wait()
            await asyncio.sleep(0 if self._is_stopping else self._limits.log_flush)
            await self._store()

    async def _store(self) -> None:
        """One transaction for all devices. Viewers see lines that cannot be stored as well."""
        links, self._unstored = self._unstored, {}
        self._has_unstored.clear()
        batches = {device_id: link.pending for device_id, link in links.items()}
        for link in links.values():
            link.pending = []
            link.room.set()
        try:
            stored = await self._records.append(batches)
        except Exception as exc:
            is_ours = isinstance(exc, CloudError)
            _log.error("lines of device logs were not stored: %s", exc, exc_info=not is_ours)
            stored = batches
        for device_id, link in links.items():
            for viewer in link.viewers:
                viewer.show(stored.get(device_id, []))
            self._drop_unneeded(link)


_NOTES: Final = {
    LogState.ON: "",
    LogState.STARTING: "",
    LogState.WAITING: "the device is offline",
    LogState.SILENT: "the device does not answer; tried again when it comes online",
    LogState.BLOCKED: "the device does not connect; CloudSDK 2.0.0 is blocked until its next reboot",
}
