"""Web Shell: a device's console for one viewer (cloudsdk-protocol 4, platform 5)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

from sim.cloud.errors import (
    ConsoleLimitError,
    DeviceBusyError,
    DeviceOfflineError,
    ShellEndedError,
    ShellTimeoutError,
)
from sim.cloud.gateways.connection import Connection, Receiver
from sim.cloud.gateways.greeting import Key
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.publisher import Publisher
from sim.cloud.gateways.records import Records
from sim.cloud.messages import ServerAddress, shell_server

REFUSED: Final = "shell.refused"  # in the audit

_log = logging.getLogger(__name__)


class ShellSession:
    """An open shell: iterate over what the device prints, `send` what is typed.

    Only one task may iterate. What is kept for it is bounded; while that is full, the device waits.
    """

    def __init__(
        self, device_id: str, connection: Connection, limits: ConsoleLimits, over: Callable[[], None]
    ) -> None:
        self.device_id = device_id
        self._connection = connection
        self._limits = limits
        self._tell_over = over
        self._output = bytearray()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def end(self) -> End | None:
        """Why it has ended, or is about to."""
        return self._connection.intake.end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """All that the device has printed since; a terminal shows it as it is (CR LF, ANSI sequences)."""
        while not self._output:
            if self.end is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        output = bytes(self._output)
        self._output.clear()
        self._room.set()
        return output

    async def send(self, data: bytes) -> None:
        """Type `data`; waits while the device takes nothing. The device does not echo it, and each CR and
        each LF ends a command. Raises `ShellEndedError`."""
        if not await self._connection.send(data):
            raise ShellEndedError("the shell has ended: open another one")

    async def close(self) -> None:
        """End the shell, what was typed before included. Returns when the device has closed as well, or
        after `ConsoleLimits.close_patience`; the gateway goes on without the caller."""
        self.hang_up()
        try:
            async with asyncio.timeout(self._limits.close_patience):
                await self._over.wait()
        except TimeoutError:
            _log.info("the shell of device %s ends without its viewer", self.device_id)

    def hang_up(self) -> None:
        """As `close`, without waiting."""
        self._output.clear()
        self._connection.finish(End.CLOSED)

    async def wait_ended(self) -> None:
        """Until both sides have closed."""
        await self._over.wait()

    # Receiver

    async def take(self, data: Sequence[bytes]) -> None:
        for piece in data:
            self._output += piece
        self._changed.set()
        if len(self._output) >= self._limits.shell_output:
            await self._wait_for_viewer()

    async def _wait_for_viewer(self) -> None:
        loop = asyncio.get_running_loop()
        stall = loop.call_later(self._limits.shell_stall, self._connection.finish, End.STALLED)
        try:
            while len(self._output) >= self._limits.shell_output and self.end is None:
                self._room.clear()
                await self._room.wait()
        finally:
            stall.cancel()

    def idle(self) -> None:
        self._connection.finish(End.IDLE)

    def closing(self) -> None:
        self._changed.set()
        self._room.set()

    def ended(self) -> None:
        self._over.set()
        self._tell_over()


class _Slot:
    """A device whose shell is open or may be about to open."""

    def __init__(self, waiter: "asyncio.Future[ShellSession]") -> None:
        self.waiter = waiter  # done: nobody waits
        self.asked = False  # 1025 is out
        self.connected = False


class Shells:
    """The shells of all devices. `address` has to be set before the first is opened."""

    def __init__(self, records: Records, publisher: Publisher, limits: ConsoleLimits) -> None:
        self.address = ServerAddress("", 0)
        self._records = records
        self._publisher = publisher
        self._limits = limits
        self._online: set[str] = set()
        self._slots: dict[str, _Slot] = {}

    def occupies(self, device_id: str) -> bool:
        """Whether the device has a shell, or may be about to."""
        return device_id in self._slots

    async def open(self, device_id: str) -> ShellSession:
        """Ask the device for its shell and wait for it.

        The caller has made sure that no log is in the way. Raises `UnknownDeviceError`,
        `DeviceOfflineError`, `DeviceBusyError`, `ConsoleLimitError` and `ShellTimeoutError`.
        """
        if device_id in self._slots:
            raise DeviceBusyError(
                "the shell of the device is in use, or it was asked for it a moment ago: try again later"
            )
        if len(self._slots) >= self._limits.shells:
            raise ConsoleLimitError(f"{self._limits.shells} shells are open already: close one")
        loop = asyncio.get_running_loop()
        slot = self._slots[device_id] = _Slot(loop.create_future())
        try:
            topics = await self._records.topics(device_id)
            if device_id not in self._online:
                raise DeviceOfflineError("the device is offline: a shell needs it online")
        except BaseException:
            self._free(device_id, slot)
            raise
        slot.asked = True
        loop.call_later(self._limits.shell_settle, self._settled, device_id, slot)
        self._publisher.put(shell_server(topics, self.address))
        try:
            async with asyncio.timeout(self._limits.shell_connect):
                return await slot.waiter
        except (TimeoutError, asyncio.CancelledError) as exc:
            if not slot.waiter.cancelled() and slot.waiter.exception() is None:
                slot.waiter.result().hang_up()  # it came at the last moment
            if isinstance(exc, asyncio.CancelledError):
                raise
            raise ShellTimeoutError(
                f"the device was asked for its shell and did not connect to {self.address}: "
                "check that it reaches this address"
            ) from None

    def came_online(self, device_id: str) -> None:
        self._online.add(device_id)

    def went_offline(self, device_id: str) -> None:
        self._online.discard(device_id)
        slot = self._slots.get(device_id)
        if slot is not None and slot.asked and not slot.waiter.done():
            slot.waiter.set_exception(
                DeviceOfflineError("the device went offline before it opened its shell")
            )

    def _free(self, device_id: str, slot: _Slot) -> None:
        if self._slots.get(device_id) is slot:
            del self._slots[device_id]

    def _settled(self, device_id: str, slot: _Slot) -> None:
        """A device that has not connected by now will not do so any more."""
        if not slot.connected:
            self._free(device_id, slot)

    # Doorkeeper

    async def admit(self, key: Key, connection: Connection) -> Receiver | End:
        """Let in the device that was asked for a shell and has none yet."""
        if not self._is_expected(key.device_id):
            return await self._refused(key, End.UNEXPECTED)
        if not await self._records.login(key.device_id, key.password):
            return await self._refused(key, End.BAD_KEY)
        if not self._is_expected(key.device_id):
            return await self._refused(key, End.UNEXPECTED)
        slot = self._slots[key.device_id]
        slot.connected = True
        over = partial(self._free, key.device_id, slot)
        session = ShellSession(key.device_id, connection, self._limits, over)
        if slot.waiter.done():
            connection.finish(End.LATE)
        else:
            slot.waiter.set_result(session)
        return session

    def _is_expected(self, device_id: str) -> bool:
        slot = self._slots.get(device_id)
        return slot is not None and slot.asked and not slot.connected

    async def _refused(self, key: Key, end: End) -> End:
        await self._records.audit(REFUSED, key.device_id, end)
        return end
