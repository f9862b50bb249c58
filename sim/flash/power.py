"""The power of a board, and the means to cut it at any flash operation.

Operations are seen at two levels. A *driver call* is what the firmware asked for: one `write` or `erase` of
any length. Its *primitives* are what the part then does: one `program` per page, one `erase` per block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal


@dataclass(frozen=True, slots=True)
class FlashOperation:
    """A driver call or a primitive.

    `offset` counts from the start of the device, `length` is as the caller gave it, `data` what a write or
    program stores. Two operations are equal when they do the same thing in the same place, whatever the data.
    """

    device: str
    op: Literal["write", "program", "erase"]
    offset: int
    length: int
    data: bytes = field(default=b"", repr=False, compare=False)

    @property
    def facts(self) -> dict[str, str | int]:
        """Everything but the data, for reports."""
        return {"device": self.device, "op": self.op, "offset": self.offset, "length": self.length}


class CutMoment(Enum):
    """Where inside an operation the power goes."""

    BEFORE = "before"
    TORN = "torn"
    AFTER = "after"


class PowerCut(BaseException):
    """The power is gone. Not an `Exception`: no handler on the device may survive it."""

    def __init__(self, operation: FlashOperation, moment: CutMoment) -> None:
        super().__init__(
            f"power cut {moment.value} {operation.op} of {operation.length} bytes at {operation.offset:#x}"
        )
        self.operation = operation
        self.moment = moment


Trigger = Callable[[int, FlashOperation], CutMoment | None]


class _Level:
    """Who watches one level: the armed trigger with its index, and the running recordings."""

    def __init__(self) -> None:
        self.trigger: Trigger | None = None
        self.index = 0
        self.recordings: list[list[FlashOperation]] = []

    def announce(self, operation: FlashOperation) -> CutMoment | None:
        for recording in self.recordings:
            recording.append(operation)
        if self.trigger is None:
            return None
        index = self.index
        self.index += 1
        return self.trigger(index, operation)


class PowerSupply:
    """One per board, shared by its flash devices.

    `operations` counts driver calls since construction. `torn_fraction` is the part (0 to 1) of a torn
    operation that was done: the first bytes of a program, the first bytes of the blocks of an erase.
    """

    def __init__(self, *, torn_fraction: float = 0.5) -> None:
        self.operations = 0
        self.torn_fraction = torn_fraction
        self._calls = _Level()
        self._primitives = _Level()
        self._cut: PowerCut | None = None

    @property
    def on(self) -> bool:
        return self._cut is None

    @property
    def watches_primitives(self) -> bool:
        """Whether devices have to announce each page program and block erase."""
        return self._primitives.trigger is not None or bool(self._primitives.recordings)

    def arm(self, trigger: Trigger, *, fine: bool = False) -> None:
        """Call `trigger(index, operation)` before every driver call, or with `fine` before every primitive.

        `index` counts from 0 since arming. A returned moment cuts the power there. A trigger may also raise
        `FlashError`: the operation then fails and is not done. It stays armed over cuts, until `disarm`;
        arming again replaces it.
        """
        self.disarm()
        level = self._level(fine)
        level.trigger, level.index = trigger, 0

    def disarm(self) -> None:
        self._calls.trigger = self._primitives.trigger = None

    @contextmanager
    def recording(self, *, fine: bool = False) -> Iterator[list[FlashOperation]]:
        """A list that fills with driver calls, or with `fine` primitives, up to and including a cut one."""
        level = self._level(fine)
        operations: list[FlashOperation] = []
        level.recordings.append(operations)
        try:
            yield operations
        finally:
            level.recordings = [other for other in level.recordings if other is not operations]

    def twin(self) -> "PowerSupply":
        """A supply that is on, tears as this one does, and has nobody watching it."""
        return PowerSupply(torn_fraction=self.torn_fraction)

    def restore(self) -> None:
        """Power on again after a cut."""
        self._cut = None

    def require_on(self) -> None:
        """Raises `PowerCut` while the power is off."""
        if self._cut is not None:
            raise PowerCut(self._cut.operation, self._cut.moment)

    def perform(
        self, operation: FlashOperation, extent: int, effect: Callable[[int], None], *, fine: bool = False
    ) -> None:
        """Carry an operation out, as far as the power lasts. For flash devices.

        `effect(count)` does the first `count` of `extent` bytes. Raises `PowerCut`.
        """
        self.require_on()
        if not fine:
            self.operations += 1
        moment = self._level(fine).announce(operation)
        effect(extent if moment is None else self.done(extent, moment))
        if moment is not None:
            self._cut = PowerCut(operation, moment)
            self.require_on()

    def done(self, extent: int, moment: CutMoment) -> int:
        """How many of `extent` bytes are done when the power goes at `moment`."""
        match moment:
            case CutMoment.BEFORE:
                return 0
            case CutMoment.TORN:
                return min(int(extent * self.torn_fraction), extent - 1)
            case CutMoment.AFTER:
                return extent

    def _level(self, fine: bool) -> _Level:
        return self._primitives if fine else self._calls
