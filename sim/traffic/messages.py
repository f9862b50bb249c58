"""What a connection says: MQTT packets, HTTP messages, console lines, log frames. Sans-IO."""

import re
from dataclasses import dataclass
from typing import Final, Protocol

from cloudsdk.activation import DEVICE_ID_LENGTH
from cloudsdk.mqtt.packets import Packet
from cloudsdk.route import Link
from cloudsdk.shell.remote import KEY_SIZE
from sim.faults.network.rules import Direction
from sim.traffic.filters import MqttFramer
from sim.traffic.http1 import Body, Head, HttpFramer, Opaque, Piece

MAX_BODY: Final = 64 << 20  # bytes of an HTTP body that are kept
MAX_LINE: Final = 64 * 1024  # bytes of console text without a line end that are kept together
_FRAME: Final = b"\x01\x00"  # what a Web Log frame begins with (cloudsdk-protocol 5)
_FRAME_HEADER: Final = 4  # bytes, the length included
_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")


@dataclass(frozen=True, slots=True)
class Http:
    """A request or response. A body that was cut, or is longer than `MAX_BODY`, is not `whole`."""

    head: Head
    body: bytes
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a device says first to a shell or log server (cloudsdk-protocol 4, 5)."""

    device_id: str
    password: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a Web Log."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """One line of a console, its end included."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """Bytes that are not what the link is for."""

    data: bytes


Message = Packet | Http | Greeting | Frame | Text | Unknown


class Stream(Protocol):
    """One direction of a connection."""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes."""

    def end(self) -> list[Message]:
        """What is left when the stream ends."""


def stream(link: Link, direction: Direction) -> Stream:
    """The decoder of one direction of a connection."""
    match link, direction:
        case Link.MQTT, _:
            return _MqttStream()
        case Link.HTTP, _:
            return _HttpStream()
        case Link.SHELL, Direction.UP:
            return _ShellStream(greets=True)
        case Link.LOG, Direction.UP:
            return _LogStream()
    return _ShellStream(greets=False)


class _MqttStream:
    def __init__(self) -> None:
        self._framer = MqttFramer()

    def feed(self, data: bytes) -> list[Message]:
        return [Unknown(raw) if packet is None else packet for raw, packet in self._framer.feed(data)]

    def end(self) -> list[Message]:
        rest = self._framer.rest()
        return [Unknown(rest)] if rest else []


class _HttpStream:
    def __init__(self) -> None:
        self._framer = HttpFramer()
        self._head: Head | None = None
        self._body = bytearray()
        self._size = 0  # bytes of the body, kept or not

    def feed(self, data: bytes) -> list[Message]:
        return [each for piece in self._framer.feed(data) for each in self._taken(piece)]

    def end(self) -> list[Message]:
        return [each for piece in self._framer.end() for each in self._taken(piece)]

    def _taken(self, piece: Piece) -> list[Message]:
        match piece:
            case Opaque(data):
                return [Unknown(data)]
            case Head():
                self._head, self._body, self._size = piece, bytearray(), 0
                return []
            case Body(data, last):
                self._size += len(data)
                self._body += data[: MAX_BODY - len(self._body)]
                if not last or self._head is None:
                    return []
                head, self._head = self._head, None
                whole = self._size == len(self._body) and head.length in (None, self._size)
                return [Http(head, bytes(self._body), whole)]


class _ShellStream:
    def __init__(self, *, greets: bool) -> None:
        self._greets = greets
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        self._partial += data
        found: list[Message] = []
        if self._greets:
            if len(self._partial) < KEY_SIZE:
                return []
            found.append(greeting(bytes(self._partial[:KEY_SIZE])))
            del self._partial[:KEY_SIZE]
            self._greets = False
        start = 0
        for end in _LINE_END.finditer(self._partial):
            found.append(Text(bytes(self._partial[start : end.end()])))
            start = end.end()
        del self._partial[:start]
        return found + (self.end() if len(self._partial) > MAX_LINE else [])

    def end(self) -> list[Message]:
        rest = bytes(self._partial)
        self._partial.clear()
        return [Text(rest)] if rest else []


class _LogStream:
    def __init__(self) -> None:
        self._partial = bytearray()
        self._greets = True
        self._is_log = True

    def feed(self, data: bytes) -> list[Message]:
        self._partial += data
        found: list[Message] = []
        while self._is_log and len(self._partial) >= _FRAME_HEADER:
            end = _FRAME_HEADER + int.from_bytes(self._partial[2:_FRAME_HEADER])
            if not self._partial.startswith(_FRAME):
                self._is_log = False
            elif end > len(self._partial):
                break
            else:
                payload = bytes(self._partial[_FRAME_HEADER:end])
                found.append(greeting(payload) if self._greets else Frame(payload))
                self._greets = False
                del self._partial[:end]
        return found if self._is_log else found + self.end()

    def end(self) -> list[Message]:
        rest = bytes(self._partial)
        self._partial.clear()
        return [Unknown(rest)] if rest else []


def greeting(data: bytes) -> Message:
    """What a console server is greeted with; `Unknown` if it is not as long as a key."""
    if len(data) != KEY_SIZE:
        return Unknown(data)
    text = data.decode("latin-1")
    return Greeting(text[:DEVICE_ID_LENGTH], text[DEVICE_ID_LENGTH:])
