"""The rt_ota library: where firmware headers live and how firmware is verified, with its console lines.

The application (V0.1.3) and the bootloader (V0.2.1) link the same code: rbl-format 3.1, 3.2 and 3.5.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from cloudsdk import console
from cloudsdk.errors import FlashError, OutOfBoundsError
from cloudsdk.fal import Partition, PartitionTable
from cloudsdk.ota.codecs.fnv import FNV_SEED, fnv1a32
from cloudsdk.ota.header import HEADER_SIZE, VERSION_OFFSET, Compression, RblHeader

DOWNLOAD: Final = "download"
READ_SIZE: Final = 4096  # bytes per flash read
CLEARED: Final = 4096  # bytes of `download` that each boot with a good application erases (3.4a)
BLOCK_BUFFER: Final = 4096 + 4 + 400 + 16  # bytes for a compressed block and the length before it (3.4)
VECTORS: Final = struct.Struct("<4I")  # head of an application: initial SP, reset, NMI, HardFault
STACK_POINTERS: Final = range(0x20000001, 0x26000000)  # initial SPs that are started (3.2 step 9)
#: Smallest body and raw size the original verifies; below, its unsigned loop counter wraps (rbl-format 3.4).
MIN_VERIFIED: Final = 32
READ_BEYOND_END: Final = console.ota_error(
    "fal_partition_read:346", "Partition read error! Partition address out of bound.", tag="FAL"
)


class HazardError(Exception):
    """The original would loop or crash here (rbl-format 3.4); the text says where and why."""


def header_offset(partition: Partition) -> int:
    """Offset in bytes of the 96-byte header: 0 in `download`, the last 96 bytes everywhere else."""
    return 0 if partition.name == DOWNLOAD else partition.size - HEADER_SIZE


def printed_version(header: RblHeader) -> str:
    """The version as C prints it: on into the next field when the field has no NUL (rbl-format 3.4a)."""
    return header.c_string(VERSION_OFFSET).decode("latin-1")


def printed_timestamp(header: RblHeader) -> int:
    """The timestamp as C prints it, a signed 32-bit number."""
    return (header.timestamp ^ 0x80000000) - 0x80000000


def survives(header: RblHeader, size: int) -> bool:
    """Whether the bootloader survives the sizes in the header of a package of `size` bytes with padding.

    Too little of anything makes it loop, much more body than firmware makes it crash (rbl-format 3.4).
    """
    body, raw = header.body_size, header.raw_size
    fits = MIN_VERIFIED <= body <= size - HEADER_SIZE and raw >= MIN_VERIFIED
    return fits and (header.compression_bits != Compression.NONE or body - raw <= READ_SIZE)


class RtOta:
    """Header and verification functions on a partition table; every line goes to `write`."""

    __slots__ = ("_initialised", "_partitions", "_version", "_write")

    def __init__(self, partitions: PartitionTable, write: Callable[[str], None], *, version: str) -> None:
        self._partitions = partitions
        self._write = write
        self._version = version
        self._initialised = False

    def init(self) -> None:
        if not self._initialised:
            self._initialised = True
            self._write(console.ota_info(f"RT-Thread OTA package(V{self._version}) initialize success."))

    def header(self, partition: Partition) -> RblHeader | None:
        """The partition's header, whatever its magic; None, with the error line, when its CRC is wrong."""
        header = RblHeader.unpack(partition.read(header_offset(partition), HEADER_SIZE))
        if not header.crc_ok:
            self._write(
                console.ota_error(
                    "get_fw_hdr:149",
                    f"Get firmware header occur CRC32(calc.crc: {header.computed_crc32():08x} != "
                    f"hdr.info_crc32: {header.header_crc32:08x}) error on '{partition.name}' partition!",
                )
            )
            return None
        return header

    def firmware_version(self, name: str) -> str | None:
        """Version of the firmware installed in a partition; None without the partition or a valid header."""
        partition = self._partitions.find(name)
        header = self.header(partition) if partition is not None else None
        return header.version_text if header is not None else None

    def erase(self, name: str, size: int) -> None:
        """Erase the first `size` bytes of a partition. Raises `FlashError`."""
        partition = self._partitions.find(name)
        if partition is None:
            raise FlashError(f"the board has no partition {name}")
        self._write(console.ota_info(f"The partition '{name}' is erasing."))
        partition.erase(0, size)
        self._write(console.ota_info(f"The partition '{name}' erase success."))

    def verify(self, name: str) -> bool:
        """Verify header and content of a partition: body CRC in `download`, raw hash elsewhere.

        Raises `HazardError` where the original never returns.
        """
        partition = self._partitions.find(name)
        header = self.header(partition) if partition is not None else None
        if partition is None or header is None:
            return False
        if name == DOWNLOAD:
            calculated = self._body_crc32(partition, header)
            good = calculated == header.body_crc32
            failure = (
                "rt_ota_part_fw_verify:428",
                f"Verify firmware CRC32(calc.crc: {calculated:08x} != hdr.crc: {header.body_crc32:08x}) "
                f"failed on partition '{name}'.",
            )
        else:
            calculated = self.raw_hash(partition, header)
            good = calculated == header.raw_hash
            failure = (
                "part_fw_hash_verify:264",
                f"Verify firmware hash(calc.hash: {calculated:08x} != hdr.hash: {header.raw_hash:08x}) "
                f"failed on partition '{name}'.",
            )
        if good:
            text = f"fw ver: {printed_version(header)}, timestamp: {printed_timestamp(header)}"
            self._write(console.ota_info(f"Verify '{name}' partition({text}) success."))
        else:
            self._write(console.ota_error(*failure))
        return good

    def raw_hash(self, partition: Partition, header: RblHeader) -> int:
        """FNV-1a of the first `raw_size` bytes. Raises `HazardError` for sizes the original cannot hash."""
        value = FNV_SEED
        for piece in self._content(partition, 0, header.raw_size, "firmware"):
            value = fnv1a32(piece, value)
        return value

    def _body_crc32(self, partition: Partition, header: RblHeader) -> int:
        value = 0
        for piece in self._content(partition, HEADER_SIZE, header.body_size, "package body"):
            value = zlib.crc32(piece, value)
        return value

    def _content(self, partition: Partition, offset: int, size: int, what: str) -> Iterator[bytes]:
        if size < MIN_VERIFIED:
            self._write(READ_BEYOND_END)
            raise HazardError(
                f"a {what} of {size} bytes is shorter than {MIN_VERIFIED}: the loop that checks "
                f"'{partition.name}' never ends (rbl-format 3.4)"
            )
        end = offset + size
        while offset < end:
            length = min(READ_SIZE, end - offset)
            try:
                piece = partition.read(offset, length)
            except OutOfBoundsError:
                self._write(READ_BEYOND_END)
                raise HazardError(
                    f"the {what} of {size} bytes reaches beyond partition '{partition.name}': "
                    "the loop that checks it does not get past the end (rbl-format 3.4)"
                ) from None
            yield piece
            offset += length
