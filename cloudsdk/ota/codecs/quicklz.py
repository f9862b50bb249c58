"""QuickLZ 1.5.0, level 3, no streaming buffer: one block at a time (rbl-format 2.2)."""

import struct
from dataclasses import dataclass
from typing import Final

from cloudsdk.ota.codecs.matches import NONE, find_matches, link_chains
from cloudsdk.ota.errors import CodecError

LEVEL: Final = 3
SHORT_RAW_LIMIT: Final = 216  # raw bytes from which on the header is the long one

_COMPRESSED: Final = 0x01
_LONG_HEADER: Final = 0x02
_ALWAYS_SET: Final = 0x40
_SHORT: Final = struct.Struct("<BBB")
_LONG: Final = struct.Struct("<BII")

_ITEMS_PER_GROUP: Final = 31
_SENTINEL: Final = 1 << _ITEMS_PER_GROUP
_CONTROL_SIZE: Final = 4
_MIN_DATA_SIZE: Final = 9
_END_LITERALS: Final = 4  # bytes at the end of the raw data that no match may cover
_END_NO_START: Final = 11  # from here on the decoder takes nothing but literals
_MIN_DISTANCE: Final = 3  # the C decoder copies three bytes ahead of itself
_MAX_DISTANCE: Final = 0x1FFFF
_MAX_MATCH: Final = 258
_GROUP_SLACK: Final = bytes(_ITEMS_PER_GROUP * 4 + _CONTROL_SIZE)  # one group can read this far past the end
_SEARCH_DEPTH: Final = 16  # earlier places tried per position: the official size is beaten from 4 on


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """The first bytes of a block. Sizes in bytes; `block_size` counts the header too."""

    compressed: bool
    header_size: int
    block_size: int
    raw_size: int

    def pack(self) -> bytes:
        flags = _ALWAYS_SET | LEVEL << 2 | (_COMPRESSED if self.compressed else 0)
        if self.header_size == _SHORT.size:
            return _SHORT.pack(flags, self.block_size, self.raw_size)
        return _LONG.pack(flags | _LONG_HEADER, self.block_size, self.raw_size)


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


def decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block to at most `max_size` bytes. Bytes after the block are ignored, as the C decoder does.

    Raises `CodecError` for anything an encoder cannot have written, before more than `max_size` bytes exist.
    """
    header = read_header(block)
    if header.raw_size > max_size:
        raise CodecError(f"the QuickLZ block declares {header.raw_size} raw bytes, {max_size} are allowed")
    if header.block_size > len(block):
        raise CodecError(f"the QuickLZ block declares {header.block_size} bytes, {len(block)} are there")
    data = bytes(block[header.header_size : header.block_size])
    if header.compressed:
        return _decode(data, header.raw_size)
    if len(data) != header.raw_size:
        raise CodecError(
            f"the stored QuickLZ block declares {header.raw_size} raw bytes and holds {len(data)}"
        )
    return data


def _decode(data: bytes, raw_size: int) -> bytes:
    size = len(data)
    source = data + _GROUP_SLACK
    literals_from = raw_size - _END_NO_START
    match_end = raw_size - _END_LITERALS
    from_bytes = int.from_bytes
    out = bytearray()
    position = 0
    while len(out) < raw_size:
        if position + _CONTROL_SIZE > size:
            raise CodecError(f"the QuickLZ block ends after {len(out)} of {raw_size} raw bytes")
        control = from_bytes(source[position : position + _CONTROL_SIZE], "little")
        position += _CONTROL_SIZE
        if control < _SENTINEL:
            raise CodecError("a QuickLZ control word has no sentinel bit")
        while control != 1:
            if not control & 1:
                run = (control & -control).bit_length() - 1
                if len(out) + run > literals_from:
                    # One of these literals lies at or past the limit: control bits mean nothing any more.
                    return _copy_tail(out, data, position, control.bit_length() - 1, raw_size)
                out += source[position : position + run]
                position += run
                control >>= run
                continue
            control >>= 1
            first = source[position]
            kind = first & 3
            if kind == 0:
                distance = first >> 2
                length = 3
                position += 1
            elif kind == 1:
                distance = (first | source[position + 1] << 8) >> 2
                length = 3
                position += 2
            elif kind == 2:
                distance = (first | source[position + 1] << 8) >> 6
                length = (first >> 2 & 15) + 3
                position += 2
            elif first & 127 != 3:
                word = from_bytes(source[position : position + 3], "little")
                distance = word >> 7
                length = (word >> 2 & 31) + 2
                position += 3
            else:
                word = from_bytes(source[position : position + 4], "little")
                distance = word >> 15
                length = (word >> 7 & 255) + 3
                position += 4
            done = len(out)
            start = done - distance
            if distance < _MIN_DISTANCE or start < 0:
                raise CodecError(f"a QuickLZ match at {done} reaches {distance} bytes back")
            if done + length > match_end:
                raise CodecError(f"a QuickLZ match at {done} runs past the end of the block")
            if distance >= length:
                out += out[start : start + length]
            else:
                pattern = out[start:]
                out += (pattern * (length // distance + 1))[:length]
    return bytes(out)


def _copy_tail(out: bytearray, data: bytes, position: int, items: int, raw_size: int) -> bytes:
    """Finish with literals, of which the current group holds `items`.

    The run that led here comes within eleven bytes of the end, so no more than one control word lies ahead.
    """
    missing = raw_size - len(out)
    out += data[position : position + min(items, missing)]
    if missing > items:
        position += items + _CONTROL_SIZE
        out += data[position : position + missing - items]
    if len(out) < raw_size:
        raise CodecError(f"the QuickLZ block ends after {len(out)} of {raw_size} raw bytes")
    return bytes(out)


def compress(data: bytes) -> bytes:
    """Encode `data` as one block, stored when compression does not make it smaller."""
    data = bytes(data)
    header_size = (_SHORT if len(data) < SHORT_RAW_LIMIT else _LONG).size
    body = _encode(data)
    compressed = len(body) < len(data)
    if not compressed:
        # A literals-only block is longer than its raw data and overflows the buffers of real bootloaders
        # (rbl-format 3.4a).
        body = data
    return BlockHeader(compressed, header_size, header_size + len(body), len(data)).pack() + body


def _encode(data: bytes) -> bytes:
    size = len(data)
    starts_before = size - _END_NO_START
    match_end = size - _END_LITERALS
    previous = link_chains(data)
    out = bytearray()
    group = bytearray()
    control = 0
    items = 0
    position = 0
    while position < size:
        best_gain = 0
        token = b""
        step = 1
        if position < starts_before and previous[position] != NONE:
            for length, distance in find_matches(
                data,
                previous,
                position,
                min(match_end - position, _MAX_MATCH),
                depth=_SEARCH_DEPTH,
                nearest=_MIN_DISTANCE,
                farthest=_MAX_DISTANCE,
            ):
                written = _match_token(distance, length)
                gain = length - len(written)
                if gain >= best_gain:
                    best_gain, token, step = gain, written, length
        if token:
            control |= 1 << items
            group += token
        else:
            group.append(data[position])
        position += step
        items += 1
        if items == _ITEMS_PER_GROUP:
            out += (control | _SENTINEL).to_bytes(_CONTROL_SIZE, "little") + group
            group.clear()
            control = items = 0
    if items:
        # The decoder shifts the sentinel down as it goes, so it stays at bit 31 in an unfinished group too.
        out += (control | _SENTINEL).to_bytes(_CONTROL_SIZE, "little") + group
    return bytes(out).ljust(_MIN_DATA_SIZE, b"\0")


def _match_token(distance: int, length: int) -> bytes:
    """The shortest form of a match, little-endian (rbl-format 2.2)."""
    if length == 3 and distance < 1 << 6:
        return bytes((distance << 2,))
    if length == 3 and distance < 1 << 14:
        return (distance << 2 | 1).to_bytes(2, "little")
    if length <= 18 and distance < 1 << 10:
        return (distance << 6 | length - 3 << 2 | 2).to_bytes(2, "little")
    if length <= 33:
        return (distance << 7 | length - 2 << 2 | 3).to_bytes(3, "little")
    return (distance << 15 | length - 3 << 7 | 3).to_bytes(4, "little")
