"""What is where on the flash of a board, as data. Drawing it is somebody else's job."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cloudsdk.ota.codecs.fnv import FNV_SEED, fnv1a32
from cloudsdk.ota.header import HEADER_SIZE, MAGIC, RblHeader
from cloudsdk.ota.rt_ota import DOWNLOAD, header_offset
from sim.flash.fal import FalPartition, FalTable
from sim.flash.nor import NorFlash
from sim.flash.placement import gaps

LINE: Final = 256  # bytes; the grain in which flash counts as used
SLICES: Final = 64  # of a region, for drawings
_READ: Final = 64 * 1024  # bytes; a multiple of LINE
_ERASED: Final = b"\xff" * _READ


@dataclass(frozen=True, slots=True)
class FoundFirmware:
    """The firmware header of a partition. `name` and `version` mean nothing unless `header_ok`.

    `content_ok`: the hash in the header is that of the content (rbl-format 3.1).
    """

    name: str
    version: str
    header_ok: bool
    content_ok: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A partition, or with an empty `name` a range that belongs to none. Sizes and offsets are bytes.

    `used` counts lines of 256 bytes with anything programmed. `density` is the part of them in each
    of `SLICES` equal slices, `wear` the most erases that one block of it has seen.
    """

    name: str
    offset: int
    length: int
    used: int
    wear: int
    density: tuple[float, ...]
    firmware: FoundFirmware | None

    @property
    def erased(self) -> bool:
        return self.used == 0


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """One flash device; `regions` cover it from its first byte to its last."""

    name: str
    address: int
    size: int
    smallest_block: int
    largest_block: int
    wear: int
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class ChipMap:
    """All devices of a board."""

    board: str
    devices: tuple[DeviceMap, ...]


def chip_map(table: FalTable) -> ChipMap:
    """Look at all flash of a board."""
    devices = tuple(_device_map(table, device) for device in table.devices.values())
    return ChipMap(table.layout.name, devices)


def _device_map(table: FalTable, device: NorFlash) -> DeviceMap:
    entries = table.layout.partitions
    regions = [
        _region(device, entry.name, entry.offset, entry.length, _firmware(FalPartition(entry, device)))
        for entry in entries
        if entry.device == device.name
    ]
    regions += [_region(device, "", start, end - start) for start, end in gaps(device.geometry, entries)]
    geometry = device.geometry
    return DeviceMap(
        device.name,
        geometry.address,
        geometry.size,
        geometry.block_size,
        geometry.largest_block(0, geometry.size),
        max(region.wear for region in regions),
        tuple(sorted(regions, key=lambda region: region.offset)),
    )


def _region(
    device: NorFlash, name: str, offset: int, length: int, firmware: FoundFirmware | None = None
) -> Region:
    lines = list(_used_lines(device, offset, length))
    wear = max(device.wear(block) for block, _ in device.geometry.blocks(offset, length))
    used = min(sum(lines) * LINE, length)
    return Region(name, offset, length, used, wear, _density(lines), firmware)


def _used_lines(device: NorFlash, offset: int, length: int) -> Iterator[bool]:
    end = offset + length
    for start in range(offset, end, _READ):
        data = device.read(start, min(_READ, end - start))
        erased = data == _ERASED[: len(data)]
        for line in range(0, len(data), LINE):
            yield not erased and data[line : line + LINE] != _ERASED[: min(LINE, len(data) - line)]


def _density(lines: list[bool]) -> tuple[float, ...]:
    starts = [len(lines) * index // SLICES for index in range(SLICES + 1)]
    slices = (lines[start : max(end, start + 1)] for start, end in pairwise(starts))
    return tuple(round(sum(each) / len(each), 3) for each in slices)


def _firmware(partition: FalPartition) -> FoundFirmware | None:
    if partition.size < HEADER_SIZE:
        return None
    header = RblHeader.unpack(partition.read(header_offset(partition), HEADER_SIZE))
    if not header.crc_ok and header.magic != MAGIC:
        return None
    content_ok = header.crc_ok and _content_ok(partition, header)
    return FoundFirmware(header.name_text, header.version_text, header.crc_ok, content_ok)


def _content_ok(partition: FalPartition, header: RblHeader) -> bool:
    """The body's CRC in `download`, elsewhere the hash of the raw firmware."""
    if partition.name == DOWNLOAD:
        start, size, expected = HEADER_SIZE, header.body_size, header.body_crc32
    else:
        start, size, expected = 0, header.raw_size, header.raw_hash
    if size + HEADER_SIZE > partition.size:
        return False
    fnv = partition.name != DOWNLOAD and header.flavour == "official"
    value = FNV_SEED if fnv else 0
    for offset in range(start, start + size, _READ):
        piece = partition.read(offset, min(_READ, start + size - offset))
        value = fnv1a32(piece, value) if fnv else zlib.crc32(piece, value)
    return value == expected
