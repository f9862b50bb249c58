"""FastLZ 0.1.0: decoder for levels 1 and 2, encoder for level 1 (rbl-format 2.3)."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs.fastlz_level import read_level
from cloudsdk.ota.codecs.framing import frame
from cloudsdk.ota.codecs.pure.matches import SKIP_SHIFT, common, hash_key, key_all

_LENGTH_SHIFT: Final = 5  # above the low bits of a control byte: literals as 0, or the length of a match
_LOW_BITS: Final = 0x1F
_MAX_RUN: Final = 32  # literals behind one control byte
_MATCH_BASE: Final = 3
_LONG_LENGTH: Final = 6  # a length field of this value is followed by more length
_MAX_MATCH: Final = _LONG_LENGTH + 255 + _MATCH_BASE
_MAX_DISTANCE: Final = 1 << 13
_FAR_OFFSET: Final = 0x1F00  # level 2: with a low byte of 255, a 16-bit distance follows
_FAR_DISTANCE: Final = 8191
_END_LITERALS: Final = 2
_END_NO_START: Final = 5  # a match starts so far before the end that the positions it links have a key
_HASH_BITS: Final = 13


def decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block of level 1 or 2 to at most `max_size` bytes.

    Raises `CodecError` for a block that is empty, cut short, of another level, longer than `max_size` when
    decoded, or that reaches back before its beginning.
    """
    level_2 = read_level(block) == 2
    try:
        return _decode(block, max_size, level_2)
    except IndexError:
        raise faults.fastlz_ends_in_match() from None


def decompress_front(body: bytes | bytearray, max_block_size: int) -> tuple[bytes, int]:
    """Decode some whole blocks at the front of a framed body: none, for all cost the same here."""
    return b"", 0


def _decode(block: bytes, max_size: int, level_2: bool) -> bytes:
    size = len(block)
    out = bytearray()
    control = block[0] & _LOW_BITS
    position = 1
    while True:
        done = len(out)
        if control < _MAX_RUN:
            end = position + control + 1
            if end > size:
                raise faults.fastlz_ends_in_literals()
            out += block[position:end]
            position = end
        else:
            length = (control >> _LENGTH_SHIFT) - 1
            if length == _LONG_LENGTH:
                more = 255
                while more == 255:
                    more = block[position]
                    position += 1
                    length += more
                    if not level_2:
                        break
            low = block[position]
            position += 1
            offset = (control & _LOW_BITS) << 8
            if level_2 and low == 255 and offset == _FAR_OFFSET:
                distance = (block[position] << 8 | block[position + 1]) + _FAR_DISTANCE + 1
                position += 2
            else:
                distance = offset + low + 1
            length += _MATCH_BASE
            start = done - distance
            if start < 0:
                raise faults.match_too_far("FastLZ", done, distance)
            if done + length > max_size:
                raise faults.fastlz_too_long(max_size)
            if distance >= length:
                out += out[start : start + length]
            else:
                pattern = out[start:]
                out += (pattern * (length // distance + 1))[:length]
        if len(out) > max_size:
            raise faults.fastlz_too_long(max_size)
        if position == size:
            return bytes(out)
        control = block[position]
        position += 1


def compress(data: bytes) -> bytes:
    """Encode `data` (not empty) as one level-1 block. Incompressible data grows by one byte in 32.

    Raises `CodecError` for empty data, which the format cannot express, and for more than 4 GiB.
    """
    if not data:
        raise faults.fastlz_empty_data()
    if len(data) > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("FastLZ", len(data))
    data = bytes(data)
    size = len(data)
    match_end = size - _END_LITERALS
    starts_before = size - _END_NO_START
    keys = key_all(data)
    table = [0] * (1 << _HASH_BITS)
    out = bytearray()
    literals_from = 0
    position = 1
    while position < starts_before:
        key = keys[position]
        bucket = hash_key(key, _HASH_BITS)
        candidate = table[bucket]
        table[bucket] = position
        distance = position - candidate
        if keys[candidate] != key or distance > _MAX_DISTANCE:
            position += 1 + (position - literals_from >> SKIP_SHIFT)
            continue
        length = common(data, candidate, position, min(match_end - position, _MAX_MATCH))
        _put_literals(out, data, literals_from, position)
        out += _match_token(distance, length)
        for covered in (position + 1, position + 2):
            table[hash_key(keys[covered], _HASH_BITS)] = covered
        position += length
        literals_from = position
    _put_literals(out, data, literals_from, size)
    return bytes(out)


def compress_framed(raw: bytes, piece_size: int) -> bytes:
    """Encode `raw` in pieces of `piece_size` bytes, each block behind its length (rbl-format 2.1)."""
    return frame(raw, piece_size, compress)


def _put_literals(out: bytearray, data: bytes, start: int, end: int) -> None:
    for run in range(start, end, _MAX_RUN):
        piece = data[run : min(run + _MAX_RUN, end)]
        out.append(len(piece) - 1)
        out += piece


def _match_token(distance: int, length: int) -> bytes:
    high, low = divmod(distance - 1, 256)
    code = length - _MATCH_BASE
    if code < _LONG_LENGTH:
        return bytes((code + 1 << _LENGTH_SHIFT | high, low))
    return bytes((_LONG_LENGTH + 1 << _LENGTH_SHIFT | high, code - _LONG_LENGTH, low))
