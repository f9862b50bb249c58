"""What goes wrong inside a part: bad and worn blocks, stuck bits, bits that flip."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

from cloudsdk.errors import FlashError
from sim.flash.geometry import FlashGeometry
from sim.flash.power import OperationFailedError


class FlashFaultError(OperationFailedError):
    """A fault of the part that its driver reports."""

    code: ClassVar[str] = "flash.fault"


class FaultPlanError(FlashError):
    """Faults that the device cannot have."""

    code: ClassVar[str] = "flash.fault-plan"


Action = Literal["read", "program", "erase"]


class Failure(StrEnum):
    """How a block fails."""

    ERROR = "error"  # the driver reports it, and nothing is done
    SILENT = "silent"  # nothing is done, and nobody is told; a read gives 0xFF


class RandomSource(Protocol):
    """What is used of a `random.Random`."""

    def random(self) -> float:
        """A number from 0 up to but not 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 up to but not `stop`."""
        ...


@dataclass(frozen=True, slots=True)
class BadBlock:
    """The erase block that holds `offset` (bytes from the start of the device) fails `actions`."""

    offset: int
    actions: frozenset[Action] = frozenset(("program", "erase"))
    failure: Failure = Failure.ERROR


@dataclass(frozen=True, slots=True)
class WearLimit:
    """A block that was erased `erases` times fails `actions` from then on.

    Without `erases` the endurance of the part counts.
    """

    erases: int | None = None
    actions: frozenset[Action] = frozenset(("program", "erase"))
    failure: Failure = Failure.ERROR


@dataclass(frozen=True, slots=True)
class StuckBits:
    """The bits `mask` of the byte at `offset` read as `value`, 0 or 1, whatever the cells hold."""

    offset: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class BitFlips:
    """One operation in 1 / `rate` (0 to 1) flips one bit of its range, drawn from `random`."""

    rate: float
    random: RandomSource

    def draw(self, offset: int, length: int) -> tuple[int, int] | None:
        """Offset and mask of the bit that flips in an operation on [offset, offset + length), if one does."""
        if self.random.random() >= self.rate:
            return None
        return offset + self.random.randrange(length), 1 << self.random.randrange(8)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of one device.

    `read_flips` change what a read gives and leave the cells alone; `erase_flips` leave a bit of an erase
    command at 0. Each draws from its own source, so that reads do not change what erases do.
    """

    bad_blocks: tuple[BadBlock, ...] = ()
    wear: WearLimit | None = None
    stuck: tuple[StuckBits, ...] = ()
    read_flips: BitFlips | None = None
    erase_flips: BitFlips | None = None


class Faults:
    """A plan at work in a device of `geometry`. Raises `FaultPlanError` where it does not fit.

    `wear` has the erases of each block by its start and is watched, not changed.
    """

    def __init__(self, plan: FaultPlan, geometry: FlashGeometry, wear: Mapping[int, int]) -> None:
        _require_sense(plan, geometry)
        self._plan = plan
        self._geometry = geometry
        self._wear = wear
        self._bad: dict[int, list[BadBlock]] = {}
        for bad in plan.bad_blocks:
            self._bad.setdefault(geometry.block_at(bad.offset)[0], []).append(bad)
        self._limit = plan.wear and (plan.wear.erases or geometry.endurance)

    def silent(self, action: Action, offset: int, length: int) -> list[tuple[int, int]]:
        """Start and length of the blocks touched by `action` in which nothing happens.

        Raises `FlashFaultError` where one of them fails and says so.
        """
        quiet = []
        for block, size in self._geometry.blocks(offset, length):
            for failure in self._failures(action, block):
                if failure is Failure.ERROR:
                    raise FlashFaultError(
                        f"{action} of {length} bytes at {offset:#x} failed: the block at {block:#x} of "
                        f"{self._geometry.name} is bad"
                    )
                quiet.append((block, size))
        return quiet

    def read(self, offset: int, data: bytes) -> bytes:
        """What a read of `data` at `offset` gives. Raises `FlashFaultError`."""
        if not data:
            return data
        seen = bytearray(data)
        end = offset + len(data)
        for block, size in self.silent("read", offset, len(data)):
            first, last = max(block, offset), min(block + size, end)
            seen[first - offset : last - offset] = b"\xff" * (last - first)
        for stuck in self._plan.stuck:
            if offset <= stuck.offset < end:
                cell = seen[stuck.offset - offset]
                seen[stuck.offset - offset] = cell | stuck.mask if stuck.value else cell & ~stuck.mask
        flip = self._plan.read_flips and self._plan.read_flips.draw(offset, len(data))
        if flip:
            seen[flip[0] - offset] ^= flip[1]
        return bytes(seen)

    def weak_bit(self, offset: int, length: int) -> tuple[int, int] | None:
        """Offset and mask of the bit that an erase command on this range leaves at 0, if one stays."""
        return self._plan.erase_flips.draw(offset, length) if self._plan.erase_flips else None

    def _failures(self, action: Action, block: int) -> Iterator[Failure]:
        for bad in self._bad.get(block, ()):
            if action in bad.actions:
                yield bad.failure
        wear = self._plan.wear
        if wear and self._limit and action in wear.actions and self._wear.get(block, 0) >= self._limit:
            yield wear.failure


def _require_sense(plan: FaultPlan, geometry: FlashGeometry) -> None:
    places = [bad.offset for bad in plan.bad_blocks] + [stuck.offset for stuck in plan.stuck]
    for offset in places:
        if not 0 <= offset < geometry.size:
            raise FaultPlanError(f"fault at {offset:#x} is outside {geometry.name} of {geometry.size} bytes")
    for stuck in plan.stuck:
        if not 0 < stuck.mask < 256 or stuck.value not in (0, 1):
            raise FaultPlanError(f"stuck bits need a mask of 1 to 255 and the value 0 or 1: {stuck}")
    if plan.wear and plan.wear.erases is None and geometry.endurance is None:
        raise FaultPlanError(f"say after how many erases {geometry.name} is worn; its part does not")
    if plan.wear and plan.wear.erases is not None and plan.wear.erases <= 0:
        raise FaultPlanError(f"a wear limit is a positive number of erases, not {plan.wear.erases}")
    for flips in (plan.read_flips, plan.erase_flips):
        if flips and not 0 <= flips.rate <= 1:
            raise FaultPlanError(f"a rate of bit flips is 0 to 1, not {flips.rate}")
