"""The flash the SDK is given: FAL partitions (Flash Abstraction Layer), reduced to what it uses.

Offsets and lengths are bytes from the start of the partition. An erased byte reads 0xFF; a write can only
clear bits (the result is old AND new); erase works on whole blocks of `block_size`.
"""

from typing import Protocol


class Partition(Protocol):
    """One FAL partition. Every method raises `FlashError` for a range outside the partition."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Length of the partition in bytes."""
        ...

    @property
    def block_size(self) -> int:
        """Smallest erasable unit in bytes."""
        ...

    @property
    def program_unit(self) -> int:
        """Write granularity in bytes. 1: a cell may be programmed again as long as that only clears bits."""
        ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def erase(self, offset: int, length: int) -> None:
        """Erase all blocks that [offset, offset + length) touches."""
        ...


class PartitionTable(Protocol):
    """The board's partitions by name."""

    def find(self, name: str) -> Partition | None: ...
