"""HTTP/1.1 messages in a byte stream, tolerant: what is none passes as it is. Sans-IO.

Bodies are framed by Content-Length; any other body, chunked ones included, lasts until the stream ends.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 64 * 1024  # bytes; what has no end of head by then is no HTTP
_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(r"([A-Z]{1,16}) (\S+) HTTP/1\.[01]")
_RESPONSE: Final = re.compile(r"HTTP/1\.[01] ([0-9]{3})(?: .*)?")
_LENGTH: Final = re.compile("[0-9]{1,15}")
_NO_BODY: Final = (204, 304)


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and header fields. `raw` holds the empty line, too; `length` is None until the end."""

    raw: bytes
    start: str
    fields: tuple[tuple[str, str], ...]
    length: int | None  # bytes of the body

    def get(self, name: str) -> str | None:
        """The first field of that name, in any case."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def request(self) -> tuple[str, str] | None:
        """Method and target."""
        found = _REQUEST.fullmatch(self.start)
        return (found[1], found[2]) if found else None

    @property
    def status(self) -> int | None:
        found = _RESPONSE.fullmatch(self.start)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Body:
    """A piece of a body; `last` with the last one, which may be empty."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes that are no HTTP; everything after them is none either."""

    data: bytes


Piece = Head | Body | Opaque


class HttpFramer:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._in_body = False
        self._left: int | None = 0  # bytes of the body; None until the end
        self._is_http = True

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes, in order. Bodies come as they arrive."""
        if not self._is_http:
            return [Opaque(data)]
        self._partial += data
        pieces: list[Piece] = []
        while self._partial:
            if self._in_body:
                pieces.append(self._body())
                continue
            end = self._partial.find(_END)
            if end < 0 and len(self._partial) <= MAX_HEAD:
                break
            head = parse_head(bytes(self._partial[: end + len(_END)])) if 0 <= end <= MAX_HEAD else None
            if head is None:
                self._is_http = False
                pieces.append(Opaque(self._take(len(self._partial))))
                break
            self._take(len(head.raw))
            pieces.append(head)
            self._left = head.length
            self._in_body = self._left != 0
            if not self._in_body:
                pieces.append(Body(b"", last=True))
        return pieces

    def end(self) -> list[Piece]:
        """What is left when the stream ends."""
        rest = self._take(len(self._partial))
        if self._in_body:
            self._in_body = False
            return [Body(rest, last=True)]
        return [Opaque(rest)] if rest else []

    def _body(self) -> Body:
        size = len(self._partial) if self._left is None else min(self._left, len(self._partial))
        if self._left is not None:
            self._left -= size
            self._in_body = self._left > 0
        return Body(self._take(size), last=not self._in_body)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._partial[:size])
        del self._partial[:size]
        return taken


def parse_head(raw: bytes) -> Head | None:
    """A head with the empty line at its end, or None."""
    start, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            return None
        fields.append((name, value.strip()))
    head = Head(raw, start, tuple(fields), 0)
    if head.request is None and head.status is None:
        return None
    return Head(raw, start, head.fields, _body_length(head))


def make_head(start: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    """The bytes of a head, with the empty line."""
    lines = [start, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _body_length(head: Head) -> int | None:
    status = head.status
    if status is not None and (status in _NO_BODY or status < 200):
        return 0
    length = head.get("Content-Length")
    if length is not None and _LENGTH.fullmatch(length):
        return int(length)
    return 0 if status is None and head.get("Transfer-Encoding") is None else None
