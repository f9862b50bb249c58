"""One side of a recording played against the live other side."""

import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cloudsdk.mqtt.packets import PingReq, PingResp, PubAck, PubComp, PubRec, PubRel, encode
from cloudsdk.route import Address, Link
from cloudsdk.shell.remote import KEY_SIZE
from sim.faults.network.rules import Direction
from sim.traffic.bindings import WORD, Bindings, Identity, ends_in_word, framed, meaning, pattern
from sim.traffic.errors import DeviationError
from sim.traffic.fields import Placeholders, fields_of, kind_of
from sim.traffic.messages import Greeting, Message, Text, greeting, stream
from sim.traffic.script import Closes, Connects, Ends, Says, Step, says_text

TIMEOUT: Final = 30.0  # seconds until something that does not come is a deviation
LINGER: Final = 1.0  # seconds a side may take to close after us
MAX_CONNECTIONS: Final = 100  # to one place that nobody has asked for yet
MAX_WAITING: Final = 10_000  # messages of one connection that nobody has asked for yet
MAX_CONSOLE: Final = 1 << 20  # bytes of console output, likewise
MAX_SHOWN: Final = 300  # characters of a message in a deviation
_READ: Final = 16 * 1024  # bytes
_LOCAL: Final = "127.0.0.1"
_NO_MORE: Final = "the end of the connection"
_ACKNOWLEDGEMENTS: Final = (PubAck, PubRec, PubRel, PubComp)

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class _Line:
    """One live connection: what has come and was not asked for yet."""

    link: Link
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str  # what requests name as theirs
    messages: deque[Message] = field(default_factory=deque)
    acknowledgements: deque[Message] = field(default_factory=deque)
    console: bytearray = field(default_factory=bytearray)
    in_word: bool = False  # what was matched on the console last ends in a word that may be another
    ended: bool = False
    came: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] = field(init=False)


