"""One direction of a connection: bytes in from one socket, out to the other as the plan has it."""

import asyncio
import fcntl
import random
import struct
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sim.faults.network.rules import Cut, Plan

READ_SIZE: Final = 16 * 1024  # bytes per read
MAX_HELD: Final = 256 * 1024  # bytes under way in one direction; then nothing more is read
PACING: Final = 0.02  # seconds between two sends under a bandwidth
FLUSH_TIMEOUT: Final = 1.0  # seconds in which a peer may take what comes before a reset
_FLUSH_POLL: Final = 0.001  # seconds; the kernel has no event for an empty send queue
_INT: Final = struct.Struct("i")


class PeerResetError(Exception):
    """A side has reset its connection, or does not take any more."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """`data` as it came, None for the end of the stream; `luck` from -1 to 1 picks the jitter."""

    arrived: float
    luck: float
    data: bytes | None
    reset: bool = False  # the end came as RST


class Pipe:
    """`strike` is called when a cut is reached; it returns when that is done. `passed` sees what is sent.

    `plan` and `changed` give what holds now, and an event that is set when that is over.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        plan: Callable[[], Plan],
        changed: Callable[[], asyncio.Event],
        translate: Callable[[bytes], bytes],
        rest: Callable[[], bytes],
        strike: Callable[["Pipe", Cut], None],
        passed: Callable[[bytes], None],
        seed: str,
    ) -> None:
        self.forwarded = 0  # bytes
        self.dead = False  # everything is swallowed, for ever: what was lost cannot be made good
        self._reader = reader
        self._writer = writer
        self._plan = plan
        self._changed = changed
        self._translate = translate
        self._rest = rest
        self._strike = strike
        self._passed = passed
        self._slices = random.Random(f"{seed}:slices")
        self._lucks = random.Random(f"{seed}:jitter")
        self._line: deque[_Piece] = deque()
        self._held = 0
        self._arrived = asyncio.Event()  # something was put on the line
        self._left = asyncio.Event()  # something was taken from it
        writer.transport.set_write_buffer_limits(high=0)

    async def read(self) -> None:
        """Put what arrives on the line until the stream ends."""
        reset = False
        try:
            while data := await self._reader.read(READ_SIZE):
                self._put(self._translate(data))
                while self._held > MAX_HELD:
                    self._left.clear()
                    await self._left.wait()
        except OSError:
            reset = True
        self._put(self._rest())
        self._append(_Piece(self._now(), self._luck(), None, reset))

    async def write(self) -> None:
        """Send what is on the line. Raises `PeerResetError`."""
        try:
            while (piece := await self._next()).data is not None:
                await self._forward(piece.data)
            if self.dead:
                return
            if piece.reset:
                raise PeerResetError
            ended = self._now()
            while (wait := ended + self._plan().slow_close - self._now()) > 0:
                await self._sleep(wait)
            if not self.dead:
                self._writer.write_eof()
        except OSError as error:
            if not self.dead:
                raise PeerResetError from error

    async def flushed(self) -> None:
        """Wait until the peer's kernel has everything that was sent, at most `FLUSH_TIMEOUT`."""
        own = self._writer.get_extra_info("socket")
        end = self._now() + FLUSH_TIMEOUT
        while self._now() < end and not self._writer.is_closing():
            unsent = _INT.unpack(fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
            if not unsent and not self._writer.transport.get_write_buffer_size():
                return
            await asyncio.sleep(_FLUSH_POLL)

    # --- the line -----------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        if data:
            self._append(_Piece(self._now(), self._luck(), data))

    def _append(self, piece: _Piece) -> None:
        self._line.append(piece)
        self._held += len(piece.data or b"")
        self._arrived.set()

    async def _next(self) -> _Piece:
        """The next piece, when its delay is over. Cuts that a new plan brings strike meanwhile."""
        while True:
            self._strike_due()
            if self._line:
                piece, plan = self._line[0], self._plan()
                wait = piece.arrived + max(0.0, plan.latency + plan.jitter * piece.luck) - self._now()
                if wait <= 0 or self.dead:
                    self._line.popleft()
                    self._held -= len(piece.data or b"")
                    self._left.set()
                    return piece
                await _within(self._changed(), wait)
            else:
                await self._something()

    async def _something(self) -> None:
        """Until there is a piece, or another plan."""
        self._arrived.clear()
        waits = [asyncio.ensure_future(each.wait()) for each in (self._arrived, self._changed())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    # --- forwarding ---------------------------------------------------------------------------------

    async def _forward(self, data: bytes) -> None:
        start = 0
        while start < len(data) and not self.dead:
            plan = self._plan()
            size = len(data) - start
            if plan.cuts:
                size = min(size, plan.cuts[0].at - self.forwarded)
            if plan.bandwidth:
                size = min(size, max(1, int(plan.bandwidth * PACING)))
            if plan.slice is not None:
                size = min(size, plan.slice.draw(self._slices))
            if size > 0:
                sent = data[start : start + size]
                self._passed(sent)
                self._writer.write(sent)
                await self._writer.drain()
                start += size
                self.forwarded += size
            self._strike_due()
            if plan.bandwidth:
                await self._sleep(size / plan.bandwidth)
            if plan.slice is not None:
                await self._sleep(plan.pause)

    def _strike_due(self) -> None:
        cuts = self._plan().cuts
        if cuts and cuts[0].at <= self.forwarded and not self.dead:
            self.dead = True
            self._strike(self, cuts[0])

    async def _sleep(self, seconds: float) -> None:
        """Until time is up or the plan changes; 0 lets others run."""
        if seconds > 0:
            await _within(self._changed(), seconds)
        else:
            await asyncio.sleep(0)

    def _luck(self) -> float:
        return self._lucks.uniform(-1, 1)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
