"""The break point of a download, kept on flash so that it survives a loss of power.

The bootloader erases the first 4096 bytes of `download`, that is the erase blocks they touch, at every boot
with a good application (rbl-format 3.4a), so those blocks are staged elsewhere until everything else is
there. The staged bytes and the record live in the last erase blocks of `download`:

    | first blocks | package body ...            | staged first blocks | record, checkpoints |
    0              staged                        staging               record            size

A checkpoint is a cell that is programmed once its bytes are on flash, never before; a torn one therefore
still tells the truth. Parts without error correction get one every 1024 bytes: bytes torn behind the last one
are programmed again with the same data, which only clears the bits that are still missing. On other parts a
step is an erase block, which is erased before it is written again. A package that reaches into the journal's
blocks is downloaded without a journal.

The decryption chain needs no room: the cipher blocks before the break point are made again from the plain
bytes, since CBC and the key determine them.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cloudsdk.fal import Partition
from cloudsdk.ota.rt_ota import CLEARED
from cloudsdk.ota.transport import IV_LENGTH, cipher

_MAGIC: Final = 0x4A444C43  # "CLDJ"
_RECORD: Final = struct.Struct("<I I 32s B 147s")  # magic, total, identity, ETag length, ETag; then CRC-32
_CRC: Final = struct.Struct("<I")
_FINE_STEP: Final = 1024  # bytes, the block the original receives, decrypts and writes
_ETAG_ROOM: Final = 147
_READ: Final = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """What a break point belongs to. A resumed download with another identity starts afresh."""

    device_id: str
    partition: str
    version: str
    size: int

    def digest(self) -> bytes:
        text = "\0".join((self.device_id, self.partition, self.version, str(self.size)))
        return hashlib.sha256(text.encode()).digest()


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def is_blank(data: bytes) -> bool:
    return data.count(0xFF) == len(data)


class Journal:
    """The journal of one download of `total` bytes (already rounded to cipher blocks)."""

    def __init__(self, partition: Partition, total: int) -> None:
        block = partition.block_size
        self._partition = partition
        self._total = total
        self._cell = partition.program_unit
        self._staged = _round_up(CLEARED, block)  # bytes
        #: Bytes between two checkpoints.
        self.step = _FINE_STEP if self._cell == 1 else self._staged
        self._consumed_cell = _round_up(_RECORD.size + _CRC.size, self._cell)
        self._first_cell = self._consumed_cell + self._cell
        cells = -(-partition.size // self.step)
        record_room = _round_up(self._first_cell + cells * self._cell, block)
        self._record = partition.size - record_room
        self._staging = self._record - self._staged

    @property
    def fits(self) -> bool:
        """Whether the package leaves the journal's blocks alone."""
        return self._total <= self._staging

    def position(self, offset: int) -> int | None:
        """Which byte of the package is downloaded to `offset` of the partition; None: none is."""
        if not self.fits:
            return offset if offset < self._total else None
        if offset < self._staged or offset >= self._record:
            return None
        return offset - self._staging if offset >= self._staging else offset

    def begin(self) -> None:
        """Forget what was there, the record first, and make room for a new download."""
        self._partition.erase(self._record, self._partition.size - self._record)
        self._partition.erase(self._staging, self._staged)

    def open(self, identity: Identity, etag: str | None) -> None:
        """Store what is being downloaded; before the first byte of the body is written.

        Without room for the entity tag nothing is stored: a break point that could not tell whether the body
        has changed is worth nothing after a reset.
        """
        tag = (etag or "").encode("latin-1", "replace")
        if len(tag) > _ETAG_ROOM:
            return
        record = _RECORD.pack(_MAGIC, self._total, identity.digest(), len(tag), tag)
        record += _CRC.pack(zlib.crc32(record))
        self._partition.write(self._record, record.ljust(self._consumed_cell, b"\xff"))

    def load(self, identity: Identity) -> "BreakPoint | None":
        """The break point of an unfinished download of the same identity, or None."""
        record = self._partition.read(self._record, _RECORD.size + _CRC.size)
        magic, total, digest, tag_length, tag = _RECORD.unpack_from(record)
        (crc,) = _CRC.unpack_from(record, _RECORD.size)
        consumed = self._partition.read(self._record + self._consumed_cell, self._cell)
        if (
            magic != _MAGIC
            or crc != zlib.crc32(record[: _RECORD.size])
            or total != self._total
            or digest != identity.digest()
            or not is_blank(consumed)
        ):
            return None
        # The last step is asked for again even when it is there: before the package is handed over the server
        # has to confirm the body, which may have changed since.
        offset = min(self._checkpoints(), (self._total - 1) // self.step) * self.step
        if offset == 0:
            return None
        return BreakPoint(offset, tag[:tag_length].decode("latin-1") or None)

    def _checkpoints(self) -> int:
        count = -(-self._total // self.step)
        cells = self._partition.read(self._record + self._first_cell, count * self._cell)
        for index in range(count):
            if is_blank(cells[index * self._cell : (index + 1) * self._cell]):
                return index
        return count

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes of the package where they belong, then every checkpoint they complete."""
        home = self._staging + offset if offset < self._staged else offset
        self._partition.write(home, data)
        end = offset + len(data)
        first = offset // self.step
        last = -(-end // self.step) if end == self._total else end // self.step
        if first < last:
            self._use(self._first_cell + first * self._cell, last - first)

    def _use(self, cell: int, count: int = 1) -> None:
        """Program `count` cells, unless they are: parts with error correction take no second time."""
        length = count * self._cell
        if is_blank(self._partition.read(self._record + cell, length)):
            self._partition.write(self._record + cell, bytes(length))
        elif count > 1:
            for each in range(cell, cell + length, self._cell):
                self._use(each)

    def clear_unconfirmed(self, offset: int) -> None:
        """Make the bytes from the break point on programmable again: a torn write may have left some."""
        if self._cell == 1 or offset >= self._total:
            return
        end = min(_round_up(self._total, self._partition.block_size), self._staging)
        stop = min(offset + self.step, end)
        if offset < stop and not is_blank(self._partition.read(offset, stop - offset)):
            self._partition.erase(offset, stop - offset)

    def chaining_value(self, device_key: str, offset: int) -> bytes:
        """The cipher block before `offset`, made again from the plain bytes on flash."""
        encryptor = cipher(device_key).encryptor()
        last = b""
        for piece in self._plain(offset):
            last = encryptor.update(piece)
        return last[-IV_LENGTH:]

    def _plain(self, end: int) -> Iterator[bytes]:
        yield self._partition.read(self._staging, min(self._staged, end))
        for offset in range(self._staged, end, _READ):
            yield self._partition.read(offset, min(_READ, end - offset))

    def head(self, length: int) -> bytes:
        """The first bytes of the package, at most those that are staged."""
        return self._partition.read(self._staging, min(length, self._staged))

    def put_first_block(self) -> None:
        """Move the staged bytes to the start of `download`: from here on the bootloader sees a package."""
        length = min(self._staged, self._total)
        if not is_blank(self._partition.read(0, length)):
            self._partition.erase(0, length)
        self._partition.write(0, self._partition.read(self._staging, length))

    def consume(self) -> None:
        """Never resume what is recorded: it was handed over, found bad, or is about to be overwritten."""
        if self._staging < 0:
            return  # the partition has no room for a journal
        self._use(self._consumed_cell)


@dataclass(frozen=True, slots=True)
class BreakPoint:
    """Where a download goes on: bytes before `offset` are on flash."""

    offset: int
    etag: str | None
