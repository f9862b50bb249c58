"""An area of the EasyFlash 3.2.1 ENV as bytes: header and records, in the forms its builds write.

Source: easyflash-format 2 and 8. All words are 32-bit little-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

WORD: Final = 4  # bytes; records are padded to it
COUNT_LIMIT: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Area:
    """Content of one area. `count` and `version` are 0 where the header has no such word."""

    count: int
    version: int
    records: bytes = field(repr=False)
    stated_crc: int
    actual_crc: int

    @property
    def intact(self) -> bool:
        return self.stated_crc == self.actual_crc


@dataclass(frozen=True, slots=True)
class AreaForm:
    """Which words a build has between END, the first of the header, and CRC, the last."""

    counted: bool
    versioned: bool
    count_in_crc: bool = True

    @property
    def header_size(self) -> int:
        return WORD * (2 + self.counted + self.versioned)

    def crc(self, end: int, count: int, records: bytes) -> int:
        """CRC-32 over END, COUNT if the form protects it, and the records. VER is never in it."""
        words = (
            struct.pack("<II", end, count) if self.counted and self.count_in_crc else struct.pack("<I", end)
        )
        return zlib.crc32(records, zlib.crc32(words))

    def encode(self, start: int, count: int, version: int, records: bytes) -> bytes:
        """The bytes of an area that begins at partition offset `start`."""
        end = start + self.header_size + len(records)
        words = [end, *[count] * self.counted, *[version] * self.versioned, self.crc(end, count, records)]
        return struct.pack(f"<{len(words)}I", *words) + records

    def decode(self, data: bytes, start: int) -> Area | None:
        """The area in `data`, which was read at partition offset `start` and is as long as one may be.

        None when END does not lie inside `data`; whether the CRC is right is the area's `intact`.
        """
        header_size = self.header_size
        if len(data) < header_size:
            return None
        words = list(struct.unpack_from(f"<{header_size // WORD}I", data))
        end, stated_crc = words[0], words[-1]
        if not start + header_size <= end <= start + len(data):
            return None
        count = words[1] if self.counted else 0
        version = words[-2] if self.versioned else 0
        records = data[header_size : end - start]
        return Area(count, version, records, stated_crc, self.crc(end, count, records))


def newer_area(first: Area | None, second: Area | None) -> int | None:
    """Which of two intact areas is in use, 0 or 1; None if there is none (easyflash-format 3)."""
    if first and second:
        # The wrap of COUNT is seen in one direction only, and a tie goes to area 1.
        first_is_newer = first.count > second.count or (first.count, second.count) == (0, COUNT_LIMIT - 1)
        return 0 if first_is_newer else 1
    return 0 if first else 1 if second else None


def record_spans(records: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, end of the text and end of the padding of each record.

    Garbage without a NUL ends the last one.
    """
    start = 0
    while start < len(records):
        end = records.find(0, start)
        if end < 0:
            end = len(records)
        after = min(start + padded(end + 1 - start), len(records))
        yield start, end, after
        start = after


def padded(length: int) -> int:
    """`length` bytes rounded up to whole words."""
    return -(-length // WORD) * WORD


def split_record(record: bytes) -> tuple[bytes, bytes]:
    """Key and value: what stands before and behind the first `=`."""
    key, _, value = record.partition(b"=")
    return key, value


def decode_text(text: bytes) -> str:
    """UTF-8; bytes that are not survive as surrogate escapes."""
    return text.decode("utf-8", "surrogateescape")
