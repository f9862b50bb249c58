"""One proxied connection: two pipes, and the way it ends."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from cloudsdk.route import Link
from sim.faults.network.duplicate import Duplicator
from sim.faults.network.events import ProxyEvent, Struck
from sim.faults.network.pipe import READ_SIZE, PeerResetError, Pipe
from sim.faults.network.rules import Cut, Direction, Draw, Ending, FaultSet, Plan, draw

LINGER: Final = 1.0  # seconds in which a closed side may answer with its own FIN
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

#: Link, number of the connection on it, direction, and what goes on to the other side.
DataObserver = Callable[[Link | None, int, Direction, bytes], None]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Translator(Protocol):
    """What the bytes of a connection become on their way."""

    def feed(self, direction: Direction, data: bytes) -> bytes:
        """What to deliver for `data`; the rest of it is held back."""

    def rest(self, direction: Direction) -> bytes:
        """What is held back when the stream ends."""


class Connection:
    """Between `device` and `cloud`, streams that are connected.

    A `translator` of the caller takes the place of the duplicator, and no reset comes from here but
    a peer's own.
    """

    def __init__(
        self,
        link: Link | None,
        number: int,
        faults: FaultSet,
        device: _Streams,
        cloud: _Streams,
        tell: Callable[[ProxyEvent], None],
        on_data: DataObserver | None = None,
        translator: Translator | None = None,
    ) -> None:
        self.link = link
        self.number = number
        self.drawn: Draw = draw(faults, link, number)
        self._tell = tell
        self._on_data = on_data
        self._writers = (device[1], cloud[1])
        self._readers = (device[0], cloud[0])
        self._changed = asyncio.Event()
        self._end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # True: by RST
        self._ending: asyncio.Task[None] | None = None
        self._resets = translator is None
        if translator is None:
            translator = Duplicator(lambda direction: self._plan(direction).duplicate)
        self._pipes = {
            direction: self._pipe(direction, reader, writer, translator, f"{faults.seed}:{link}:{number}")
            for direction, reader, writer in (
                (Direction.UP, device[0], cloud[1]),
                (Direction.DOWN, cloud[0], device[1]),
            )
        }

    @property
    def up(self) -> int:
        """Bytes forwarded to the cloud."""
        return self._pipes[Direction.UP].forwarded

    @property
    def down(self) -> int:
        return self._pipes[Direction.DOWN].forwarded

    def set(self, faults: FaultSet) -> None:
        """Draw again, from other rules. What has ended stays ended."""
        self.drawn = draw(faults, self.link, self.number)
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> bool:
        """Until it is over; returns whether it ended with RST. Cancelled, it aborts both sides; with a
        translator it closes them."""
        tasks = [
            asyncio.create_task(work) for pipe in self._pipes.values() for work in (pipe.read(), pipe.write())
        ]
        streams = asyncio.gather(*tasks)
        reset = cancelled = True
        try:
            ends: set[asyncio.Future[Any]] = {streams, self._end}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            reset = self._end.result() if self._end.done() else await self._both_ended(streams)
            cancelled = False
        finally:
            for task in (*tasks, *filter(None, (self._ending,))):
                task.cancel()
            await asyncio.gather(streams, *tasks, return_exceptions=True)
            if cancelled and not self._resets:
                for writer in self._writers:
                    writer.close()
            elif reset:
                self._abort()
        if not reset:
            await self._close()
        return reset

    @staticmethod
    async def _both_ended(streams: "asyncio.Future[list[None]]") -> bool:
        try:
            await streams
        except PeerResetError:
            return True
        return False

    # --- plans --------------------------------------------------------------------------------------

    def _pipe(
        self,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        translator: Translator,
        seed: str,
    ) -> Pipe:
        return Pipe(
            reader,
            writer,
            plan=lambda: self._plan(direction),
            changed=lambda: self._changed,
            translate=lambda data: translator.feed(direction, data),
            rest=lambda: translator.rest(direction),
            strike=lambda _pipe, cut: self._strike(direction, cut),
            passed=lambda data: self._passed(direction, data),
            seed=f"{seed}:{direction}",
        )

    def _passed(self, direction: Direction, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(self.link, self.number, direction, data)

    def _plan(self, direction: Direction) -> Plan:
        return self.drawn.up if direction is Direction.UP else self.drawn.down

    def _strike(self, direction: Direction, cut: Cut) -> None:
        pipe = self._pipes[direction]
        self._tell(Struck(self.link, self.number, cut.kind, direction, pipe.forwarded))
        if cut.whole:
            for each in self._pipes.values():
                each.dead = True
        if cut.kind is not Ending.HALF_OPEN and self._ending is None:
            self._ending = asyncio.create_task(self._finish(pipe, cut))

    async def _finish(self, pipe: Pipe, cut: Cut) -> None:
        if cut.kind is Ending.TIMEOUT:
            await asyncio.sleep(cut.seconds)
        else:
            await pipe.flushed()
        if not self._end.done():
            self._end.set_result(cut.kind is Ending.RESET)

    # --- the end ------------------------------------------------------------------------------------

    async def _close(self) -> None:
        """FIN to both; what they still send is read, since closing over it would be a reset."""
        try:
            async with asyncio.timeout(LINGER):
                for writer in self._writers:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                await asyncio.gather(*map(_drain, self._readers))
        except TimeoutError:
            pass
        finally:
            for writer in self._writers:
                writer.transport.abort()

    def _abort(self) -> None:
        for writer in self._writers:
            abort(writer)


async def _drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(READ_SIZE):
            pass


def abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
