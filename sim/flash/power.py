"""The power of a board, and the means to cut it at any flash operation.

Operations are seen at two levels. A *driver call* is what the firmware asked for: one `write` or `erase` of
any length, or the raw command `program`. Its *primitives* are what the part then does: one `program` per
page, one `erase` per erase command.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import ClassVar, Final, Literal

from cloudsdk.errors import FlashError


class OperationFailedError(FlashError):
    """The part fails or refuses an operation, and its driver says so."""

    code: ClassVar[str] = "flash.failed"


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


class TornStyle(StrEnum):
    """What a torn operation leaves in the page or the blocks that it was working on."""

    PREFIX = "prefix"  # the first bytes are done, the others untouched
    BITS = "bits"  # all over them some bits are done, the others untouched


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
    operation that was done, `torn_style` how it looks. Both may be changed between operations.
    """

    def __init__(self, *, torn_fraction: float = 0.5, torn_style: TornStyle = TornStyle.PREFIX) -> None:
        self.operations = 0
        self.torn_fraction = torn_fraction
        self.torn_style = torn_style
        self._calls = _Level()
        self._primitives = _Level()
        self._cut: PowerCut | None = None

    @property
    def on(self) -> bool:
        return self._cut is None

    @property
    def watches_primitives(self) -> bool:
        """Whether devices have to announce each page program and erase command."""
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

        `effect(done)` does the first `done` bits of `extent` bytes. Raises `PowerCut`.
        """
        self.require_on()
        if not fine:
            self.operations += 1
        moment = self._level(fine).announce(operation)
        if moment is None:
            effect(8 * extent)
            return
        with suppress(OperationFailedError):  # no driver is left to hear of it
            effect(self.done(extent, moment))
        self._cut = PowerCut(operation, moment)
        self.require_on()

    def done(self, extent: int, moment: CutMoment) -> int:
        """How many bits of `extent` bytes are done when the power goes at `moment`.

        Never all of them when torn, and whole bytes in the style `PREFIX`.
        """
        match moment:
            case CutMoment.BEFORE:
                return 0
            case CutMoment.AFTER:
                return 8 * extent
            case CutMoment.TORN if self.torn_style is TornStyle.PREFIX:
                return 8 * min(int(extent * self.torn_fraction), extent - 1)
            case CutMoment.TORN:
                return min(int(8 * extent * self.torn_fraction), 8 * extent - 1)

    def _level(self, fine: bool) -> _Level:
        return self._primitives if fine else self._calls


_PLANES: Final = 4  # a mask is as dense as a multiple of 1/16 can say


def torn_bits(offset: int, length: int, done: int, of: int) -> bytes:
    """Which bits of `length` bytes at `offset` a torn operation got done when it had `done` of `of` bits.

    Set bits are done: about that share of them, in a pattern that follows from the range alone. What is set
    for a smaller share is set for a larger one.
    """
    share = (done << _PLANES) // of
    noise = hashlib.shake_128(offset.to_bytes(8, "little")).digest(length * _PLANES)
    mask = 0
    for plane in range(_PLANES):
        bits = int.from_bytes(noise[plane * length : (plane + 1) * length])
        mask = mask | bits if share >> plane & 1 else mask & bits
    return mask.to_bytes(length)
