"""The 96-byte header of an `.rbl` package: layout, checksums, algorithm bits (rbl-format 1)."""

import struct
import zlib
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from operator import attrgetter
from typing import Final, Literal, Self

from cloudsdk.ota.errors import HeaderShortError

HEADER_SIZE: Final = 96
MAGIC: Final = b"RBL\0"
NAME_SIZE: Final = 16
VERSION_SIZE: Final = 24
PRODUCT_CODE_SIZE: Final = 24

COMPRESSION_MASK: Final = 0x0F00
ENCRYPTION_MASK: Final = 0x000F
ALGO2_MASK: Final = 0x000F
ALGO2_CRC: Final = 1  # QBoot: the hash field holds a CRC-32

_LAYOUT: Final = struct.Struct(f"<4sHHI{NAME_SIZE}s{VERSION_SIZE}s{PRODUCT_CODE_SIZE}s5I")
_COVERED_SIZE: Final = HEADER_SIZE - 4  # the header CRC covers all before itself

NAME_OFFSET: Final = 12
VERSION_OFFSET: Final = NAME_OFFSET + NAME_SIZE
PRODUCT_CODE_OFFSET: Final = VERSION_OFFSET + VERSION_SIZE

Flavour = Literal["official", "qboot"]


class Compression(IntEnum):
    """Bits 8 to 11 of `algo` (rbl-format 1.1)."""

    NONE = 0
    GZIP = 0x0100
    QUICKLZ = 0x0200
    FASTLZ = 0x0300
    HPATCHLITE = 0x0400  # a differential patch; one QBoot line only


class Encryption(IntEnum):
    """Bits 0 to 3 of `algo` (rbl-format 1.1)."""

    NONE = 0
    XOR = 1  # defined, but no packer writes it and no bootloader takes it
    AES256 = 2


def printable(text: bytes) -> str:
    r"""`text` as a terminal can show it: everything but printable ASCII as `\xNN`."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in text)


@dataclass(frozen=True, slots=True)
class RblHeader:
    """All fields as stored, text fields raw; numbers are little-endian in the file.

    Sizes are bytes. `timestamp` is seconds, Unix time if the packing PC was at UTC+8 (rbl-format 1.2).
    `raw_hash` is the FNV-1a of the raw firmware, or its CRC-32 when `flavour` is "qboot".
    """

    magic: bytes
    algo: int
    algo2: int
    timestamp: int
    name: bytes
    version: bytes
    product_code: bytes
    body_crc32: int
    raw_hash: int
    raw_size: int
    body_size: int
    header_crc32: int

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Split the first 96 bytes of `data` into fields; what they hold is not judged.

        Raises `HeaderShortError` when there are fewer.
        """
        if len(data) < HEADER_SIZE:
            raise HeaderShortError(
                f"{len(data)} bytes are not a package: the header alone takes {HEADER_SIZE}"
            )
        return cls(*_LAYOUT.unpack_from(data))

    @classmethod
    def build(
        cls,
        *,
        algo: int,
        algo2: int,
        timestamp: int,
        name: bytes,
        version: bytes,
        product_code: bytes,
        body_crc32: int,
        raw_hash: int,
        raw_size: int,
        body_size: int,
    ) -> Self:
        """A header with a right CRC of its own. Text is zero filled or cut to fit."""
        return cls(
            MAGIC,
            algo,
            algo2,
            timestamp,
            name[:NAME_SIZE].ljust(NAME_SIZE, b"\0"),
            version[:VERSION_SIZE].ljust(VERSION_SIZE, b"\0"),
            product_code[:PRODUCT_CODE_SIZE].ljust(PRODUCT_CODE_SIZE, b"\0"),
            body_crc32,
            raw_hash,
            raw_size,
            body_size,
            0,
        ).with_crc()

    def pack(self) -> bytes:
        """The 96 bytes, exactly as the fields say: a wrong `header_crc32` stays wrong."""
        return _LAYOUT.pack(*_values(self))

    def computed_crc32(self) -> int:
        """What `header_crc32` has to be: the CRC-32 of the 92 bytes before it."""
        return zlib.crc32(self.pack()[:_COVERED_SIZE])

    def with_crc(self) -> Self:
        """The same header with a right `header_crc32`."""
        return replace(self, header_crc32=self.computed_crc32())

    @property
    def crc_ok(self) -> bool:
        return self.header_crc32 == self.computed_crc32()

    @property
    def flavour(self) -> Flavour:
        return "qboot" if self.algo2 & ALGO2_MASK == ALGO2_CRC else "official"

    @property
    def compression_bits(self) -> int:
        return self.algo & COMPRESSION_MASK

    @property
    def encryption_bits(self) -> int:
        return self.algo & ENCRYPTION_MASK

    @property
    def compression(self) -> Compression | None:
        """None when the bits have no known meaning."""
        try:
            return Compression(self.compression_bits)
        except ValueError:
            return None

    @property
    def encryption(self) -> Encryption | None:
        """None when the bits have no known meaning."""
        try:
            return Encryption(self.encryption_bits)
        except ValueError:
            return None

    @property
    def name_text(self) -> str:
        """The destination partition, up to the first NUL of the field."""
        return _field_text(self.name)

    @property
    def version_text(self) -> str:
        return _field_text(self.version)

    @property
    def product_code_text(self) -> str:
        return _field_text(self.product_code)

    def c_string(self, offset: int) -> bytes:
        """What C code prints for the text at byte `offset`: up to the first NUL, over the fields that follow.

        A name or version without a NUL of its own runs on like this on a console (rbl-format 3.4a).
        """
        return self.pack()[offset:].split(b"\0", 1)[0]


_values: Final = attrgetter(*(each.name for each in fields(RblHeader)))


def _field_text(field: bytes) -> str:
    return printable(field.split(b"\0", 1)[0])
