"""The shape of a flash device: where it sits, and in which units it erases and programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from typing import ClassVar, Final

from cloudsdk.errors import FlashError

MAX_DEVICE_SIZE: Final = 256 * 1024 * 1024  # bytes; bounds what a layout can make us allocate


class GeometryError(FlashError):
    """Sizes that no flash part can have."""

    code: ClassVar[str] = "flash.geometry"


class Reprogram(StrEnum):
    """What a part allows for cells that were programmed since the last erase."""

    CLEAR = "clear"  # further bits may be cleared
    ZERO = "zero"  # a program unit may be programmed once, after that only to all zeros


@dataclass(frozen=True, slots=True)
class FlashTiming:
    """Typical times of a part in nanoseconds.

    `program_ns` is one page program of any length. `erase_ns` has (bytes, time) for each erase command. Zero
    and missing: the part takes no time.
    """

    read_ns_per_byte: int = 0
    program_ns: int = 0
    erase_ns: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if min(self.read_ns_per_byte, self.program_ns, *(min(pair) for pair in self.erase_ns), 0) < 0:
            raise GeometryError(f"flash timing has a negative number: {self}")


@dataclass(frozen=True, slots=True)
class FlashGeometry:
    """One flash device. All sizes are bytes.

    `address` is the bus address of its first byte (0 for a device behind SPI), `block_size` the smallest
    erasable unit, `page_size` the most that one program operation takes, `program_unit` the write
    granularity. The STM32L4 programs double words, so its page is one unit of 8 bytes.

    `regions` gives (count, size) of the erase blocks in ascending order where they differ; without it all are
    of `block_size`. `erase_sizes` are the larger erase commands of a part with uniform blocks, ascending.
    `endurance` is the number of erases that a block survives, None where nobody says. `part` names the part
    that the facts come from. Raises `GeometryError`.
    """

    name: str
    address: int
    size: int
    block_size: int
    page_size: int
    program_unit: int
    regions: tuple[tuple[int, int], ...] = ()
    erase_sizes: tuple[int, ...] = ()
    timing: FlashTiming = FlashTiming()
    endurance: int | None = None
    reprogram: Reprogram = Reprogram.CLEAR
    part: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.size <= MAX_DEVICE_SIZE:
            raise self._error(f"size {self.size} is not 1 to {MAX_DEVICE_SIZE} bytes")
        if self.address < 0:
            raise self._error(f"address must not be negative, it is {self.address}")
        for unit, whole in (
            ("block_size", "size"),
            ("page_size", "block_size"),
            ("program_unit", "page_size"),
        ):
            small, large = getattr(self, unit), getattr(self, whole)
            if small <= 0 or large % small:
                raise self._error(f"{unit} {small} does not divide {whole} {large}")
        if self.regions:
            self._check_regions()
        smaller = self.block_size
        for size in self.erase_sizes:
            if size <= smaller or size % smaller:
                raise self._error(f"erase_sizes: {size} is no multiple of the next smaller {smaller}")
            smaller = size
        if self.endurance is not None and self.endurance <= 0:
            raise self._error(f"endurance {self.endurance} is not a positive number of erases")

    def _check_regions(self) -> None:
        if self.erase_sizes:
            raise self._error("erase_sizes are for uniform blocks, not for regions")
        for count, size in self.regions:
            if count <= 0 or size <= 0 or size % self.page_size:
                raise self._error(
                    f"no region of {count} blocks of {size} bytes with {self.page_size}-byte pages"
                )
        covered = sum(count * size for count, size in self.regions)
        if covered != self.size:
            raise self._error(f"regions have {covered} bytes of {self.size}")
        smallest = min(size for _, size in self.regions)
        if smallest != self.block_size:
            raise self._error(f"block_size {self.block_size} is not the smallest block {smallest}")

    def _error(self, text: str) -> GeometryError:
        return GeometryError(f"device {self.name!r}: {text}")

    def block_at(self, offset: int) -> tuple[int, int]:
        """Start and length of the erase block that holds `offset`, a byte of the device."""
        if not self.regions:
            return offset - offset % self.block_size, self.block_size
        start = size = 0
        for count, size in self.regions:
            if offset < start + count * size:
                break
            start += count * size
        return offset - (offset - start) % size, size

    def largest_block(self, offset: int, length: int) -> int:
        """Length of the largest erase block that [offset, offset + length) touches."""
        if not self.regions:
            return self.block_size
        return max(size for _, size in self.blocks(offset, length))

    def erase_commands(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Start and length of each erase command for [offset, offset + length), ascending.

        As SFUD does: the largest command that begins here and does not reach beyond the range; where none
        fits, the block.
        """
        return (
            self._largest_commands(offset, offset + length)
            if self.erase_sizes
            else self.blocks(offset, length)
        )

    def _largest_commands(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        while offset < end:
            start, size = self.block_at(offset)
            for larger in self.erase_sizes:
                if offset % larger == 0 and offset + larger <= end:
                    size = larger
            yield start, size
            offset = start + size

    def blocks(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Start and length of every erase block that [offset, offset + length) touches, ascending."""
        if self.regions or not length:
            return self._blocks_of_regions(offset, offset + length)
        return zip(
            range(offset - offset % self.block_size, offset + length, self.block_size),
            repeat(self.block_size),
            strict=False,
        )

    def _blocks_of_regions(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        while offset < end:
            start, size = self.block_at(offset)
            yield start, size
            offset = start + size

    def touched(self, offset: int, length: int) -> tuple[int, int]:
        """Start and length of the range made of all erase blocks that [offset, offset + length) touches."""
        start, _ = self.block_at(offset)
        last, size = self.block_at(offset + length - 1)
        return start, last + size - start

    def pages(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """[offset, offset + length) cut at page boundaries: start and length of each program operation."""
        end = offset + length
        while offset < end:
            size = min(self.page_size - offset % self.page_size, end - offset)
            yield offset, size
            offset += size
