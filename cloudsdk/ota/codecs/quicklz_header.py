"""The header of a QuickLZ 1.5.0 block, level 3 without a streaming buffer (rbl-format 2.2)."""

import struct
from dataclasses import dataclass
from typing import Final

from cloudsdk.ota.errors import CodecError

LEVEL: Final = 3
SHORT_RAW_LIMIT: Final = 216  # raw bytes from which on the header is the long one

_COMPRESSED: Final = 0x01
_LONG_HEADER: Final = 0x02
_ALWAYS_SET: Final = 0x40
_SHORT: Final = struct.Struct("<BBB")
_LONG: Final = struct.Struct("<BII")


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """The first bytes of a block. Sizes in bytes; `block_size` counts the header too."""

    compressed: bool
    header_size: int
    block_size: int
    raw_size: int

    @classmethod
    def build(cls, raw_size: int, data_size: int, *, compressed: bool) -> "BlockHeader":
        """The header in front of `data_size` bytes that decode to `raw_size`."""
        header_size = (_SHORT if raw_size < SHORT_RAW_LIMIT else _LONG).size
        return cls(compressed, header_size, header_size + data_size, raw_size)

    def pack(self) -> bytes:
        flags = _ALWAYS_SET | LEVEL << 2 | (_COMPRESSED if self.compressed else 0)
        if self.header_size == _SHORT.size:
            return _SHORT.pack(flags, self.block_size, self.raw_size)
        return _LONG.pack(flags | _LONG_HEADER, self.block_size, self.raw_size)

    def check(self, available: int, max_size: int) -> None:
        """Hold the sizes against the `available` bytes of the block and the raw `max_size` bytes allowed.

        Raises `CodecError` for sizes that are too large, or that do not agree in a stored block.
        """
        if self.raw_size > max_size:
            raise CodecError(f"the QuickLZ block declares {self.raw_size} raw bytes, {max_size} are allowed")
        if self.block_size > available:
            raise CodecError(f"the QuickLZ block declares {self.block_size} bytes, {available} are there")
        data_size = max(self.block_size - self.header_size, 0)
        if not self.compressed and data_size != self.raw_size:
            raise CodecError(
                f"the stored QuickLZ block declares {self.raw_size} raw bytes and holds {data_size}"
            )


def read_header(block: bytes) -> BlockHeader:
    """Read the sizes of `block` without decoding it.

    Raises `CodecError` for an unfinished header, another level than 3, a streaming block or flags that
    QuickLZ never writes.
    """
    if not block:
        raise CodecError("the QuickLZ block is empty: the package is damaged or the key is wrong")
    flags = block[0]
    if flags & 0xC0 != _ALWAYS_SET:
        raise CodecError(
            f"0x{flags:02x} does not begin a QuickLZ block: the package is damaged or the key is wrong"
        )
    level, streaming = flags >> 2 & 3, flags >> 4 & 3
    if level != LEVEL:
        raise CodecError(
            f"the QuickLZ block has level {level}, bootloaders read level {LEVEL} only: "
            f"pack again with QLZ_COMPRESSION_LEVEL={LEVEL}"
        )
    if streaming:
        raise CodecError(
            f"the QuickLZ block has streaming class {streaming}, blocks must stand alone: "
            "pack again with QLZ_STREAMING_BUFFER=0"
        )
    layout = _LONG if flags & _LONG_HEADER else _SHORT
    if len(block) < layout.size:
        raise CodecError(
            f"the QuickLZ block ends inside its {layout.size}-byte header: the package is cut short"
        )
    _, block_size, raw_size = layout.unpack_from(block)
    return BlockHeader(bool(flags & _COMPRESSED), layout.size, block_size, raw_size)


def block_sizes(block: bytes) -> tuple[int, int]:
    """Size of `block` (header included) and of what it decodes to, in bytes. Raises like `read_header`."""
    header = read_header(block)
    return header.block_size, header.raw_size
