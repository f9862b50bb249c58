"""FNV-1a, 32 bits: the hash that official packages keep of the raw firmware (rbl-format 1)."""

from typing import Final

FNV_SEED: Final = 0x811C9DC5
FNV_PRIME: Final = 0x01000193
_U32: Final = 0xFFFFFFFF


def fnv1a32(data: bytes | memoryview, value: int = FNV_SEED) -> int:
    """Hash `data`, going on from `value`: the seed, or the result for the bytes before it."""
    prime, mask = FNV_PRIME, _U32
    quads = iter(data)
    # Bits above 31 never flow down, so one mask per four bytes is enough (a quarter faster than one each).
    for a, b, c, d in zip(quads, quads, quads, quads, strict=False):
        value = ((((value ^ a) * prime ^ b) * prime ^ c) * prime ^ d) * prime & mask
    for byte in data[len(data) & ~3 :]:
        value = (value ^ byte) * prime & mask
    return value
