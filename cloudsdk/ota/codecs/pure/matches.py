"""What both encoders need to find matches.

A table keeps positions by the hash of the three bytes there. An empty place names position 0, a candidate as
good as any other, so that nothing has to be told apart; the search therefore begins at position 1.
"""

from typing import Final

MIN_MATCH: Final = 3  # bytes
SKIP_SHIFT: Final = 6  # after each 64 literals in a row the search takes longer steps

_HASH_FACTOR: Final = 0x9E3779B1  # a prime near 2**32 divided by the golden ratio: it spreads every bit
_U32: Final = 0xFFFFFFFF


def key_all(data: bytes) -> list[int]:
    """The three bytes at each position of `data` but the last two, as one number."""
    return [a | b << 8 | c << 16 for a, b, c in zip(data, data[1:], data[2:], strict=False)]


def hash_key(key: int, bits: int) -> int:
    return (key * _HASH_FACTOR & _U32) >> 32 - bits


def common(data: bytes, there: int, here: int, limit: int) -> int:
    """How many of the first `limit` bytes at two positions of `data` are equal."""
    from_bytes = int.from_bytes
    differing = from_bytes(data[there : there + limit], "little") ^ from_bytes(
        data[here : here + limit], "little"
    )
    # The lowest bit that differs lies in the first byte that differs.
    return (differing & -differing).bit_length() - 1 >> 3 if differing else limit
