"""Generated sample firmware: what a compiler and a file system tool could have made, from nothing but a seed.

The images have the shape that matters to a bootloader: a Cortex-M vector table linked for the application
partition, code-like and text-like content that compresses as real firmware does. The same arguments give the
same bytes.
"""

import random
import struct
from typing import Final

_STACK_TOP: Final = 0x20018000  # end of the STM32L475's SRAM1
_VECTORS: Final = 98  # entries of the STM32L4 vector table
_HANDLERS: Final = 12
#: Where the recorded bootloader keeps its FAL partition table, in bytes from its start (rbl-format 4).
TABLE_OFFSET: Final = 0x8F9C


def application(version: str, *, link_address: int, size: int = 100_000) -> bytes:
    """An application of `size` bytes for `link_address`, with its version in a string as firmware has it."""
    random_source = random.Random(f"application {version} {size}")
    handlers = [link_address + 0x189 + 24 * index for index in range(_HANDLERS)]
    vectors = [_STACK_TOP, handlers[0]]
    vectors += [random_source.choice(handlers) for _ in range(_VECTORS - len(vectors))]
    banner = f"The current version of APP firmware is {version}\0".encode()
    head = struct.pack(f"<{_VECTORS}I", *vectors) + banner.ljust(64, b"\0")
    return head + _code(random_source, size - len(head))


def bootloader(table: bytes, *, size: int = 0xA000) -> bytes:
    """A bootloader of `size` bytes with the binary FAL partition table where the recorded one has it."""
    random_source = random.Random(f"bootloader {size}")
    vectors = struct.pack("<4I", 0x20001000, 0x08000189, 0x080001A1, 0x080001A3)
    image = bytearray(vectors + _code(random_source, size - len(vectors)))
    image[TABLE_OFFSET : TABLE_OFFSET + len(table)] = table
    return bytes(image[:size])


def filesystem(version: str, *, size: int = 163_840) -> bytes:
    """A file system image of `size` bytes: a file in each 4 KiB chunk, the last quarter erased."""
    random_source = random.Random(f"filesystem {version} {size}")
    words = [f"{random_source.randrange(1 << 20):x}" for _ in range(600)] + ["<td>", "</td>", "true", "false"]
    image = bytearray()
    while len(image) < size * 3 // 4:
        name = f"/www/file{len(image) // 4096}\0version={version}\n".encode()
        text = " ".join(random_source.choices(words, k=random_source.randrange(200, 700))).encode()
        binary = random_source.randbytes(random_source.choice((0, 512, 2048)))
        image += (name + text + binary).ljust(4096, b"\xff")[:4096]
    return bytes(image[:size].ljust(size, b"\xff"))


def _code(random_source: random.Random, size: int) -> bytes:
    """Half-words drawn from a small instruction vocabulary, with literals and zero runs in between."""
    vocabulary = [random_source.randrange(0x10000) for _ in range(160)]
    words = bytearray()
    while len(words) < size:
        run = random_source.choices(vocabulary, k=random_source.randrange(4, 24))
        words += struct.pack(f"<{len(run)}H", *run)
        words += random_source.randbytes(random_source.choice((0, 2, 4, 8)))
        words += bytes(random_source.choice((0, 0, 0, 16)))
    return bytes(words[:size])
