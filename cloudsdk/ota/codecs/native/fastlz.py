"""FastLZ by the C core; the twin of `pure.fastlz`, byte for byte and error for error."""

from typing import Final

from cloudsdk.ota.codecs import faults
from cloudsdk.ota.codecs._calls import bind
from cloudsdk.ota.codecs._core import ffi, lib
from cloudsdk.ota.codecs.fastlz_level import read_level
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.codecs.native.buffers import BUFFER_SIZE, free_buffers, new_buffer
from cloudsdk.ota.errors import CodecError

_unpack: Final = ffi.unpack
_decode: Final = lib.core_fastlz_decode
_encode: Final = lib.core_fastlz_encode
_bound: Final = lib.core_fastlz_bound
_GROWTH: Final = 4  # how much larger each next buffer is


def _decompress(block: bytes, max_size: int) -> bytes:
    """Decode one block of level 1 or 2 to at most `max_size` bytes.

    Raises `CodecError` for a block that is empty, cut short, of another level, longer than `max_size` when
    decoded, or that reaches back before its beginning.
    """
    if type(block) is not bytes:
        block = bytes(block)
    read_level(block)
    fault = ffi.new("core_fault *")
    capacity = 0
    while True:  # a block does not state its raw size: try larger and larger buffers
        capacity = max(0, min(max_size, max(BUFFER_SIZE, capacity * _GROWTH)))
        out = new_buffer(capacity)
        size = _decode(block, len(block), out, capacity, fault)
        if size != lib.CORE_E_CAPACITY or capacity >= max_size:
            break
    if size < 0:
        raise _error(size, fault.at, fault.distance, max_size)
    return _unpack(out, size)


decompress: Final = bind("fastlz_decompress", _decompress)


def _error(code: int, at: int, distance: int, max_size: int) -> CodecError:
    if code == lib.CORE_E_LITERALS:
        return faults.fastlz_ends_in_literals()
    if code == lib.CORE_E_MATCH:
        return faults.fastlz_ends_in_match()
    if code == lib.CORE_E_DISTANCE:
        return faults.match_too_far("FastLZ", at, distance)
    return faults.fastlz_too_long(max_size)


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
    size = lib.core_fastlz_decode_front(
        ffi.from_buffer(body), len(body), max_block_size, out, BUFFER_SIZE, used
    )
    raw = _unpack(out, size)
    free_buffers.append(out)
    return raw, used[0]


def _compress(data: bytes) -> bytes:
    """Encode `data` (not empty) as one level-1 block. Incompressible data grows by one byte in 32.

    Raises `CodecError` for empty data, which the format cannot express, and for more than 4 GiB.
    """
    if type(data) is not bytes:
        data = bytes(data)
    raw_size = len(data)
    if not raw_size:
        raise faults.fastlz_empty_data()
    if raw_size > faults.MAX_RAW_SIZE:
        raise faults.raw_too_large("FastLZ", raw_size)
    capacity = _bound(raw_size)
    out = new_buffer(capacity)
    return _unpack(out, _encode(data, raw_size, out, capacity))


compress: Final = bind("fastlz_compress", _compress)


def compress_framed(raw: bytes, piece_size: int) -> bytes:
    """Encode `raw` in pieces of `piece_size` bytes, each block behind its length (rbl-format 2.1)."""
    raw = bytes(raw)
    raw_size = len(raw)
    pieces = -(-raw_size // piece_size)
    capacity = pieces * (BLOCK_LENGTH.size + _bound(min(piece_size, raw_size)))
    out = new_buffer(capacity)
    return _unpack(out, lib.core_fastlz_encode_framed(raw, raw_size, piece_size, out, capacity))
