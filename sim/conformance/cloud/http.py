"""Requests as the original sends them, and responses as they are on the wire (cloudsdk-protocol 1.2, 3.3)."""

import time
from dataclasses import dataclass
from typing import Final

from sim.conformance.case import violated
from sim.conformance.scope import Scope
from sim.conformance.stream import Address, Stream

AGENT: Final = "RT-Thread HTTP Agent"
ANSWER_TIMEOUT: Final = 6.0  # seconds between two pieces; the original's socket timeout
MAX_HEAD: Final = 64 * 1024  # bytes
MAX_BODY: Final = 16 * 1024 * 1024  # bytes
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    """`fields` are the header lines as they are spelt, in order."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def field(self, name: str) -> str | None:
        """The first value, whatever the case of the name."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def spelt(self, name: str) -> str | None:
        """The first value of a field spelt exactly so."""
        return next((value for key, value in self.fields if key == name), None)


def exchange(scope: Scope, address: Address, *pieces: bytes, head_only: bool = False) -> Response:
    """Send the pieces of one request and read the response as the original does: to its Content-Length.

    Raises `ViolationError` when what comes is no HTTP response.
    """
    stream = Stream(scope, address)
    for piece in pieces:
        stream.send(piece)
    try:
        return _read(stream, scope, head_only=head_only)
    finally:
        stream.close()


def _read(stream: Stream, scope: Scope, *, head_only: bool) -> Response:
    data = bytearray()
    while _END not in data:
        piece = stream.receive(ANSWER_TIMEOUT)
        if not piece:
            violated(
                "an HTTP response", f"{bytes(data[:80])!r} and {'silence' if piece is None else 'the end'}"
            )
        data += piece
        if len(data) > MAX_HEAD:
            violated(f"a response head of at most {MAX_HEAD} bytes", len(data))
    head, _, rest = bytes(data).partition(_END)
    status, fields = _parse_head(head)
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    chunked = any(name.lower() == "transfer-encoding" for name, _ in fields)
    length = int(lengths[0]) if lengths and lengths[0].isdigit() and len(lengths[0]) < 10 else None
    if head_only or status in (204, 304):
        length = 0
    body = bytearray(rest)
    began = time.monotonic()
    while length is None or len(body) < length:
        piece = stream.receive(ANSWER_TIMEOUT)
        if not piece or len(body) > MAX_BODY:
            break
        if chunked and body.endswith(b"0\r\n\r\n"):
            break
        scope.at_most(time.monotonic() - began)
        body += piece
    return Response(status, fields, bytes(body if length is None or head_only else body[:length]))


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        violated("a status line of HTTP/1.1", first)
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    return int(words[1]), tuple(fields)


def post_head(address: Address, length: int) -> bytes:
    """The head of an activation, byte for byte: Host without the port (1.2)."""
    return (
        f"POST {address.path} HTTP/1.1\r\n"
        f"Content-Length: {length}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Host: {address.host}\r\n"
        f"User-Agent: {AGENT}\r\n"
        "Accept: */*\r\n\r\n"
    ).encode()


def get(address: Address, *fields: str, method: str = "GET") -> bytes:
    """A firmware request, byte for byte, with more header lines before Host (3.3)."""
    lines = [f"{method} {address.path} HTTP/1.1", *fields, f"Host: {address.host}", f"User-Agent: {AGENT}"]
    if fields:
        lines.append("Accept: */*")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
