"""Transcripts of the original CloudSDK, which are text, as recordings. Pure."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from cloudsdk.mqtt.errors import MqttError
from cloudsdk.mqtt.packets import Connect, Packet, Publish, Subscribe, Will, encode
from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.errors import TranscriptError
from sim.traffic.events import Closed, Data, Ended, Event, Opened

STEP: Final = 0.001  # seconds between two lines of a transcript without times
_UNKNOWN: Final[Address] = ("0.0.0.0", 1)  # noqa: S104 - where the device connected is not in a transcript
_SIDES: Final = {"dev>": Direction.UP, "  <br": Direction.DOWN}
#: A note begins at a side, in one place of the recordings in the middle of a line.
_NOTE: Final = re.compile(r"(?:^|(?<='))(dev>|  <br) ", re.MULTILINE)
_MEMBER: Final = re.compile(r"(\w+)=(b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\"|\w+)")
_PLAIN: Final = {"CONNACK": 0x20, "PUBACK": 0x40, "SUBACK": 0x90, "PINGREQ": 0xC0, "PINGRESP": 0xD0}
_FIRST: Final = ("CONNECT", "CONNACK")
_REQUEST: Final = "--- HTTP request\n"
_NOT_A_REQUEST: Final = re.compile(r"--- (?!HTTP request).*\n")
_STEP: Final = re.compile(r"\[ *([0-9]+\.[0-9]+)\] (connection|recv|send|closing|peer closed)(.*)")


def import_mqtt(text: str, connection: int = 1) -> list[Event]:
    """MQTT connections, numbered from `connection`. Raises `TranscriptError`."""
    events: list[Event] = []
    opened: set[Direction] = set()
    late: set[Direction] = set()  # sides of the connection before that have not closed yet
    t = 0.0
    connection -= 1
    _, *notes = _NOTE.split(text)
    for side, note in zip(notes[::2], notes[1::2], strict=True):
        t += STEP
        name, _, rest = note.strip().partition(" ")
        direction = _SIDES[side]
        if name == "closed":
            if direction in late:
                late.discard(direction)
                continue
            opened.discard(direction)
            events.append(Ended(t, connection, Link.MQTT, direction))
            if not opened:
                events.append(Closed(t, connection, Link.MQTT, reset=False))
            continue
        if direction not in opened or (name in _FIRST and Direction.UP not in opened):
            connection += 1
            late, opened = opened, set(Direction)
            events.append(Opened(t, connection, Link.MQTT, _UNKNOWN))
        events.append(Data(t, connection, Link.MQTT, direction, _packet(name, rest)))
    return _some(events, "MQTT")


def import_http(text: str, connection: int = 1) -> list[Event]:
    """Requests, each on a connection of its own; transcripts have no responses. Raises `TranscriptError`."""
    events: list[Event] = []
    requests = _NOT_A_REQUEST.sub("", text).split(_REQUEST)[1:]
    for number, request in enumerate(requests, start=connection):
        data = request.rstrip("\n").replace("\\r\\n\n", "\r\n").replace("\\r\\n", "\r\n").encode()
        t = (number - connection + 1) * STEP
        events += [
            Opened(t, number, Link.HTTP, _UNKNOWN),
            Data(t, number, Link.HTTP, Direction.UP, data),
            Closed(t, number, Link.HTTP, reset=False),
        ]
    return _some(events, "HTTP")


def import_console(text: str, link: Link, connection: int = 1) -> list[Event]:
    """Shell and log connections; times are those of the transcript. Raises `TranscriptError`."""
    return _some(list(_console(text, link, connection - 1)), str(link))


def _console(text: str, link: Link, connection: int) -> Iterator[Event]:
    for line in text.splitlines():
        found = _STEP.fullmatch(line)
        if found is None:
            raise TranscriptError(f"not a line of a {link} transcript: {line[:40]!r}")
        t, step, rest = float(found[1]), found[2], found[3].strip()
        if step == "connection":
            connection += 1
            yield Opened(t, connection, link, _UNKNOWN)
        elif step == "recv":
            data = _bytes(rest.partition(" ")[2].rpartition(" first16=")[0])
            yield Data(t, connection, link, Direction.UP, data)
        elif step == "send":
            data = _bytes(rest) if rest.startswith("b") else rest.encode()
            yield Data(t, connection, link, Direction.DOWN, data)
        elif step == "closing":
            yield Ended(t, connection, link, Direction.DOWN)
        else:
            yield Ended(t, connection, link, Direction.UP)
            yield Closed(t, connection, link, reset=False)


def merge(*parts: list[Event]) -> list[Event]:
    """The events of several transcripts in the order of their times."""
    return sorted((event for part in parts for event in part), key=lambda event: event.t)


def _packet(name: str, rest: str) -> bytes:
    members = dict(_MEMBER.findall(rest))
    try:
        flags = int(members.pop("flags"))
        if name in _PLAIN:
            body = bytes.fromhex(rest.partition(" ")[2])
            return bytes((_PLAIN[name] | flags, len(body))) + body
        return encode(_decoded(name, flags, members))
    except (KeyError, IndexError, ValueError, MqttError) as error:
        raise TranscriptError(f"an MQTT packet that cannot be read: {name}: {error}") from None


def _decoded(name: str, flags: int, members: dict[str, str]) -> Packet:
    match name:
        case "CONNECT":
            will = Will(
                _bytes(members["topic"]).decode(),
                _bytes(members["msg"]),
                int(members["qos"]),
                members["retain"] != "0",
            )
            clean = bool(int(members["connflags"], 16) & 2)
            client, user = (_bytes(members[each]).decode() for each in ("clientid", "user"))
            return Connect(client, clean, int(members["keepalive"]), will, user, _bytes(members["pass"]))
        case "SUBSCRIBE":
            return Subscribe(int(members["mid"]), ((_bytes(members["topic"]).decode(), int(members["qos"])),))
        case "PUBLISH":
            return Publish(
                _bytes(members["topic"]).decode(),
                _bytes(members["payload"]),
                int(members["qos"]),
                bool(flags & 1),
                bool(flags & 8),
                int(members.get("mid", "0"), 16),
            )
    raise ValueError("unknown packet")


def _bytes(text: str) -> bytes:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise TranscriptError(f"not bytes: {text[:40]!r}") from None
    if not isinstance(value, bytes):
        raise TranscriptError(f"not bytes: {text[:40]!r}")
    return value


def _some(events: list[Event], what: str) -> list[Event]:
    if not events:
        raise TranscriptError(f"no {what} traffic in the transcript")
    return events
