"""Mistakes in updaters that copy a staged image over the application, or download into its place."""

import struct
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Final

from cloudsdk.errors import FlashError
from cloudsdk.ota.journal import is_blank
from sim.faults.powercut.corpus.compact import (
    APP,
    BLOCK,
    CHUNK,
    CORRECTED,
    IMAGE,
    NEW,
    OLD,
    PLAIN,
    STAGED,
    STATE,
    copy,
    firmware,
    image,
    judge_app,
    mark,
    marked,
)
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.world import Console, Firmware, Step, World
from sim.flash.nor import NorFlash

_BOTH: Final = {APP: OLD, STAGED: NEW}  # the old application and the staged new one
_DONE: Final = 0  # marks in STATE: installed
_ERASED: Final = 0  # the application's slot is erased, and chunks may be written


# --- order of marks -------------------------------------------------------------------------------------


def _pending(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if marked(flash, _DONE):
            return
        if planted:
            mark(flash, _DONE)
        copy(flash)
        if not planted:
            mark(flash, _DONE)

    return firmware(drive, _BOTH)


def _version(planted: bool) -> Firmware:
    old, new = b"1", b"2"

    def store(flash: NorFlash) -> None:
        flash.erase(STATE, BLOCK)
        flash.write(STATE, new)

    def drive(flash: NorFlash) -> None:
        if flash.read(STATE, 1) == new:
            return
        if planted:
            store(flash)
        copy(flash)
        if not planted:
            store(flash)

    return firmware(drive, {**_BOTH, STATE: old})


def _progress(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if not marked(flash, _ERASED):
            flash.erase(APP, IMAGE)
            mark(flash, _ERASED)
        for cell, offset in enumerate(range(0, IMAGE, CHUNK), start=_ERASED + 1):
            if marked(flash, cell):
                continue
            if planted:
                mark(flash, cell)
            flash.write(APP + offset, flash.read(STAGED + offset, min(CHUNK, IMAGE - offset)))
            if not planted:
                mark(flash, cell)

    return firmware(drive, _BOTH)


def _step(planted: bool) -> Firmware:
    """Every step makes its place erased before it writes, for parts that must not be programmed twice."""
    step = BLOCK // 4 if planted else BLOCK

    def drive(flash: NorFlash) -> None:
        if not marked(flash, _ERASED):
            flash.erase(APP, IMAGE)
            mark(flash, _ERASED)
        for cell, offset in enumerate(range(0, IMAGE, step), start=_ERASED + 1):
            if marked(flash, cell):
                continue
            data = flash.read(STAGED + offset, min(step, IMAGE - offset))
            if not is_blank(flash.read(APP + offset, len(data))):
                flash.erase(APP + offset, len(data))
            flash.write(APP + offset, data)
            mark(flash, cell)

    return firmware(drive, _BOTH)


# --- what is trusted ------------------------------------------------------------------------------------

_HEADER: Final = struct.Struct("<II")  # magic, length of the image in bytes
_MAGIC: Final = 0x30504F46


def _magic(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        header = flash.read(STATE, _HEADER.size)
        magic, length = _HEADER.unpack(header)
        if magic != _MAGIC:
            if not is_blank(header):
                flash.erase(STATE, _HEADER.size)
            copy(flash)
            length = IMAGE
            header = _HEADER.pack(_MAGIC, length)
            first, second = (0, 4) if planted else (4, 0)
            flash.write(STATE + first, header[first : first + 4])
            flash.write(STATE + second, header[second : second + 4])
        flash.read(APP, length)  # checked before it is started

    return firmware(drive, _BOTH)


def _program(flash: NorFlash, offset: int, data: bytes) -> None:
    """Program one double word as the STM32L4 does: over one that is not erased nothing but zeros goes.

    Source: RM0351, FLASH_SR, PROGERR. Raises `FlashError`.
    """
    if any(data) and not is_blank(flash.read(offset, len(data))):
        raise FlashError(f"PROGERR: the double word at {offset:#x} is not erased")
    flash.write(offset, data)


def _twice(planted: bool) -> Firmware:
    unit = CORRECTED.program_unit
    copying, done = STATE, STATE + unit

    def drive(flash: NorFlash) -> None:
        if not is_blank(flash.read(done, unit)):
            return
        if planted or is_blank(flash.read(copying, unit)):
            _program(flash, copying, b"\xa5" * unit)
        copy(flash)
        _program(flash, done, b"\xa5" * unit)

    return firmware(drive, _BOTH, geometry=CORRECTED)


def _tail(planted: bool) -> Firmware:
    """Downloads into STAGED unless what lies there has the right CRC."""
    covered = IMAGE - IMAGE % CHUNK if planted else IMAGE
    wanted = zlib.crc32(NEW[:covered])

    def drive(flash: NorFlash) -> None:
        if marked(flash, _DONE):
            return
        if zlib.crc32(flash.read(STAGED, covered)) != wanted:
            flash.erase(STAGED, IMAGE)
            flash.write(STAGED, NEW)
        copy(flash)
        mark(flash, _DONE)

    return firmware(drive, {APP: OLD})


@dataclass(frozen=True, slots=True)
class _Republished:
    """A cloud that serves another build under the same name after the first power on."""

    first: Firmware
    later: Firmware

    def world(self) -> World:
        return self.first.world()

    def step(self, world: World, console: Console) -> Step:
        asked, world.notes = bool(world.notes), True
        return (self.later if asked else self.first).step(world, console)

    def judge(self, world: World) -> Judgement:
        return self.later.judge(world)

    def partition(self, device: str, offset: int) -> str:
        return ""


_LATER: Final = image(3)


def _builds(planted: bool) -> _Republished:
    """Downloads into the application's place, with the entity tag before the marks."""

    def download(body: bytes, tag: bytes, flash: NorFlash) -> None:
        stored = flash.read(STATE, len(tag))
        if is_blank(stored) or (stored != tag and not planted):
            flash.erase(STATE, BLOCK)
            flash.erase(APP, IMAGE)
            flash.write(STATE, tag)
        for cell, offset in enumerate(range(0, IMAGE, CHUNK), start=len(tag)):
            if not marked(flash, cell):
                flash.write(APP + offset, body[offset : offset + CHUNK])
                mark(flash, cell)

    def judge(flash: NorFlash) -> Judgement:
        return Judgement(Verdict.RECOVERED_NEW) if flash.read(APP, IMAGE) == _LATER else judge_app(flash)

    return _Republished(
        *(
            firmware(partial(download, body, tag), {APP: OLD}, judge)
            for body, tag in ((NEW, b"\x02"), (_LATER, b"\x03"))
        )
    )


class _Retrying(Firmware):
    """Resets as long as an installation is requested."""

    def step(self, world: World, console: Console) -> Step:
        super().step(world, console)
        return Step.SETTLED if marked(world.devices[PLAIN.name], _DONE) else Step.AGAIN


def _request(planted: bool) -> Firmware:
    def drive(flash: NorFlash) -> None:
        if marked(flash, _DONE) or flash.read(STAGED, IMAGE) != NEW:
            return
        copy(flash)
        if planted:
            flash.erase(STAGED, IMAGE)
        mark(flash, _DONE)
        if not planted:
            flash.erase(STAGED, IMAGE)

    return firmware(drive, _BOTH, kind=_Retrying)


_WHERE: Final = "model of an updater"
_DAMAGED: Final = frozenset({Verdict.SILENT_CORRUPTION})
_DEAD: Final = frozenset({Verdict.BRICK})

DEFECTS: Final = (
    Defect(
        name="request-cleared-before-copy",
        mistake="the request for an upgrade is cleared before the copy, not after it",
        where=_WHERE,
        expected=_DAMAGED | _DEAD,
        subject=_pending,
    ),
    Defect(
        name="version-before-copy",
        mistake="the installed version is stored before the copy, and an installed version is skipped",
        where=_WHERE,
        expected=_DAMAGED | _DEAD,
        subject=_version,
    ),
    Defect(
        name="progress-before-data",
        mistake="a chunk is marked as written before it is written",
        where=_WHERE,
        expected=_DAMAGED | _DEAD,
        subject=_progress,
    ),
    Defect(
        name="step-below-erase-block",
        mistake="progress is counted in quarters of an erase block, and a torn quarter erases the block",
        where=_WHERE,
        expected=_DAMAGED | _DEAD,
        subject=_step,
    ),
    Defect(
        name="magic-before-length",
        mistake="a header is written in two programs, the magic that makes it count first",
        where=_WHERE,
        expected=_DEAD,
        subject=_magic,
    ),
    Defect(
        name="mark-programmed-twice",
        mistake="a mark is set again after a loss of power, on a part with error correction",
        where=_WHERE,
        expected=_DEAD,
        subject=_twice,
    ),
    Defect(
        name="tail-not-checked",
        mistake="the CRC covers whole chunks only, not the short one at the end",
        where=_WHERE,
        expected=_DAMAGED,
        subject=_tail,
        torn=0.9,
    ),
    Defect(
        name="resume-without-entity-tag",
        mistake="a download goes on although the server has another build by now",
        where=_WHERE,
        expected=_DAMAGED,
        subject=_builds,
    ),
    Defect(
        name="package-erased-before-request",
        mistake="the package is erased before the request for it is cleared",
        where=_WHERE,
        expected=frozenset({Verdict.NO_CONVERGENCE}),
        subject=_request,
    ),
)
