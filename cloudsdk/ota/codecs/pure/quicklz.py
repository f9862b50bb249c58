"""QuickLZ 1.5.0, level 3, no streaming buffer: one block at a time (rbl-format 2.2)."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs.framing import frame
from cloudsdk.ota.codecs.pure.matches import MIN_MATCH, SKIP_SHIFT, common, hash_key, key_all
from cloudsdk.ota.codecs.quicklz_header import BlockHeader, read_header

_ITEMS_PER_GROUP: Final = 31
_SENTINEL: Final = 1 << _ITEMS_PER_GROUP
_CONTROL_SIZE: Final = 4
_MIN_DATA_SIZE: Final = 9
_END_LITERALS: Final = 4  # bytes at the end of the raw data that no match may cover
_END_NO_START: Final = 11  # from here on the decoder takes nothing but literals
_MIN_DISTANCE: Final = 3  # the C decoder copies three bytes ahead of itself
_MAX_DISTANCE: Final = 0x1FFFF
_MAX_MATCH: Final = 258
_HASH_BITS: Final = 11
_WAYS: Final = 4  # candidates kept for one hash, nearest first
_GROUP_SLACK: Final = bytes(_ITEMS_PER_GROUP * 4 + _CONTROL_SIZE)  # one group can read this far past the end


def decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block to at most `max_size` bytes. Bytes after the block are ignored, as the C decoder does.

    Raises `CodecError` for anything an encoder cannot have written, before more than `max_size` bytes exist.
    """
    header = read_header(block)
    header.check(len(block), max_size)
    data = bytes(block[header.header_size : header.block_size])
    return _decode(data, header.raw_size) if header.compressed else data


def decompress_front(body: bytes | bytearray, max_block_size: int) -> tuple[bytes, int]:
    """Decode some whole blocks at the front of a framed body: none, for all cost the same here."""
    return b"", 0


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
            raise faults.quicklz_ends(len(out), raw_size)
        control = from_bytes(source[position : position + _CONTROL_SIZE], "little")
        position += _CONTROL_SIZE
        if control < _SENTINEL:
            raise faults.quicklz_no_sentinel()
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
                raise faults.match_too_far("QuickLZ", done, distance)
            if done + length > match_end:
                raise faults.quicklz_match_past_end(done)
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
        raise faults.quicklz_ends(len(out), raw_size)
    return bytes(out)


def compress(data: bytes) -> bytes:
    """Encode `data` as one block, stored when compression does not make it smaller.

    Raises `CodecError` for more data than one header can state.
    """
    if len(data) > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("QuickLZ", len(data))
    data = bytes(data)
    body = _encode(data)
    compressed = len(body) < len(data)
    if not compressed:
        # A literals-only block is longer than its raw data and overflows the buffers of real bootloaders
        # (rbl-format 3.4a).
        body = data
    return BlockHeader.build(len(data), len(body), compressed=compressed).pack() + body


def compress_framed(raw: bytes, piece_size: int) -> bytes:
    """Encode `raw` in pieces of `piece_size` bytes, each block behind its length (rbl-format 2.1)."""
    return frame(raw, piece_size, compress)


def _encode(data: bytes) -> bytes:
    size = len(data)
    starts_before = size - _END_NO_START
    match_end = size - _END_LITERALS
    keys = key_all(data)
    table = [(0,) * _WAYS] * (1 << _HASH_BITS)
    out = bytearray()
    group = bytearray()
    control = 0
    items = 0
    position = literals_from = 0
    search_at = 1
    while position < size:
        step = 0
        if position == search_at and position < starts_before:
            key = keys[position]
            bucket = hash_key(key, _HASH_BITS)
            candidates = table[bucket]
            table[bucket] = (position, *candidates[:-1])
            if any(keys[candidate] == key for candidate in candidates):
                limit = min(match_end - position, _MAX_MATCH)
                step, token = _best_match(data, position, limit, candidates)
            search_at += 1 + (position - literals_from >> SKIP_SHIFT)
        if step:
            control |= 1 << items
            group += token
            for covered in (position + 1, position + 2):
                bucket = hash_key(keys[covered], _HASH_BITS)
                table[bucket] = (covered, *table[bucket][:-1])
            position += step
            search_at = literals_from = position
        else:
            group.append(data[position])
            position += 1
        items += 1
        if items == _ITEMS_PER_GROUP:
            out += (control | _SENTINEL).to_bytes(_CONTROL_SIZE, "little") + group
            group.clear()
            control = items = 0
    if items:
        # The decoder shifts the sentinel down as it goes, so it stays at bit 31 in an unfinished group too.
        out += (control | _SENTINEL).to_bytes(_CONTROL_SIZE, "little") + group
    return bytes(out).ljust(_MIN_DATA_SIZE, b"\0")


def _best_match(data: bytes, position: int, limit: int, candidates: tuple[int, ...]) -> tuple[int, bytes]:
    """Length and token of the match that saves most, of equal ones the longer; length 0 for none."""
    best_gain = best_length = 0
    best_token = b""
    length = MIN_MATCH - 1
    for candidate in candidates:
        distance = position - candidate
        if data[candidate + length] != data[position + length] or not (
            _MIN_DISTANCE <= distance <= _MAX_DISTANCE
        ):
            continue
        equal = common(data, candidate, position, limit)
        if equal > length:
            length = equal
            token = _match_token(distance, length)
            gain = length - len(token)
            if gain >= best_gain:
                best_gain, best_length, best_token = gain, length, token
            if length == limit:
                break
    return best_length, best_token


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
