"""FAL, the flash abstraction layer: partitions on devices, the binary table, and the table on the console.

Source: rbl-format 4; console 2.2 and 9.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError, FlashError, OutOfBoundsError
from sim.flash.layout import MAX_NAME, MAX_OFFSET, BoardLayout, PartitionEntry
from sim.flash.nor import NorFlash


class PartitionBoundsError(OutOfBoundsError):
    """A range outside a partition. `console` is the line FAL prints for it, without colour and line end."""

    def __init__(self, message: str, console: str) -> None:
        super().__init__(message)
        self.console = console


# Texts with the line numbers of FAL 0.2.0 (console 9).
_OUT_OF_BOUND: Final = {
    "read": "[E/FAL] (fal_partition_read:346) Partition read error! Partition address out of bound.",
    "write": "[E/FAL] (fal_partition_write:387) Partition write error! Partition address out of bound.",
    "erase": "[E/FAL] (fal_partition_erase:426) Partition erase error! Partition address out of bound.",
}


class FalPartition:
    """One partition.

    Implements `cloudsdk.fal.Partition`; raises `PartitionBoundsError` for a range outside.
    """

    def __init__(self, entry: PartitionEntry, device: NorFlash) -> None:
        self.entry = entry
        self.device = device

    def __repr__(self) -> str:
        return f"FalPartition({self.entry!r})"

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def device_name(self) -> str:
        return self.entry.device

    @property
    def offset(self) -> int:
        """Where the partition begins, in bytes from the start of the device."""
        return self.entry.offset

    @property
    def size(self) -> int:
        return self.entry.length

    @property
    def block_size(self) -> int:
        """The largest erase block of the partition, in bytes."""
        return self.device.geometry.largest_block(self.offset, self.size)

    @property
    def program_unit(self) -> int:
        return self.device.geometry.program_unit

    def read(self, offset: int, length: int) -> bytes:
        self._require_inside("read", offset, length)
        return self.device.read(self.offset + offset, length)

    def write(self, offset: int, data: bytes) -> None:
        self._require_inside("write", offset, len(data))
        self.device.write(self.offset + offset, data)

    def erase(self, offset: int, length: int) -> None:
        self._require_inside("erase", offset, length)
        self.device.erase(self.offset + offset, length)

    def _require_inside(self, what: str, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise PartitionBoundsError(
                f"{what} of {length} bytes at {offset:#x} reaches outside partition {self.name!r} "
                f"({self.size} bytes)",
                _OUT_OF_BOUND[what],
            )


class FalTable:
    """The partitions of a board in table order. Implements `cloudsdk.fal.PartitionTable`.

    Raises `FlashError` when `devices` lacks one that the layout names.
    """

    def __init__(self, layout: BoardLayout, devices: Mapping[str, NorFlash]) -> None:
        missing = [device.name for device in layout.devices if device.name not in devices]
        if missing:
            raise FlashError(f"board {layout.name!r} lacks flash device {missing[0]!r}")
        self.layout = layout
        self.devices = devices
        self._partitions = {
            entry.name: FalPartition(entry, devices[entry.device]) for entry in layout.partitions
        }

    def find(self, name: str) -> FalPartition | None:
        return self._partitions.get(name)

    def __iter__(self) -> Iterator[FalPartition]:
        return iter(self._partitions.values())

    def __len__(self) -> int:
        return len(self._partitions)


class FalTableError(CloudSdkError):
    """No partition table, or one that cannot be."""

    code: ClassVar[str] = "fal.table"


TABLE_MAGIC: Final = 0x45503130
MAX_ENTRIES: Final = 64
# magic, name, device name, offset, length, reserved; little-endian
_ENTRY: Final = struct.Struct("<I24s24siII")
_MAGIC_BYTES: Final = TABLE_MAGIC.to_bytes(4, "little")


def encode_table(entries: Iterable[PartitionEntry]) -> bytes:
    """The binary partition table, 64 bytes for each entry (rbl-format 4). Raises `FalTableError`."""
    return b"".join(_encode_entry(entry) for entry in entries)


def decode_table(data: bytes) -> tuple[PartitionEntry, ...]:
    """The first partition table in `data`, a firmware image or a dump (rbl-format 4).

    The magic may also turn up in code, so a place where no entry follows is passed over. Raises
    `FalTableError` when there is no table, or when one has a broken or more than `MAX_ENTRIES` entries.
    """
    position = data.find(_MAGIC_BYTES)
    while position >= 0:
        try:
            _decode_entry(data, position)
        except FalTableError:
            position = data.find(_MAGIC_BYTES, position + 1)
        else:
            return tuple(_entries_from(data, position))
    raise FalTableError("no FAL partition table: no entry with the magic 0x45503130 in the data")


def _entries_from(data: bytes, position: int) -> Iterator[PartitionEntry]:
    end = position + MAX_ENTRIES * _ENTRY.size
    while data.startswith(_MAGIC_BYTES, position):
        if position >= end:
            raise FalTableError(f"FAL partition table has more than {MAX_ENTRIES} entries")
        yield _decode_entry(data, position)
        position += _ENTRY.size


def _encode_entry(entry: PartitionEntry) -> bytes:
    if not 0 <= entry.offset <= MAX_OFFSET or not 0 < entry.length < 2**32:
        raise FalTableError(f"FAL partition {entry.name!r}: offset or length does not fit the table")
    names = []
    for name in (entry.name, entry.device):
        if not 0 < len(name) <= MAX_NAME or not (name.isascii() and name.isprintable()):
            raise FalTableError(f"FAL name {name!r} is not 1 to {MAX_NAME} printable ASCII characters")
        names.append(name.encode("ascii"))
    return _ENTRY.pack(TABLE_MAGIC, *names, entry.offset, entry.length, 0)


def _decode_entry(data: bytes, position: int) -> PartitionEntry:
    if position + _ENTRY.size > len(data):
        raise FalTableError(f"FAL partition table is cut off in the entry at {position:#x}")
    _, *fields, offset, length, _ = _ENTRY.unpack_from(data, position)
    names = []
    for field in fields:
        name, nul, _ = field.partition(b"\0")
        if not name or not nul or not (name.isascii() and name.decode("latin-1").isprintable()):
            raise FalTableError(f"FAL partition table entry at {position:#x} has no proper name")
        names.append(name.decode("ascii"))
    if offset < 0 or not length:
        raise FalTableError(
            f"FAL partition table entry at {position:#x} has offset {offset} and length {length}"
        )
    return PartitionEntry(names[0], names[1], offset, length)


_TITLE: Final = "==================== FAL partition table ===================="
_RULE_LENGTH: Final = 61  # characters; the rulers do not follow the columns
_BOOTLOADER_NAME_WIDTH: Final = 12  # as recorded; a narrower table is not made narrower


def table_lines(entries: Iterable[PartitionEntry], *, app: bool = False) -> list[str]:
    """The partition table as FAL prints it, without prefix, colour and line ends.

    The bootloader's name column is 12 wide; the application's (`app`) is as wide as the longest of the
    names and the word `name` (console 2.2).
    """
    rows = list(entries)
    names = max(4 if app else _BOOTLOADER_NAME_WIDTH, *(len(row.name) for row in rows), 0)
    devices = max(len("flash_dev"), *(len(row.device) for row in rows), 0)
    return [
        _TITLE,
        f"| {'name':<{names}} | {'flash_dev':<{devices}} |   offset   |    length  |",
        "-" * _RULE_LENGTH,
        *(
            f"| {row.name:<{names}} | {row.device:<{devices}} | 0x{row.offset:08x} | 0x{row.length:08x} |"
            for row in rows
        ),
        "=" * _RULE_LENGTH,
    ]
