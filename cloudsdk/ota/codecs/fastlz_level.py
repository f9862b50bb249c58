"""Where a FastLZ block states its level (rbl-format 2.3)."""

from typing import Final

from cloudsdk.ota.errors import CodecError

_LEVEL_SHIFT: Final = 5  # the level sits in the top three bits of the first byte, level 1 as 0


def read_level(block: bytes) -> int:
    """The level of `block`, 1 or 2. Raises `CodecError` for an empty block and for any other level."""
    if not block:
        raise CodecError("the FastLZ block is empty: the package is damaged or the key is wrong")
    level = (block[0] >> _LEVEL_SHIFT) + 1
    if level > 2:
        raise CodecError(f"the FastLZ block has level {level}, there are 1 and 2: the package is damaged")
    return level
