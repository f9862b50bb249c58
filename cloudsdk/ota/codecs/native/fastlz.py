"""FastLZ by the C core; the twin of `pure.fastlz`, byte for byte and error for error."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs._core import ffi, lib
from cloudsdk.ota.codecs.fastlz_level import read_level
from cloudsdk.ota.codecs.native.buffers import (
    BUFFER_SIZE,
    LINK_COUNT,
    free_buffers,
    free_links,
    new_buffer,
    new_links,
)
from cloudsdk.ota.errors import CodecError

_NULL: Final = ffi.NULL
_buffer: Final = ffi.buffer
_decode: Final = lib.core_fastlz_decode
_encode: Final = lib.core_fastlz_encode
_GROWTH: Final = 4  # how much larger each next buffer is, for a block that states no size


def decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block of level 1 or 2 to at most `max_size` bytes.

    Raises `CodecError` for a block that is empty, cut short, of another level, longer than `max_size` when
    decoded, or that reaches back before its beginning.
    """
    try:
        out = free_buffers.pop()
    except IndexError:
        out = new_buffer()
    size = _decode(block, len(block), out, BUFFER_SIZE, _NULL)
    if 0 <= size <= max_size:
        raw: bytes = _buffer(out, size)[:]
        free_buffers.append(out)
        return raw
    free_buffers.append(out)
    return _decode_large_or_bad(block, max_size)


def _decode_large_or_bad(block: bytes, max_size: int) -> bytes:
    read_level(block)
    capacity = 0
    fault = ffi.new("core_fault *")
    size = lib.CORE_E_CAPACITY
    while size == lib.CORE_E_CAPACITY and capacity < max_size:
        capacity = min(max_size, max(BUFFER_SIZE, capacity * _GROWTH))
        out = new_buffer(capacity)
        size = _decode(block, len(block), out, capacity, fault)
    if size < 0:
        raise _error(size, fault.at, fault.distance, max_size)
    raw: bytes = _buffer(out, size)[:]
    return raw


def _error(code: int, at: int, distance: int, max_size: int) -> CodecError:
    if code == lib.CORE_E_LITERALS:
        return faults.fastlz_ends_in_literals()
    if code == lib.CORE_E_MATCH:
        return faults.fastlz_ends_in_match()
    if code == lib.CORE_E_DISTANCE:
        return faults.match_too_far("FastLZ", at, distance)
    return faults.fastlz_too_long(max_size)


def compress(data: bytes) -> bytes:
    """Encode `data` (not empty) as one level-1 block. Incompressible data grows by one byte in 32.

    Raises `CodecError` for empty data, which the format cannot express, and for more than 4 GiB.
    """
    raw_size = len(data)
    if 0 < raw_size <= LINK_COUNT:
        try:
            out = free_buffers.pop()
        except IndexError:
            out = new_buffer()
        try:
            links = free_links.pop()
        except IndexError:
            links = new_links()
        size = _encode(data, raw_size, out, BUFFER_SIZE, links, LINK_COUNT)
        block: bytes = _buffer(out, size)[:]
        free_links.append(links)
        free_buffers.append(out)
        return block
    if not raw_size:
        raise faults.fastlz_empty_data()
    if raw_size > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("FastLZ", raw_size)
    capacity = lib.core_fastlz_bound(raw_size)
    out = new_buffer(capacity)
    size = _encode(data, raw_size, out, capacity, new_links(raw_size), raw_size)
    block = _buffer(out, size)[:]
    return block
