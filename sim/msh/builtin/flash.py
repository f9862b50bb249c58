"""What `fal` and `sf` share: numbers, the hex dump, the benchmark (console 9)."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from cloudsdk import console
from cloudsdk.errors import FlashError
from sim.flash.fal import PartitionBoundsError
from sim.msh.commands import Context

ROW: Final = 16  # bytes in a row of a dump
#: How long the recorded W25Q128 took, in milliseconds for a MiB.
ERASE_MS: Final = 2817
WRITE_MS: Final = 3034
READ_MS: Final = 512
_MIB: Final = 1 << 20
_PATTERN: Final = b"\x55"
_MIN_CHUNK: Final = 4096  # bytes; smaller benchmark blocks are written several at a time
_MAX_DIGITS: Final = 12  # decimal; more than any number of 32 bits has
_LONG: Final = range(-(1 << 31), 1 << 31)
_NUMBER: Final = re.compile(r"[ \t]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class Region(Protocol):
    """A partition or a device."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def erase(self, offset: int, length: int) -> None: ...


def transfer(
    context: Context,
    operation: str,
    values: Sequence[int],
    region: Region,
    say: Callable[[str, int, int, str], None],
    *,
    text: bool,
) -> None:
    """`read`, `write` or `erase` with its numbers; `say(what, address, size, more)` prints the success."""
    address = values[0]
    if operation == "write":
        data = bytes(value & 0xFF for value in values[1:])
        region.write(address, data)
        say("Write", address, len(data), "")
        context.write(f"Write data: {''.join(f'{byte} ' for byte in data)}.\n")
        return
    size = values[1]
    if operation == "erase":
        region.erase(address, size)
        say("Erase", address, size, "")
    elif can_allocate(context, size):
        data = region.read(address, size)
        say("Read", address, size, " The data is:")
        context.write(dump(address, data, text=text))


def number(text: str) -> int:
    """What `strtol(text, NULL, 0)` gives on a 32-bit machine: 0 without a number, else the nearest it has."""
    match = _NUMBER.match(text)
    if match is None:
        return 0
    digits = match[2].lower()
    if digits.startswith("0"):
        value = int(digits.removeprefix("0x"), 16 if digits.startswith("0x") else 8)
    else:
        value = int(digits[:_MAX_DIGITS])
    return max(_LONG.start, min(-value if match[1] == "-" else value, _LONG.stop - 1))


def dump(address: int, data: bytes, *, text: bool) -> str:
    """A hex dump with an empty line at its end, maybe with a column of `text`."""
    lines = ["Offset (h) " + " ".join(f"{column:02X}" for column in range(ROW))]
    for offset in range(0, len(data), ROW):
        row = data[offset : offset + ROW]
        cells = "".join(f"{byte:02X} " for byte in row)
        if text:
            shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
            cells = f"{cells:<{3 * ROW}}{shown}"
        lines.append(f"[{(address + offset) & 0xFFFFFFFF:08X}] {cells}")
    return "".join(line + "\n" for line in [*lines, ""])


def can_allocate(context: Context, size: int) -> bool:
    """Whether the heap has `size` bytes; if not it says so, as the commands do."""
    if 0 <= size <= context.board.kernel.memory.available:
        return True
    context.write("Low memory!\n")
    return False


def console_line(error: FlashError) -> str:
    """The line FAL prints for a refused operation, in the application's colour; nothing for a driver's."""
    if isinstance(error, PartitionBoundsError):
        return f"\x1b[31;22m{error.console}{console.RESET}\n"
    return ""


def bench(context: Context, region: Region, block: int) -> Iterator[int]:
    """Erase, write and read the whole of `region`, `block` bytes at a time. Raises `FlashError`."""
    size = region.size
    chunk = block * max(1, _MIN_CHUNK // block)
    context.kprintf("Erasing %d bytes data, waiting...\n", size)
    region.erase(0, size)
    yield from _pass(context, "Erase", ERASE_MS, size)
    context.kprintf("Writing %d bytes data, waiting...\n", size)
    for offset in range(0, size, chunk):
        region.write(offset, _PATTERN * min(chunk, size - offset))
    yield from _pass(context, "Write", WRITE_MS, size)
    context.kprintf("Reading %d bytes data, waiting...\n", size)
    for offset in range(0, size, chunk):
        region.read(offset, min(chunk, size - offset))
    yield from _pass(context, "Read", READ_MS, size)


def _pass(context: Context, name: str, rate_ms: int, size: int) -> Iterator[int]:
    took = size * rate_ms // _MIB
    yield took
    context.kprintf("%s benchmark success, total time: %d.%03dS.\n", name, took // 1000, took % 1000)
