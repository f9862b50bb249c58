"""QuickLZ by the C core; the twin of `pure.quicklz`, byte for byte and error for error."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs._calls import bind
from cloudsdk.ota.codecs._core import ffi, lib
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.codecs.native.buffers import BUFFER_SIZE, free_buffers, new_buffer
from cloudsdk.ota.codecs.quicklz_header import read_header
from cloudsdk.ota.errors import CodecError

_unpack: Final = ffi.unpack
_decode: Final = lib.core_quicklz_decode
_encode: Final = lib.core_quicklz_encode
_bound: Final = lib.core_quicklz_bound


def _decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block to at most `max_size` bytes. Bytes after the block are ignored, as the C decoder does.

    Raises `CodecError` for anything an encoder cannot have written, before more than `max_size` bytes exist.
    """
    if type(block) is not bytes:
        block = bytes(block)
    header = read_header(block)
    header.check(len(block), max_size)
    raw_size = header.raw_size
    out = new_buffer(raw_size)
    fault = ffi.new("core_fault *")
    size = _decode(block, len(block), out, raw_size, fault)
    if size < 0:
        raise _error(size, fault.at, fault.distance, raw_size)
    return _unpack(out, size)


decompress: Final = bind("quicklz_decompress", _decompress)


def _error(code: int, at: int, distance: int, raw_size: int) -> CodecError:
    if code == lib.CORE_E_SENTINEL:
        return faults.quicklz_no_sentinel()
    if code == lib.CORE_E_DISTANCE:
        return faults.match_too_far("QuickLZ", at, distance)
    if code == lib.CORE_E_PAST_END:
        return faults.quicklz_match_past_end(at)
    return faults.quicklz_ends(at, raw_size)


def decompress_front(body: bytes | bytearray, max_block_size: int) -> tuple[bytes, int]:
    """Decode some whole blocks at the front of a framed body in one call of the core.

    It stops before the first block that is not whole, not right, above `max_block_size` bytes or too much for
    one call. Returns what was decoded, and how many bytes of `body` it came from.
    """
    used = ffi.new("size_t *")
    try:
        out = free_buffers.pop()
    except IndexError:
        out = new_buffer()
    size = lib.core_quicklz_decode_front(
        ffi.from_buffer(body), len(body), max_block_size, out, BUFFER_SIZE, used
    )
    raw = _unpack(out, size)
    free_buffers.append(out)
    return raw, used[0]


def _compress(data: bytes) -> bytes:
    """Encode `data` as one block, stored when compression does not make it smaller.

    Raises `CodecError` for more data than one header can state.
    """
    if type(data) is not bytes:
        data = bytes(data)
    raw_size = len(data)
    if raw_size > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("QuickLZ", raw_size)
    capacity = _bound(raw_size)
    out = new_buffer(capacity)
    return _unpack(out, _encode(data, raw_size, out, capacity))


compress: Final = bind("quicklz_compress", _compress)


def compress_framed(raw: bytes, piece_size: int) -> bytes:
    """Encode `raw` in pieces of `piece_size` bytes, each block behind its length (rbl-format 2.1)."""
    raw = bytes(raw)
    raw_size = len(raw)
    pieces = -(-raw_size // piece_size)
    capacity = pieces * (BLOCK_LENGTH.size + _bound(min(piece_size, raw_size)))
    out = new_buffer(capacity)
    return _unpack(out, lib.core_quicklz_encode_framed(raw, raw_size, piece_size, out, capacity))
