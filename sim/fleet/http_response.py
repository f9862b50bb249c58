"""The parts of an HTTP/1.1 response as its bytes come, without IO (RFC 9112)."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError

MAX_HEAD: Final = 16384  # bytes of status line and headers, and of one chunk's size line or the trailers
_MAX_DIGITS: Final = 15  # of a length
_NO_BODY: Final = (204, 304)


class ResponseError(CloudSdkError):
    """Not an HTTP response."""

    code: ClassVar[str] = "fleet.http"


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of the final response; names in lower case, repeated ones joined by a comma."""

    status: int
    headers: dict[str, str]


class End(Enum):
    """The body is over as it was announced."""

    END = auto()


class _State(Enum):
    HEAD = auto()
    COUNTED = auto()  # by Content-Length
    UNTIL_CLOSE = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    DONE = auto()


class ResponseReader:
    """Reads the response to one GET or POST. At most `MAX_HEAD` bytes and one piece are kept."""

    __slots__ = ("_left", "_partial", "_state")

    def __init__(self) -> None:
        self._state = _State.HEAD
        self._partial = bytearray()  # of a head or a line
        self._left = 0  # bytes of the body or the chunk to come

    @property
    def may_end(self) -> bool:
        """Whether the end of the connection is the end of the body, short as it may be, and no failure."""
        return self._state in (_State.COUNTED, _State.UNTIL_CLOSE, _State.DONE)

    def feed(self, data: bytes) -> Iterator[Head | bytes | End]:
        """Head, pieces of the body, end. Raises `ResponseError`; nothing can be read after that."""
        while data and self._state is not _State.DONE:
            if self._state is _State.UNTIL_CLOSE:
                yield data
                return
            if self._state in (_State.COUNTED, _State.CHUNK):
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                yield piece
                if not self._left:
                    if self._state is _State.COUNTED:
                        yield self._end()
                    else:
                        self._state = _State.CHUNK_END
                continue
            line, data = self._line(data)
            if line is not None:
                yield from self._lines(line)

    def _line(self, data: bytes) -> tuple[bytes | None, bytes]:
        """The whole head, or the next line of chunked coding, when it is complete; and what follows it."""
        before = len(self._partial)
        self._partial += data
        mark = b"\r\n\r\n" if self._state is _State.HEAD else b"\r\n"
        end = self._partial.find(mark, max(0, before - len(mark)))
        if (end if end >= 0 else len(self._partial)) > MAX_HEAD:
            raise ResponseError(f"headers of more than {MAX_HEAD} bytes")
        if end < 0:
            return None, b""
        line, rest = bytes(self._partial[:end]), bytes(self._partial[end + len(mark) :])
        self._partial.clear()
        return line, rest

    def _lines(self, line: bytes) -> Iterator[Head | End]:
        match self._state:
            case _State.HEAD:
                yield from self._head(line)
            case _State.CHUNK_SIZE:
                self._left = _length(line.partition(b";")[0].strip(), 16)
                self._state = _State.CHUNK if self._left else _State.TRAILERS
            case _State.CHUNK_END:
                if line:
                    raise ResponseError("a chunk is longer than announced")
                self._state = _State.CHUNK_SIZE
            case _State.TRAILERS if not line:
                yield self._end()

    def _head(self, text: bytes) -> Iterator[Head | End]:
        first, *rest = text.decode("latin-1").split("\r\n")
        version, _, status = first.partition(" ")
        code = status[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise ResponseError("no HTTP status line")
        headers: dict[str, str] = {}
        for line in rest:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise ResponseError("a header without a colon")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        found = Head(int(code), headers)
        if 100 <= found.status < 200:
            return  # interim
        self._begin_body(found)
        yield found
        if self._state is _State.DONE:
            yield End.END

    def _begin_body(self, head: Head) -> None:
        coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
        if head.status in _NO_BODY:
            self._state = _State.DONE
        elif coding is not None:
            if coding.lower() != "chunked":
                raise ResponseError("a transfer coding other than chunked")
            self._state = _State.CHUNK_SIZE
        elif length is None:
            self._state = _State.UNTIL_CLOSE
        else:
            self._left = _length(length.encode("latin-1"), 10)
            self._state = _State.COUNTED if self._left else _State.DONE

    def _end(self) -> End:
        self._state = _State.DONE
        return End.END


def _length(text: bytes, base: int) -> int:
    digits = b"0123456789abcdefABCDEF"[: 22 if base == 16 else 10]
    if not 0 < len(text) <= _MAX_DIGITS or text.strip(digits):
        raise ResponseError("a length that is no number")
    return int(text, base)
