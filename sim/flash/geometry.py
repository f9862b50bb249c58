"""The shape of a flash device: where it sits, and in which units it erases and programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from cloudsdk.errors import FlashError

MAX_DEVICE_SIZE: Final = 256 * 1024 * 1024  # bytes; bounds what a layout can make us allocate


class GeometryError(FlashError):
    """Sizes that no flash part can have."""

    code: ClassVar[str] = "flash.geometry"


@dataclass(frozen=True, slots=True)
class FlashGeometry:
    """One flash device. All sizes are bytes.

    `address` is the bus address of its first byte (0 for a device behind SPI), `block_size` the smallest
    erasable unit, `page_size` the most that one program operation takes, `program_unit` the write
    granularity. The STM32L4 programs double words, so its page is one unit of 8 bytes. Raises
    `GeometryError`.
    """

    name: str
    address: int
    size: int
    block_size: int
    page_size: int
    program_unit: int

    def __post_init__(self) -> None:
        if not 0 < self.size <= MAX_DEVICE_SIZE:
            raise GeometryError(f"device {self.name!r}: size {self.size} is not 1 to {MAX_DEVICE_SIZE} bytes")
        if self.address < 0:
            raise GeometryError(f"device {self.name!r}: address must not be negative, it is {self.address}")
        for unit, whole in (
            ("block_size", "size"),
            ("page_size", "block_size"),
            ("program_unit", "page_size"),
        ):
            small, large = getattr(self, unit), getattr(self, whole)
            if small <= 0 or large % small:
                raise GeometryError(f"device {self.name!r}: {unit} {small} does not divide {whole} {large}")

    def block_at(self, offset: int) -> tuple[int, int]:
        """Start and length of the erase block that holds `offset`.

        The only place that knows the blocks to be of one size.
        """
        return offset - offset % self.block_size, self.block_size

    def blocks(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Start and length of every erase block that [offset, offset + length) touches, ascending."""
        end = offset + length
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
