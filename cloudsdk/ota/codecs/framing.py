"""Blocks in a body: each stands alone, behind its length (rbl-format 2.1)."""

import struct
from collections.abc import Callable
from typing import Final

BLOCK_LENGTH: Final = struct.Struct(">I")  # before each block, counting the block alone


def frame(raw: bytes, piece_size: int, compress: Callable[[bytes], bytes]) -> bytes:
    """`raw` in pieces of `piece_size` bytes, each encoded by `compress` and behind its length."""
    body = bytearray()
    for start in range(0, len(raw), piece_size):
        block = compress(raw[start : start + piece_size])
        body += BLOCK_LENGTH.pack(len(block)) + block
    return bytes(body)
