"""FNV-1a by the C core; the twin of `pure.fnv`."""

from typing import Final

from cloudsdk.ota.codecs._core import ffi, lib
from cloudsdk.ota.codecs.pure.fnv import FNV_SEED

_U32: Final = 0xFFFFFFFF


def fnv1a32(data: bytes | memoryview, value: int = FNV_SEED) -> int:
    """Hash `data`, going on from `value`: the seed, or the result for the bytes before it."""
    return lib.core_fnv1a32(ffi.from_buffer(data), len(data), value & _U32)
