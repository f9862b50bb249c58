"""A NOR flash device: a program clears bits, an erase sets whole blocks to 0xFF."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import ClassVar, Literal

from cloudsdk.errors import FlashError, OutOfBoundsError
from sim.flash.faults import FaultPlan, Faults
from sim.flash.geometry import FlashGeometry
from sim.flash.pages import MemoryPages, PageStore
from sim.flash.power import (
    CutMoment,
    FlashOperation,
    OperationFailedError,
    PowerSupply,
    TornStyle,
    torn_bits,
)
from sim.flash.statistics import FlashStatistics, WearSummary
from sim.flash.strict import FlashMisuseError, Inspector, Misuse, Rule, Strict


class UnalignedWriteError(FlashMisuseError):
    """A write that does not start on a boundary of the part's program unit."""

    code: ClassVar[str] = "flash.unaligned"


class NorFlash:
    """An emulated device over a page store. Offsets and lengths are bytes from the start of the device.

    A program gives old AND new; one over cells that are not erased is counted as dirty. `wear` is the table
    of an earlier device of the same content. Every method raises `OutOfBoundsError` for a range outside the
    device, `PowerCut` when the supply is or goes off, and `OperationFailedError` for what `strict` forbids
    and what `faults` make fail.
    """

    def __init__(
        self,
        geometry: FlashGeometry,
        pages: PageStore | None = None,
        power: PowerSupply | None = None,
        *,
        strict: Strict = Strict.OFF,
        faults: FaultPlan | None = None,
        wear: Mapping[int, int] | None = None,
    ) -> None:
        if pages is not None and pages.size != geometry.size:
            raise FlashError(
                f"content of {pages.size} bytes given for device {geometry.name!r} of {geometry.size} bytes"
            )
        self.geometry = geometry
        self.name = geometry.name
        self.size = geometry.size
        self.power = power or PowerSupply()
        self.statistics = FlashStatistics(timing=geometry.timing)
        self._pages = pages or MemoryPages(geometry.size)
        self._wear: Counter[int] = Counter()
        for offset, erases in (wear or {}).items():
            if not 0 <= offset < geometry.size or geometry.block_at(offset)[0] != offset or erases < 0:
                raise FlashError(f"wear of {geometry.name}: {erases} erases of a block at {offset:#x}")
            self._wear[offset] = erases
        self._inspector = None if strict is Strict.OFF else Inspector(geometry, raises=strict is Strict.RAISE)
        self._faults: Faults | None
        self.inject(faults)

    def __repr__(self) -> str:
        return f"NorFlash({self.geometry!r})"

    def wear(self, offset: int) -> int:
        """How many times the block that holds `offset` was erased."""
        return self._wear[self.geometry.block_at(offset)[0]]

    def wear_table(self) -> dict[int, int]:
        """Erases of every block that was erased, by its start."""
        return {block: erases for block, erases in sorted(self._wear.items()) if erases}

    def wear_summary(self) -> WearSummary:
        table = self.wear_table()
        worst = max(table, key=lambda block: table[block], default=0)
        return WearSummary(len(table), sum(table.values()), worst, table.get(worst, 0))

    @property
    def misuses(self) -> list[Misuse]:
        """What strict mode found, in order, up to `strict.MAX_MISUSES`. Empty when it is off."""
        return [] if self._inspector is None else self._inspector.misuses

    @property
    def misuse_count(self) -> int:
        """How much strict mode found, kept in `misuses` or not."""
        return 0 if self._inspector is None else self._inspector.count

    def inject(self, plan: FaultPlan | None) -> None:
        """Have the faults of `plan` from now on, and no others. Raises `FaultPlanError`."""
        self._faults = None if plan is None else Faults(plan, self.geometry, self._wear)

    def flip(self, offset: int, mask: int) -> None:
        """Turn over the bits `mask` (1 to 255) of the cell at `offset`, whether the power is on or off."""
        self._require_inside("flip", offset, 1)
        if not 0 < mask < 256:
            raise FlashError(f"cannot flip the bits {mask:#x} of one byte")
        self._pages.write(offset, bytes([self._pages.read(offset, 1)[0] ^ mask]))

    def read(self, offset: int, length: int) -> bytes:
        self._require_inside("read", offset, length)
        self.power.require_on()
        self.statistics.reads += 1
        self.statistics.bytes_read += length
        data = self._pages.read(offset, length)
        return data if self._faults is None else self._faults.read(offset, data)

    def write(self, offset: int, data: bytes) -> None:
        """Program `data`, page by page. A last partial program unit is padded with 0xFF, which changes
        nothing.

        Raises `UnalignedWriteError` unless `offset` is a multiple of the program unit.
        """
        self._require_writable("write", offset, len(data))
        if data:
            self._perform(FlashOperation(self.name, "write", offset, len(data), bytes(data)))

    def program_page(self, offset: int, data: bytes) -> None:
        """The raw page program command, which no driver splits.

        Data over the end of the page goes on at the start of the same page, and of more than a page only the
        end counts, as on a W25Q. Raises `UnalignedWriteError` unless `offset` is a multiple of the program
        unit.
        """
        page = self.geometry.page_size
        self._require_writable("program", offset, min(len(data), page - offset % page))
        data = bytes(data) + b"\xff" * (-len(data) % self.geometry.program_unit)
        excess = max(len(data) - page, 0)
        offset += (offset + excess) % page - offset % page
        if data:
            self._perform(FlashOperation(self.name, "program", offset, len(data) - excess, data[excess:]))

    def erase(self, offset: int, length: int) -> None:
        """Set all blocks that [offset, offset + length) touches to 0xFF."""
        self._require_inside("erase", offset, length)
        if length:
            self._perform(FlashOperation(self.name, "erase", offset, length))

    def carry_out(self, operation: FlashOperation, moment: CutMoment) -> None:
        """Leave what a loss of power at `moment` of `operation` leaves, whatever the supply says.

        A laboratory makes the state behind a cut with it, without running up to the cut again. An operation
        that fails leaves what it had done.
        """
        start, extent = self._extent(operation)
        with suppress(OperationFailedError):
            self._carry_out(operation, start, extent, self.power.done(extent, moment), announce=False)

    def _extent(self, operation: FlashOperation) -> tuple[int, int]:
        """Start and length in bytes of what the operation changes."""
        if operation.op == "erase":
            return self.geometry.touched(operation.offset, operation.length)
        return operation.offset, operation.length

    def _perform(self, call: FlashOperation) -> None:
        start, extent = self._extent(call)
        self.power.perform(call, extent, partial(self._carry_out, call, start, extent))

    def _carry_out(
        self, call: FlashOperation, start: int, extent: int, done: int, *, announce: bool = True
    ) -> None:
        """The first `done` bits of a driver call that changes `extent` bytes at `start`.

        One that is completed announces its primitives when somebody watches them.
        """
        whole = done == 8 * extent
        announce = announce and whole and self.power.watches_primitives
        if whole and not (announce or self._inspector or self._faults or call.op == "program"):
            self._do(call, start, extent)
            return
        if done and self._inspector:
            self._inspector.check_call(call)
        for primitive in self._primitives(call):
            if announce:
                effect = partial(self._do_part, primitive)
                self.power.perform(primitive, primitive.length, effect, fine=True)
            elif done > 0:
                self._do_part(primitive, min(done, 8 * primitive.length))
                done -= 8 * primitive.length

    def _primitives(self, call: FlashOperation) -> Iterator[FlashOperation]:
        offset, length = call.offset, call.length
        if call.op == "erase":
            for start, size in self.geometry.erase_commands(offset, length):
                yield FlashOperation(self.name, "erase", start, size)
            return
        for start, size in self.geometry.pages(offset, length):
            data = call.data[start - offset : start - offset + size]
            if call.op == "program" and start > offset:
                start -= self.geometry.page_size  # the raw command goes on in the same page
            yield FlashOperation(self.name, "program", start, size, data)

    def _do(self, call: FlashOperation, start: int, extent: int) -> None:
        """All of a write or an erase on a healthy device: the same as all its primitives."""
        if call.op == "erase":
            self._pages.erase(start, extent)
            for _, size in self.geometry.erase_commands(call.offset, call.length):
                self.statistics.erase_commands[size] += 1
            for block, _ in self.geometry.blocks(start, extent):
                self._count_erased(block)
        else:
            self._program(call.offset, call.data)

    def _do_part(self, primitive: FlashOperation, done: int) -> None:
        """The first `done` bits of a primitive, whatever ails the device."""
        if not done:
            return
        offset, length = primitive.offset, primitive.length
        if primitive.op == "erase":
            dead = self._faults.silent("erase", offset, length) if self._faults else []
            self._erase_part(offset, length, done, dead)
            return
        if self._inspector:
            unit = self.geometry.program_unit
            self._inspector.check_program(primitive, self._pages.read(offset, -(-length // unit) * unit))
        if self._faults and self._faults.silent("program", offset, length):
            self.statistics.programs += 1
        elif self._torn_by_bits(length, done):
            mask = int.from_bytes(torn_bits(offset, length, done, 8 * length))
            untouched = mask ^ ((1 << 8 * length) - 1)
            self._program(offset, (int.from_bytes(primitive.data) | untouched).to_bytes(length))
        else:
            self._program(offset, primitive.data[: done // 8])

    def _erase_part(self, offset: int, length: int, done: int, dead: list[tuple[int, int]]) -> None:
        """The first `done` bits of an erase command, but nothing in the blocks `dead`."""
        by_bits = self._torn_by_bits(length, done)
        reached = offset + (length if by_bits else done // 8)
        for block in self.geometry.blocks(offset, reached - offset):
            if block in dead:
                continue
            start, size = block[0], min(block[1], reached - block[0])
            if by_bits:
                cells = int.from_bytes(self._pages.read(start, size))
                cells |= int.from_bytes(torn_bits(start, size, done, 8 * length))
                self._pages.write(start, cells.to_bytes(size))
            else:
                self._pages.erase(start, size)
            self._count_erased(start)
        self.statistics.erase_commands[length] += 1
        weak = self._faults.weak_bit(offset, length) if self._faults and done == 8 * length else None
        if weak and self.geometry.block_at(weak[0]) not in dead:
            self.flip(*weak)

    def _torn_by_bits(self, length: int, done: int) -> bool:
        return done < 8 * length and self.power.torn_style is TornStyle.BITS

    def _program(self, offset: int, data: bytes) -> None:
        count = len(data)
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

    def _count_erased(self, block: int) -> None:
        self._wear[block] += 1
        self.statistics.block_erases += 1

    def _require_writable(self, what: Literal["write", "program"], offset: int, length: int) -> None:
        self._require_inside(what, offset, length)
        unit = self.geometry.program_unit
        if offset % unit:
            text = f"{self.name} is programmed in units of {unit} bytes; a {what} cannot start at {offset:#x}"
            if self._inspector:
                self._inspector.note(Misuse(what, offset, length, Rule.UNALIGNED, text))
            raise UnalignedWriteError(text)

    def _require_inside(self, what: str, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise OutOfBoundsError(
                f"{what} of {length} bytes at {offset:#x} reaches outside device {self.name!r} "
                f"({self.size} bytes)"
            )


def make_devices(
    geometries: Iterable[FlashGeometry],
    power: PowerSupply | None = None,
    pages: Mapping[str, PageStore] | None = None,
    *,
    strict: Strict = Strict.OFF,
    faults: Mapping[str, FaultPlan] | None = None,
    wear: Mapping[str, Mapping[int, int]] | None = None,
) -> dict[str, NorFlash]:
    """The devices of a board by name, on one supply.

    `pages` gives their content, erased memory where it names none; `faults` and `wear` are by device, too.
    """
    power = power or PowerSupply()
    content, plans, tables = pages or {}, faults or {}, wear or {}
    return {
        each.name: NorFlash(
            each,
            content.get(each.name),
            power,
            strict=strict,
            faults=plans.get(each.name),
            wear=tables.get(each.name),
        )
        for each in geometries
    }
