"""QuickLZ by the C core; the twin of `pure.quicklz`, byte for byte and error for error."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs._core import ffi, lib
from cloudsdk.ota.codecs.native.buffers import (
    BUFFER_SIZE,
    LINK_COUNT,
    free_buffers,
    free_links,
    new_buffer,
    new_links,
)
from cloudsdk.ota.codecs.quicklz_header import read_header
from cloudsdk.ota.errors import CodecError

_NULL: Final = ffi.NULL
_buffer: Final = ffi.buffer
_decode: Final = lib.core_quicklz_decode
_encode: Final = lib.core_quicklz_encode
_ENCODER_SLACK: Final = lib.core_quicklz_bound(0)


def decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block to at most `max_size` bytes. Bytes after the block are ignored, as the C decoder does.

    Raises `CodecError` for anything an encoder cannot have written, before more than `max_size` bytes exist.
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
    header = read_header(block)
    header.check(len(block), max_size)
    raw_size = header.raw_size
    out = new_buffer(raw_size)
    fault = ffi.new("core_fault *")
    size = _decode(block, len(block), out, raw_size, fault)
    if size < 0:
        raise _error(size, fault.at, fault.distance, raw_size)
    raw: bytes = _buffer(out, size)[:]
    return raw


def _error(code: int, at: int, distance: int, raw_size: int) -> CodecError:
    if code == lib.CORE_E_SENTINEL:
        return faults.quicklz_no_sentinel()
    if code == lib.CORE_E_DISTANCE:
        return faults.match_too_far("QuickLZ", at, distance)
    if code == lib.CORE_E_PAST_END:
        return faults.quicklz_match_past_end(at)
    return faults.quicklz_ends(at, raw_size)


def compress(data: bytes) -> bytes:
    """Encode `data` as one block, stored when compression does not make it smaller.

    Raises `CodecError` for more data than one header can state.
    """
    raw_size = len(data)
    if raw_size <= LINK_COUNT:
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
    if raw_size > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("QuickLZ", raw_size)
    capacity = raw_size + _ENCODER_SLACK
    out = new_buffer(capacity)
    size = _encode(data, raw_size, out, capacity, new_links(raw_size), raw_size)
    block = _buffer(out, size)[:]
    return block