class Replay:
    """Plays `ours`: UP is the device, DOWN the cloud. `pace` keeps the recorded pauses before what is sent.

    What the live side says must mean what was recorded. Identifiers, tokens, addresses and times may be
    others, and so may words with digits on a console. `run` raises `DeviationError` where that ends.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        ours: Direction,
        *,
        identity: Identity | None = None,
        timeout: float = TIMEOUT,
        pace: bool = False,
    ) -> None:
        self._steps = steps
        self._ours = ours
        self._theirs = Direction.UP if ours is Direction.DOWN else Direction.DOWN
        self._timeout = timeout
        self._pace = pace
        is_cloud = ours is Direction.DOWN
        self._bindings = Bindings(identity, self._led if is_cloud else None)
        self._recorded, self._live = Placeholders(), Placeholders()
        self._lines: dict[int, _Line] = {}
        self._targets: dict[Link, Address] = {}
        self._servers: dict[tuple[Link, Address], asyncio.Server] = {}
        self._accepted: dict[tuple[Link, Address], asyncio.Queue[_Streams]] = {}
        self.matched = 0  # messages of the live side

    async def listen(self, host: str = _LOCAL, ports: dict[Link, int] | None = None) -> dict[Link, Address]:
        """As the cloud: a place for each the recorded device connected to; returns the first of each link.

        Raises `OSError` for a port that is in use.
        """
        wanted = dict(ports or {})
        first: dict[Link, Address] = {}
        for step in self._steps:
            if not isinstance(step, Connects) or (step.link, step.to) in self._servers:
                continue
            key = (step.link, step.to)
            queue: asyncio.Queue[_Streams] = asyncio.Queue(MAX_CONNECTIONS)
            self._accepted[key] = queue

            def accept(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                queue: asyncio.Queue[_Streams] = queue,
            ) -> None:
                if queue.full():
                    writer.close()
                else:
                    queue.put_nowait((reader, writer))

            self._servers[key] = await asyncio.start_server(accept, host, wanted.pop(step.link, 0))
            first.setdefault(step.link, self._served(key))
        return first

    def connect_to(self, link: Link, address: Address) -> None:
        """As the device: where connections go that the cloud names no address for."""
        self._targets[link] = address

    async def run(self) -> None:
        """Play all of it. Raises `DeviationError`."""
        before = 0.0
        try:
            for step in self._steps:
                if self._pace and isinstance(step, Says) and step.direction is self._ours:
                    await asyncio.sleep(step.t - before)
                before = step.t
                await self._play(step)
            for connection, line in self._lines.items():
                if line.messages:
                    raise _deviation(connection, line.link, "nothing more", _shown(line.messages[0]))
        finally:
            await self.close()

    async def close(self) -> None:
        """Close everything: a FIN, then what still comes is read, since closing over it would be a reset."""
        for server in self._servers.values():
            server.close()
        await asyncio.gather(*map(self._hang_up, self._lines.values()))
        for queue in self._accepted.values():
            while not queue.empty():
                queue.get_nowait()[1].close()

    async def _play(self, step: Step) -> None:
        match step:
            case Connects():
                line = await (self._dial(step) if self._ours is Direction.UP else self._answer(step))
                line.task = asyncio.create_task(self._read(line))
                self._lines[step.connection] = line
            case Says(direction=self._ours):
                await self._send(step)
            case Says():
                await self._expect(step)
            case Ends(direction=self._ours):
                with contextlib.suppress(OSError):
                    self._lines[step.connection].writer.write_eof()
            case Ends():
                line = self._lines[step.connection]
                if not await self._until(line, lambda: line.ended):
                    raise _deviation(step.connection, step.link, _NO_MORE, "nothing")
            case Closes():
                await self._hang_up(self._lines[step.connection])

    # --- connections --------------------------------------------------------------------------------

    async def _dial(self, step: Connects) -> _Line:
        target = self._bindings.address(step.link, step.to) or self._targets.get(step.link)
        if target is None:
            raise _deviation(step.connection, step.link, "an address from the cloud", "none")
        host, port = target
        try:
            async with asyncio.timeout(self._timeout):
                return _Line(step.link, *await asyncio.open_connection(host, port), host)
        except OSError as error:
            wanted = f"a connection to {host}:{port}"
            raise _deviation(step.connection, step.link, wanted, error.strerror or "none") from None

    async def _answer(self, step: Connects) -> _Line:
        try:
            async with asyncio.timeout(self._timeout):
                return _Line(step.link, *await self._accepted[step.link, step.to].get(), _LOCAL)
        except TimeoutError:
            raise _deviation(step.connection, step.link, "a connection", "none") from None

    def _served(self, key: tuple[Link, Address]) -> Address:
        host, port = self._servers[key].sockets[0].getsockname()[:2]
        return host, port

    def _led(self, link: Link, host: str, port: int) -> Address | None:
        key = (link, (host, port))
        return self._served(key) if key in self._servers else None

    @staticmethod
    async def _hang_up(line: _Line) -> None:
        with contextlib.suppress(OSError):
            line.writer.write_eof()
        await asyncio.wait({line.task}, timeout=LINGER)
        line.task.cancel()
        await asyncio.gather(line.task, return_exceptions=True)
        line.writer.close()

    async def _read(self, line: _Line) -> None:
        decoder = stream(line.link, self._theirs)
        is_console = says_text(line.link, self._theirs)
        greeted = KEY_SIZE if line.link is Link.SHELL and self._theirs is Direction.UP else 0
        begun = b""  # of the greeting
        with contextlib.suppress(OSError):
            while data := await line.reader.read(_READ):
                if greeted:
                    begun += data
                    if len(begun) < greeted:
                        continue
                    line.messages.append(greeting(begun[:greeted]))
                    data, greeted = begun[greeted:], 0
                if is_console:
                    line.console += data
                else:
                    for message in decoder.feed(data):
                        self._arrived(line, message)
                line.came.set()
                if len(line.messages) > MAX_WAITING or len(line.console) > MAX_CONSOLE:
                    break
        for message in decoder.end():
            self._arrived(line, message)
        line.ended = True
        line.came.set()

    @staticmethod
    def _arrived(line: _Line, message: Message) -> None:
        match message:
            case PingReq():
                line.writer.write(encode(PingResp()))
            case PingResp():
                pass
            case PubAck() | PubRec() | PubRel() | PubComp():
                line.acknowledgements.append(message)
            case _:
                line.messages.append(message)

    # --- messages -----------------------------------------------------------------------------------

    async def _send(self, step: Says) -> None:
        line = self._lines[step.connection]
        data = self._bindings.outgoing(step.connection, step.message, line.host)
        if step.link is Link.LOG and isinstance(step.message, Greeting):
            data = framed(data)
        line.writer.write(data)
        try:
            async with asyncio.timeout(self._timeout):
                await line.writer.drain()
        except OSError:
            kind = kind_of(step.message)
            raise _deviation(
                step.connection, step.link, f"to take {kind}", "the end of the connection"
            ) from None

    async def _expect(self, step: Says) -> None:
        line = self._lines[step.connection]
        if isinstance(step.message, Text):
            await self._expect_text(step, line, step.message.data)
            return
        is_acknowledgement = isinstance(step.message, _ACKNOWLEDGEMENTS)
        queue = line.acknowledgements if is_acknowledgement else line.messages
        found = await self._until(line, lambda: bool(queue), ends=True)
        if not found or not queue:
            came = _NO_MORE if line.ended else "nothing"
            raise _deviation(step.connection, step.link, _shown(step.message), came)
        live = queue.popleft()
        if meaning(step.message, self._recorded) != meaning(live, self._live):
            raise _deviation(step.connection, step.link, _shown(step.message), _shown(live))
        self._bindings.learn(step.connection, step.message, live)
        self.matched += 1

    async def _expect_text(self, step: Says, line: _Line, wanted: bytes) -> None:
        # A word that may be another may have come in part when its beginning was matched.
        expression = re.compile((WORD + b"*?" if line.in_word else b"") + pattern(wanted))
        found: re.Match[bytes] | None = None

        def matches() -> bool:
            nonlocal found
            found = expression.match(line.console)
            return found is not None

        if not await self._until(line, matches, ends=True) or found is None:
            came = bytes(line.console[: len(wanted) or 1]) or b"nothing"
            raise _deviation(step.connection, step.link, repr(wanted)[1:], repr(came)[1:])
        del line.console[: found.end()]
        line.in_word = ends_in_word(wanted)
        self.matched += 1

    async def _until(self, line: _Line, condition: Callable[[], bool], *, ends: bool = False) -> bool:
        """Wait for `condition`, not longer than the timeout, with `ends` not beyond the end of the stream."""
        try:
            async with asyncio.timeout(self._timeout):
                while not condition():
                    if ends and line.ended:
                        return False
                    line.came.clear()
                    await line.came.wait()
        except TimeoutError:
            return False
        return True


def _shown(message: Message) -> str:
    fields = fields_of(message, Placeholders())
    text = f"{fields.pop('message')} {json.dumps(fields)}"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _deviation(connection: int, link: Link, expected: str, found: str) -> DeviationError:
    return DeviationError(
        f"{link} connection {connection} of the recording: expected {expected}, found {found}"
    )
