"""Mistakes in choosing what to start: two slots with a flag or a counter, and a counter of failed starts."""

import struct
import zlib
from typing import Final

from sim.faults.powercut.corpus.compact import (
    APP,
    BLOCK,
    IMAGE,
    NEW,
    OLD,
    SPARE,
    STAGED,
    STATE,
    copy,
    firmware,
    judge_app,
    judge_image,
    mark,
    marked,
)
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.world import Firmware
from sim.flash.nor import NorFlash

# --- a flag says which slot is started ------------------------------------------------------------------

_SLOTS: Final = {b"A": APP, b"B": STAGED}


def _active(flash: NorFlash) -> bytes:
    """The flag written last; empty when there is none."""
    return flash.read(STATE, BLOCK).rstrip(b"\xff")[-1:]


def _flag(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if _active(flash) != b"A":
            return
        flash.erase(_SLOTS[b"B"], IMAGE)
        flash.write(_SLOTS[b"B"], NEW)
        if planted:
            flash.erase(STATE, BLOCK)
            flash.write(STATE, b"B")
        else:
            flash.write(STATE + 1, b"B")

    def judge(flash: NorFlash) -> Judgement:
        slot = _SLOTS.get(_active(flash))
        if slot is None:
            return Judgement(Verdict.BRICK, "no slot is active")
        return judge_image(flash.read(slot, IMAGE))

    return firmware(drive, {APP: OLD, STATE: b"A"}, judge)


# --- a counter says which slot is newer -----------------------------------------------------------------

_HEADER: Final = struct.Struct("<II")  # counter, CRC-32 of the image
_ERASED: Final = 0xFFFFFFFF


def _stored(counter: int, raw: bytes) -> bytes:
    return _HEADER.pack(counter, zlib.crc32(raw)) + raw


def _newest(flash: NorFlash, checks: bool) -> tuple[int, int, bytes]:
    """Counter, place and image of the slot that is started; the counter is 0 when there is none."""
    found = (0, STAGED, b"")
    for place in _SLOTS.values():
        counter, crc = _HEADER.unpack(flash.read(place, _HEADER.size))
        raw = flash.read(place + _HEADER.size, IMAGE)
        if counter != _ERASED and (not checks or crc == zlib.crc32(raw)):
            found = max(found, (counter, place, raw))
    return found


def _counter(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        counter, place, running = _newest(flash, not planted)
        if running == OLD:
            (other,) = set(_SLOTS.values()) - {place}
            flash.erase(other, _HEADER.size + IMAGE)
            flash.write(other, _stored(counter + 1, NEW))

    def judge(flash: NorFlash) -> Judgement:
        return judge_image(_newest(flash, not planted)[2])

    return firmware(drive, {APP: _stored(1, OLD)}, judge)


# --- failed starts are counted --------------------------------------------------------------------------

_FACTORY: Final = SPARE + BLOCK
_STARTED: Final = 0  # marks: starts that were not followed by success
_DONE: Final = 8
_LIMIT: Final = 2


def _starts(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        failed = sum(marked(flash, _STARTED + cell) for cell in range(_LIMIT))
        if marked(flash, _DONE) or (failed == _LIMIT and planted):
            return
        if failed == _LIMIT:
            copy(flash, _FACTORY)
        else:
            mark(flash, _STARTED + failed)
            copy(flash)
        mark(flash, _DONE)

    def judge(flash: NorFlash) -> Judgement:
        if not marked(flash, _DONE):
            return Judgement(Verdict.BRICK, f"stopped for good after {_LIMIT} failed starts")
        return judge_app(flash)

    return firmware(drive, {APP: OLD, STAGED: NEW, _FACTORY: OLD}, judge)


_WHERE: Final = "model of a bootloader"

DEFECTS: Final = (
    Defect(
        name="slot-flag-in-place",
        mistake="the flag that names the active slot is erased and written in place",
        where=_WHERE,
        expected=frozenset({Verdict.BRICK}),
        subject=_flag,
    ),
    Defect(
        name="newest-slot-without-crc",
        mistake="the slot with the higher counter is started without a look at its CRC",
        where=_WHERE,
        expected=frozenset({Verdict.SILENT_CORRUPTION}),
        subject=_counter,
    ),
    Defect(
        name="power-cuts-counted-as-crashes",
        mistake="a bootloader that gives up after two failed starts counts losses of power, too",
        where=_WHERE,
        expected=frozenset({Verdict.BRICK}),
        subject=_starts,
        cuts=2,
    ),
)
