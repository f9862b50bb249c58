"""A NOR flash device: a program clears bits, an erase sets whole blocks to 0xFF."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from cloudsdk.errors import FlashError, OutOfBoundsError
from sim.flash.geometry import FlashGeometry
from sim.flash.pages import MemoryPages, PageStore
from sim.flash.power import CutMoment, FlashOperation, PowerSupply


class UnalignedWriteError(FlashError):
    """A write that does not start on a boundary of the part's program unit."""

    code: ClassVar[str] = "flash.unaligned"


@dataclass(slots=True)
class FlashStatistics:
    """Live counters of one device since it was built."""

    reads: int = 0
    bytes_read: int = 0
    programs: int = 0  # page programs
    bytes_programmed: int = 0
    dirty_programs: int = 0  # page programs over cells that were not erased
    lost_programs: int = 0  # page programs that could not store their data: a 1 over a 0
    block_erases: int = 0


class NorFlash:
    """An emulated device over a page store. Offsets and lengths are bytes from the start of the device.

    A program gives old AND new; one over cells that are not erased is counted as dirty. Every method raises
    `OutOfBoundsError` for a range outside the device and `PowerCut` when the supply is or goes off.
    """

    def __init__(
        self, geometry: FlashGeometry, pages: PageStore | None = None, power: PowerSupply | None = None
    ) -> None:
        if pages is not None and pages.size != geometry.size:
            raise FlashError(
                f"content of {pages.size} bytes given for device {geometry.name!r} of {geometry.size} bytes"
            )
        self.geometry = geometry
        self.power = power or PowerSupply()
        self.statistics = FlashStatistics()
        self._pages = pages or MemoryPages(geometry.size)
        self._wear: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"NorFlash({self.geometry!r})"

    @property
    def name(self) -> str:
        return self.geometry.name

    @property
    def size(self) -> int:
        """Length of the device in bytes."""
        return self.geometry.size

    def wear(self, offset: int) -> int:
        """How many times the block that holds `offset` was erased."""
        return self._wear[self.geometry.block_at(offset)[0]]

    def read(self, offset: int, length: int) -> bytes:
        self._require_inside("read", offset, length)
        self.power.require_on()
        self.statistics.reads += 1
        self.statistics.bytes_read += length
        return self._pages.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Program `data`, page by page. A last partial program unit is padded with 0xFF, which changes
        nothing.

        Raises `UnalignedWriteError` unless `offset` is a multiple of the program unit.
        """
        self._require_inside("write", offset, len(data))
        if offset % self.geometry.program_unit:
            raise UnalignedWriteError(
                f"{self.name} is programmed in units of {self.geometry.program_unit} bytes; "
                f"a write cannot start at {offset:#x}"
            )
        if data:
            self._perform(FlashOperation(self.name, "write", offset, len(data), bytes(data)))

    def erase(self, offset: int, length: int) -> None:
        """Set all blocks that [offset, offset + length) touches to 0xFF."""
        self._require_inside("erase", offset, length)
        if length:
            self._perform(FlashOperation(self.name, "erase", offset, length))

    def carry_out(self, operation: FlashOperation, moment: CutMoment) -> None:
        """Leave what a loss of power at `moment` of `operation` leaves, whatever the supply says.

        A laboratory makes the state behind a cut with it, without running up to the cut again.
        """
        start, extent = self._extent(operation)
        self._do(operation, start, self.power.done(extent, moment))

    def _extent(self, operation: FlashOperation) -> tuple[int, int]:
        """Start and length in bytes of what the operation changes."""
        if operation.op == "erase":
            return self.geometry.touched(operation.offset, operation.length)
        return operation.offset, operation.length

    def _perform(self, call: FlashOperation) -> None:
        start, extent = self._extent(call)
        self.power.perform(call, extent, partial(self._carry_out, call, start, extent))

    def _carry_out(self, call: FlashOperation, start: int, extent: int, count: int) -> None:
        """A driver call that is completed goes through its primitives when somebody watches them."""
        if count < extent or not self.power.watches_primitives:
            self._do(call, start, count)
            return
        for primitive in self._primitives(call, start, extent):
            effect = partial(self._do, primitive, primitive.offset)
            self.power.perform(primitive, primitive.length, effect, fine=True)

    def _primitives(self, call: FlashOperation, start: int, extent: int) -> Iterator[FlashOperation]:
        if call.op == "erase":
            for block, size in self.geometry.blocks(start, extent):
                yield FlashOperation(self.name, "erase", block, size)
        else:
            for page, size in self.geometry.pages(start, extent):
                data = call.data[page - start : page - start + size]
                yield FlashOperation(self.name, "program", page, size, data)

    def _do(self, operation: FlashOperation, start: int, count: int) -> None:
        """The first `count` bytes of the operation, on the cells."""
        if operation.op == "erase":
            self._clear(start, count)
        else:
            self._program(start, operation.data, count)

    def _program(self, offset: int, data: bytes, count: int) -> None:
        if not count:
            return
        data = data[:count]
        old = self._pages.read(offset, count)
        if old == b"\xff" * count:
            result = data
        else:
            result = (int.from_bytes(old) & int.from_bytes(data)).to_bytes(count)
            self._count_dirty(offset, old, data, result)
        self._pages.write(offset, result)
        page = self.geometry.page_size
        self.statistics.programs += (offset + count - 1) // page - offset // page + 1
        self.statistics.bytes_programmed += count

    def _count_dirty(self, offset: int, old: bytes, data: bytes, result: bytes) -> None:
        for start, size in self.geometry.pages(offset, len(data)):
            piece = slice(start - offset, start - offset + size)
            self.statistics.dirty_programs += old[piece] != b"\xff" * size
            self.statistics.lost_programs += result[piece] != data[piece]

    def _clear(self, start: int, count: int) -> None:
        self._pages.erase(start, count)
        for block, _ in self.geometry.blocks(start, count):
            self._wear[block] += 1
            self.statistics.block_erases += 1

    def _require_inside(self, what: str, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.geometry.size:
            raise OutOfBoundsError(
                f"{what} of {length} bytes at {offset:#x} reaches outside device {self.name!r} "
                f"({self.size} bytes)"
            )


def make_devices(
    geometries: Iterable[FlashGeometry],
    power: PowerSupply | None = None,
    pages: Mapping[str, PageStore] | None = None,
) -> dict[str, NorFlash]:
    """The devices of a board by name, on one supply.

    `pages` gives their content, erased memory where it names none.
    """
    power = power or PowerSupply()
    content = pages or {}
    return {each.name: NorFlash(each, content.get(each.name), power) for each in geometries}
