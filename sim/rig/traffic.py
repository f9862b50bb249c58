"""What passes between a device and its cloud, as lines: HTTP heads, MQTT packets, sizes and times."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import h11

from cloudsdk.mqtt import packets as mqtt
from cloudsdk.mqtt.errors import MqttError
from cloudsdk.route import Link
from sim.faults.network import Closed, Direction, Opened, ProxyEvent, Refused, Struck
from sim.rig.secrets import MASK, Secrets

MAX_LINES: Final = 20_000  # kept of one device; then the oldest go
MAX_PAYLOAD: Final = 8192  # characters shown of one MQTT message
MAX_PACKET: Final = 1024 * 1024  # bytes of one MQTT packet
_ARROWS: Final = {Direction.UP: "->", Direction.DOWN: "<-"}
_HIDDEN: Final = frozenset({b"authorization", b"cookie", b"set-cookie", b"proxy-authorization"})


class Reader(Protocol):
    """Reads both directions of one connection; returns lines with an arrow for what became complete."""

    def feed(self, direction: Direction, data: bytes) -> list[str]: ...

    def end(self) -> list[str]:
        """The connection is over."""
        ...


class TrafficLog:
    """The traffic of one device. Written by the thread of a proxy, read by any other."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._start = time.monotonic()
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._lock = threading.Lock()
        self._readers: dict[tuple[Link | None, int], Reader] = {}

    def event(self, event: ProxyEvent) -> None:
        """For `FaultProxy.on_event`."""
        key = event.link, event.connection
        match event:
            case Opened(faults=faults):
                self._readers[key] = _READERS.get(event.link, _SizeReader)(self._secrets)
                self._add(key, f"open {' '.join(faults)}".rstrip())
            case Refused(reason=reason):
                self._add(key, f"refused: {reason}")
            case Struck(fault=fault, direction=direction, at=at):
                self._add(key, f"fault {fault} after {at} bytes {direction}")
            case Closed(up=up, down=down, reset=reset):
                reader = self._readers.pop(key, None)
                for line in reader.end() if reader is not None else []:
                    self._add(key, line)
                how = "reset" if reset else "closed"
                self._add(key, f"{how} after {up} bytes up, {down} bytes down")

    def data(self, link: Link | None, number: int, direction: Direction, data: bytes) -> None:
        """For `FaultProxy.on_data`."""
        reader = self._readers.get((link, number))
        if reader is not None:
            for line in reader.feed(direction, data):
                self._add((link, number), line)

    @property
    def text(self) -> str:
        """All lines, without secrets."""
        with self._lock:
            lines = list(self._lines)
        return self._secrets.mask("".join(f"{line}\n" for line in lines))

    def _add(self, key: tuple[Link | None, int], text: str) -> None:
        link, number = key
        head = f"{time.monotonic() - self._start:9.3f} {link or 'any':<5} {number:>3} "
        with self._lock:
            self._lines.extend(head + line for line in text.splitlines())


class _HttpReader:
    """Two state machines face to face: what one has read, the other has sent."""

    def __init__(self, _secrets: Secrets) -> None:
        self._server = h11.Connection(h11.SERVER)
        self._client = h11.Connection(h11.CLIENT)
        self._sizes = dict.fromkeys(Direction, 0)
        self._broken = False

    def feed(self, direction: Direction, data: bytes) -> list[str]:
        if self._broken:
            return []
        lines: list[str] = []
        try:
            self._reader(direction).receive_data(data)
            while (line := self._step(direction)) is not None:
                lines += [f"{_ARROWS[direction]} {each}" for each in line.splitlines()]
        except h11.ProtocolError as error:
            self._broken = True
            lines.append(f"{_ARROWS[direction]} not HTTP: {error}")
        return lines

    def end(self) -> list[str]:
        return [
            f"{_ARROWS[direction]} body of {size} bytes, incomplete"
            for direction, size in self._sizes.items()
            if size
        ]

    def _reader(self, direction: Direction) -> h11.Connection:
        return self._server if direction is Direction.UP else self._client

    def _step(self, direction: Direction) -> str | None:
        """Take one event; None when more data is needed."""
        reader = self._reader(direction)
        event = reader.next_event()
        if isinstance(event, h11.ConnectionClosed) or event in (h11.NEED_DATA, h11.PAUSED):
            return None
        (self._client if reader is self._server else self._server).send(event)  # type: ignore[arg-type]
        match event:
            case h11.Request():
                return _head(f"{event.method.decode()} {event.target.decode('latin-1')}", event)
            case h11.Response() | h11.InformationalResponse():
                return _head(f"{event.status_code} {event.reason.decode('latin-1')}", event)
            case h11.Data():
                self._sizes[direction] += len(event.data)
                return ""
        size, self._sizes[direction] = self._sizes[direction], 0
        if self._client.our_state is h11.DONE and self._client.their_state is h11.DONE:
            self._server.start_next_cycle()
            self._client.start_next_cycle()
        return f"body of {size} bytes" if size else ""


def _head(first: str, event: "h11.Request | h11.Response | h11.InformationalResponse") -> str:
    fields = [
        f"  {name.decode('latin-1')}: " + (MASK if name.lower() in _HIDDEN else value.decode("latin-1"))
        for name, value in event.headers.raw_items()
    ]
    return "\n".join([first, *fields])


class _MqttReader:
    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._decoders = {direction: mqtt.Decoder(MAX_PACKET) for direction in Direction}
        self._broken: set[Direction] = set()

    def feed(self, direction: Direction, data: bytes) -> list[str]:
        if direction in self._broken:
            return []
        try:
            found = self._decoders[direction].feed(data)
        except MqttError as error:
            self._broken.add(direction)
            return [f"{_ARROWS[direction]} not MQTT: {error}"]
        return [f"{_ARROWS[direction]} {self._line(packet)}" for packet in found]

    def end(self) -> list[str]:
        return []

    def _line(self, packet: mqtt.Packet) -> str:
        name = type(packet).__name__.upper()
        match packet:
            case mqtt.Connect():
                if packet.password is not None:
                    self._secrets.add(packet.password.decode("latin-1"))
                will = f" will={packet.will.topic}" if packet.will is not None else ""
                return (
                    f"{name} client={packet.client_id} user={packet.username} "
                    f"keepalive={packet.keepalive} s{will}"
                )
            case mqtt.ConnAck():
                return f"{name} {packet.return_code.name.lower()}"
            case mqtt.Publish():
                return f"{name} {packet.topic} qos={packet.qos} {_payload(packet.payload)}"
            case mqtt.Subscribe():
                return f"{name} {' '.join(topic for topic, _ in packet.filters)}"
        return name


def _payload(payload: bytes) -> str:
    text = payload.decode("utf-8", "backslashreplace")
    shown = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text[:MAX_PAYLOAD])
    return shown if len(text) <= MAX_PAYLOAD else f"{shown}... ({len(payload)} bytes)"


class _SizeReader:
    """For what is not decoded: consoles (they hold a key) and unknown links."""

    def __init__(self, _secrets: Secrets) -> None:
        pass

    def feed(self, direction: Direction, data: bytes) -> list[str]:
        return [f"{_ARROWS[direction]} {len(data)} bytes"]

    def end(self) -> list[str]:
        return []


_READERS: Final[dict[Link | None, Callable[[Secrets], Reader]]] = {
    Link.HTTP: _HttpReader,
    Link.MQTT: _MqttReader,
}
