"""What a boot works out from flash content, kept by that content for the next boot.

Flash is still read each time. Content is compared byte by byte, so an answer is never another content's.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from cloudsdk.ota.codecs.fnv import fnv1a32
from cloudsdk.ota.keys import PackageKeys

CACHE_LIMIT: Final = 32 * 1024 * 1024  # bytes of packages, decoded pieces and hashed firmware


class Sized(Protocol):
    """A decoded piece."""

    @property
    def size(self) -> int:
        """Bytes it takes."""
        ...


_Piece = TypeVar("_Piece", bound=Sized)
_End = TypeVar("_End")


@dataclass(frozen=True, slots=True)
class DecodeKey:
    """Who decodes a package, its 96-byte header, the keys: all but the body that decides the result."""

    decoder: str
    header: bytes
    keys: PackageKeys


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    key: DecodeKey | None  # None for hashed firmware
    content: bytes
    pieces: tuple[Any, ...]
    end: Any
    size: int


class DecodeCache:
    """Decoded packages and hashes of at most `limit` bytes together; those used longest ago go first.

    Boards may share one, as long as they boot one after the other.
    """

    def __init__(self, limit: int = CACHE_LIMIT) -> None:
        self.hits = 0
        self._limit = limit
        self._entries: list[_Entry] = []  # the last one was used last

    @property
    def size(self) -> int:
        """Bytes kept."""
        return sum(entry.size for entry in self._entries)

    def decoded(
        self, key: DecodeKey, body: bytes, decode: Callable[[], Generator[_Piece, None, _End]]
    ) -> Generator[_Piece, None, _End]:
        """The pieces and the return value of `decode()`, which depend on `key` and `body` alone.

        A decode that raises or is left early, or that is too large, is not kept.
        """
        entry = self._find(key, body)
        if entry is not None:
            yield from entry.pieces
            end: _End = entry.end
            return end
        pieces: list[_Piece] = []
        size = len(body)
        source = decode()
        while True:
            try:
                piece = next(source)
            except StopIteration as stop:
                end = stop.value
                break
            size += piece.size
            if size <= self._limit:
                pieces.append(piece)
            else:
                pieces.clear()
            yield piece
        self._keep(_Entry(key, body, tuple(pieces), end, size))
        return end

    def fnv1a32(self, content: bytes) -> int:
        """The FNV-1a of `content`."""
        entry = self._find(None, content)
        if entry is None:
            entry = _Entry(None, content, (), fnv1a32(content), len(content))
            self._keep(entry)
        value: int = entry.end
        return value

    def _find(self, key: DecodeKey | None, content: bytes) -> _Entry | None:
        for index, entry in enumerate(self._entries):
            if entry.key == key and entry.content == content:
                self.hits += 1
                self._entries.append(self._entries.pop(index))
                return entry
        return None

    def _keep(self, entry: _Entry) -> None:
        if entry.size > self._limit:
            return
        self._entries.append(entry)
        excess = self.size - self._limit
        while excess > 0:
            excess -= self._entries.pop(0).size
