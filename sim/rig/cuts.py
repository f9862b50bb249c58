"""Where a test wants the power to go."""

import re
from typing import Final

from sim.board import Board
from sim.flash.power import CutMoment, FlashOperation, Trigger

_PLACE: Final = re.compile(r"(?P<partition>[^+\s]+)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+))?")


def cut_trigger(board: Board, at: int | str | Trigger, moment: CutMoment) -> Trigger:
    """A trigger that cuts once.

    `at` is the number of driver calls still to be done before, `"PARTITION+OFFSET"` for the first operation
    that touches this byte (decimal or 0x; without an offset, the partition), or a trigger of its own.
    Raises ValueError and `PartitionNameError`.
    """
    if callable(at):
        return at
    if isinstance(at, int):
        if at < 0:
            raise ValueError("the number of operations before a cut is 0 or more")
        return lambda index, _operation: moment if index == at else None
    found = _PLACE.fullmatch(at)
    if found is None:
        raise ValueError(f"{at!r} is no place to cut the power: give PARTITION or PARTITION+OFFSET")
    partition = board.partition(found["partition"])
    offset = int(found["offset"], 0) if found["offset"] is not None else None
    if offset is not None and offset >= partition.size:
        raise ValueError(f"partition {partition.name!r} has {partition.size} bytes, none at {offset:#x}")
    start = partition.offset + (offset or 0)
    end = partition.offset + partition.size if offset is None else start + 1
    cut = False

    def trigger(_index: int, operation: FlashOperation) -> CutMoment | None:
        nonlocal cut
        touches = operation.offset < end and start < operation.offset + operation.length
        if cut or not touches or operation.device != partition.device_name:
            return None
        cut = True
        return moment

    return trigger
