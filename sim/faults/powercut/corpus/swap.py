"""Mistakes in exchanging two slots block by block through a scratch block, with a trial of the new image."""

from typing import Final

from sim.faults.powercut.corpus.compact import (
    APP,
    BLOCK,
    NEW,
    OLD,
    SLOT,
    SPARE,
    STAGED,
    STATE,
    firmware,
    mark,
    marked,
)
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Verdict
from sim.faults.powercut.world import Firmware
from sim.flash.nor import NorFlash

_SCRATCH: Final = SPARE
_TAIL: Final = APP + SLOT - 64  # behind the image, in its last block
_SWAPPED: Final = 0  # marks in STATE
_CONFIRMED: Final = 1
_FORTH: Final = 16  # the moves that are done, one mark for each
_BACK: Final = 48


def _moves() -> list[tuple[int, int]]:
    """From where to where each block goes, in order."""
    moves = []
    for offset in range(0, SLOT, BLOCK):
        moves += [(APP + offset, _SCRATCH), (STAGED + offset, APP + offset), (_SCRATCH, STAGED + offset)]
    return moves


def _swap(flash: NorFlash, first: int, base: int = STATE) -> None:
    """Exchange the slots, or go on behind the last move that has its mark, from `base` + `first` on."""
    for cell, (source, target) in enumerate(_moves(), start=first):
        if not marked(flash, cell, base):
            _move(flash, source, target)
            mark(flash, cell, base)


def _move(flash: NorFlash, source: int, target: int) -> None:
    flash.erase(target, BLOCK)
    flash.write(target, flash.read(source, BLOCK))


def _journal(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if marked(flash, _SWAPPED):
            return
        if planted:
            for source, target in _moves():
                _move(flash, source, target)
        else:
            _swap(flash, _FORTH)
        mark(flash, _SWAPPED)

    return firmware(drive, _BOTH)


def _place(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if not marked(flash, _SWAPPED):
            _swap(flash, 0, _TAIL if planted else SPARE + BLOCK)
            mark(flash, _SWAPPED)

    return firmware(drive, _BOTH)


def _trial(planted: bool) -> Firmware:
    """Goes back to the old image when the new one was started and has not confirmed itself."""

    def drive(flash: NorFlash) -> None:
        if not marked(flash, _SWAPPED):
            if planted:
                mark(flash, _SWAPPED)
            _swap(flash, _FORTH)
            if not planted:
                mark(flash, _SWAPPED)
        elif not marked(flash, _CONFIRMED):
            _swap(flash, _BACK)
            return
        mark(flash, _CONFIRMED)

    return firmware(drive, _BOTH)


_BOTH: Final = {APP: OLD, STAGED: NEW}
_WHERE: Final = "model of a swapping bootloader"
_MIXED: Final = frozenset({Verdict.SILENT_CORRUPTION})
_MIXED_OR_DEAD: Final = _MIXED | {Verdict.BRICK}

DEFECTS: Final = (
    Defect(
        name="swap-without-journal",
        mistake="two slots are exchanged with nothing that says how far it went",
        where=_WHERE,
        expected=_MIXED_OR_DEAD,
        subject=_journal,
    ),
    Defect(
        name="progress-in-swapped-block",
        mistake="the progress of the swap is kept in a block that is swapped, too",
        where=_WHERE,
        expected=_MIXED,
        subject=_place,
    ),
    Defect(
        name="swapped-flag-before-swap",
        mistake="the flag that starts the trial, and with it the way back, is set before the swap is over",
        where=_WHERE,
        expected=_MIXED_OR_DEAD,
        subject=_trial,
    ),
)
