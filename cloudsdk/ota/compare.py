"""Where two packages differ: header fields, and the firmware inside them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Final

from cloudsdk.ota.errors import IncomparableError, PackageError
from cloudsdk.ota.header import Compression, RblHeader
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY, Package
from cloudsdk.ota.pieces import regrouped

BLOCK_SIZE: Final = 4096  # bytes; the erase block of the flash parts in use


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One header field and its two values."""

    field: str
    first: int | bytes
    second: int | bytes


@dataclass(frozen=True, slots=True)
class ContentDifference:
    """Sizes and offset in bytes. Where only one goes on, that is a difference, too."""

    first_size: int
    second_size: int
    first_difference: int | None
    differing_blocks: int
    blocks: int

    @property
    def same(self) -> bool:
        return not self.differing_blocks


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two packages. `content` is their firmware, or their bodies when one is a patch."""

    fields: tuple[FieldDifference, ...]
    content_kind: str
    content: ContentDifference

    @property
    def same(self) -> bool:
        return not self.fields and self.content.same


def compare(
    first: Package, second: Package, key: bytes | None = DEFAULT_KEY, iv: bytes | None = DEFAULT_IV
) -> Comparison:
    """Compare two packages; nothing of the content but a block of each is in memory.

    Raises `IncomparableError` when one of them is damaged or does not decode with this key, since nothing
    could be said about its firmware.
    """
    patch = Compression.HPATCHLITE in (first.header.compression, second.header.compression)
    streams = (first.body(), second.body()) if patch else (first.extract(key, iv), second.extract(key, iv))
    try:
        content = _compare_content(*(regrouped(stream, BLOCK_SIZE) for stream in streams))
    except PackageError as error:
        raise IncomparableError(f"the packages cannot be compared: {error}") from None
    return Comparison(_compare_headers(first.header, second.header), "body" if patch else "firmware", content)


def _compare_headers(first: RblHeader, second: RblHeader) -> tuple[FieldDifference, ...]:
    pairs = ((field.name, getattr(first, field.name), getattr(second, field.name)) for field in fields(first))
    return tuple(FieldDifference(name, one, other) for name, one, other in pairs if one != other)


def _compare_content(first: Iterator[bytes], second: Iterator[bytes]) -> ContentDifference:
    sizes = [0, 0]
    blocks = differing = 0
    first_difference: int | None = None
    for one, other in zip_longest(first, second, fillvalue=b""):
        blocks += 1
        if one != other:
            differing += 1
            if first_difference is None:
                first_difference = sizes[0] + _common_length(one, other)
        sizes[0] += len(one)
        sizes[1] += len(other)
    return ContentDifference(sizes[0], sizes[1], first_difference, differing, blocks)


def _common_length(one: bytes, other: bytes) -> int:
    shorter = min(len(one), len(other))
    return next((index for index in range(shorter) if one[index] != other[index]), shorter)
