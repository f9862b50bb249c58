"""What a recording holds: a header, then events, one JSON object a line. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.errors import RecordingError

FORMAT: Final = "cloudsim-traffic"
VERSION: Final = 1
MAX_PORT: Final = 65535
MAX_CONNECTION: Final = 2**31 - 1
MAX_SECONDS: Final = 1e10  # of a time; until the year 2286
_BINARY: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)  # ESC is text: consoles have colours


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. `started` is seconds since 1970; times of events count from it."""

    started: float
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection was made. `t` in seconds; `connection` is unique in the recording."""

    t: float
    connection: int
    link: Link
    to: Address  # what the device wanted to reach


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of one side, as it sent them; up is from the device."""

    t: float
    connection: int
    link: Link
    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """One side sends no more."""

    t: float
    connection: int
    link: Link
    direction: Direction


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over; `reset` if a side ended it with RST."""

    t: float
    connection: int
    link: Link
    reset: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The device connected, and the other side could not be reached."""

    t: float
    connection: int
    link: Link
    reason: str


Event = Opened | Data | Ended | Closed | Refused


def header_line(header: Header) -> bytes:
    """The first line of a recording."""
    return _line(
        {"format": FORMAT, "version": VERSION, "started": round(header.started, 6), "masked": header.masked}
    )


def event_line(event: Event) -> bytes:
    """One line. Bytes that are text are `text`, others `base64`."""
    fields: dict[str, Any] = {
        "t": round(event.t, 6),
        "connection": event.connection,
        "link": str(event.link),
        "event": type(event).__name__.lower(),
    }
    match event:
        case Opened(to=(host, port)):
            fields |= {"host": host, "port": port}
        case Data(direction=direction, data=data):
            fields |= {"direction": str(direction), **_payload(data)}
        case Ended(direction=direction):
            fields["direction"] = str(direction)
        case Closed(reset=reset):
            fields["reset"] = reset
        case Refused(reason=reason):
            fields["reason"] = reason
    return _line(fields)


def parse_header(line: bytes) -> Header:
    """Raises `RecordingError` for another format or version."""
    fields = _object(line)
    if fields.get("format") != FORMAT:
        raise RecordingError("not a recording: it does not begin with the header of one")
    if fields.get("version") != VERSION:
        raise RecordingError(f"a recording of version {fields.get('version')!r}, where {VERSION} is known")
    started = _number(fields, "started")
    if started is None:
        raise RecordingError("the header has no time")
    return Header(started, fields.get("masked") is True)


def parse_event(line: bytes) -> Event:
    """Raises `RecordingError`, which tells what is missing."""
    fields = _object(line)
    t, connection = _number(fields, "t"), fields.get("connection")
    if t is None:
        raise RecordingError("an event without a time")
    if type(connection) is not int or not 0 < connection <= MAX_CONNECTION:
        raise RecordingError("an event without a connection")
    try:
        link = Link(fields.get("link", ""))
        parse = _PARSERS[fields.get("event", "")]
    except (ValueError, KeyError, TypeError):
        raise RecordingError("an event of an unknown kind or link") from None
    return parse(t, connection, link, fields)


def _opened(t: float, connection: int, link: Link, fields: Mapping[str, Any]) -> Event:
    host, port = fields.get("host"), fields.get("port")
    if not isinstance(host, str) or not isinstance(port, int) or not 0 < port <= MAX_PORT:
        raise RecordingError("an opened connection without host and port")
    return Opened(t, connection, link, (host, port))


def _data(t: float, connection: int, link: Link, fields: Mapping[str, Any]) -> Event:
    text, encoded = fields.get("text"), fields.get("base64")
    try:
        if isinstance(text, str) and encoded is None:
            data = text.encode()
        elif isinstance(encoded, str) and text is None:
            data = base64.b64decode(encoded, validate=True)
        else:
            raise RecordingError("data with neither text nor base64")
    except (binascii.Error, ValueError):
        raise RecordingError("data that cannot be decoded") from None
    return Data(t, connection, link, _direction(fields), data)


def _ended(t: float, connection: int, link: Link, fields: Mapping[str, Any]) -> Event:
    return Ended(t, connection, link, _direction(fields))


def _closed(t: float, connection: int, link: Link, fields: Mapping[str, Any]) -> Event:
    return Closed(t, connection, link, fields.get("reset") is True)


def _refused(t: float, connection: int, link: Link, fields: Mapping[str, Any]) -> Event:
    reason = fields.get("reason")
    return Refused(t, connection, link, reason if isinstance(reason, str) else "")


_PARSERS: Final[dict[str, Callable[[float, int, Link, Mapping[str, Any]], Event]]] = {
    "opened": _opened,
    "data": _data,
    "ended": _ended,
    "closed": _closed,
    "refused": _refused,
}


def _direction(fields: Mapping[str, Any]) -> Direction:
    try:
        return Direction(fields.get("direction", ""))
    except ValueError:
        raise RecordingError("an event without a direction") from None


def _payload(data: bytes) -> dict[str, str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _BINARY.search(text):
        return {"base64": base64.b64encode(data).decode()}
    return {"text": text}


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordingError("not JSON") from None
    if not isinstance(fields, dict):
        raise RecordingError("not a JSON object")
    return fields


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS:
        return float(value)
    return None
