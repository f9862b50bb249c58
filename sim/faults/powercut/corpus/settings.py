"""Mistakes in the ENV: the real EasyFlash store with one wrong step, under firmware that changes a setting.

What must survive is the serial number, which the factory stored and nobody can make again.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.world import Firmware
from sim.flash.easyflash import AREAS, EasyFlashEnv
from sim.flash.fal import FalPartition
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import PartitionEntry
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages

_BLOCK: Final = 4096  # bytes
_NOR: Final = FlashGeometry("nor", 0, AREAS * _BLOCK, _BLOCK, 256, 1)
_ENTRY: Final = PartitionEntry("easyflash", _NOR.name, 0, _NOR.size)
_SERIAL: Final = ("serial", "SN0001")
_SETTING: Final = ("volume", "11")


class _InPlace(EasyFlashEnv):
    def _save(self) -> None:
        self._next = self._current
        super()._save()


class _InvalidatesFirst(EasyFlashEnv):
    def _save(self) -> None:
        if self._dirty:
            self._partition.write(self._current, b"\0\0\0\0")  # END of the area in use
        super()._save()


class _RepairsTheGoodOne(EasyFlashEnv):
    def init(self) -> None:
        super().init()
        torn = self._next
        if self._read_area(torn) is None:
            self._next, self._dirty = self._current, True
            self.save()
            self._next = torn


def _open(kind: type[EasyFlashEnv], devices: Mapping[str, NorFlash]) -> EasyFlashEnv:
    store = kind(FalPartition(_ENTRY, devices[_NOR.name]))
    store.init()
    return store


def _subject(kind: type[EasyFlashEnv], planted: bool) -> Firmware:
    kind = kind if planted else EasyFlashEnv

    def drive(devices: Mapping[str, NorFlash]) -> None:
        _open(kind, devices).set_and_save(*_SETTING)

    def judge(devices: Mapping[str, NorFlash]) -> Judgement:
        found = _open(kind, devices).items()
        if _SERIAL not in found:
            return Judgement(Verdict.SILENT_CORRUPTION, "the serial number is gone")
        return Judgement(Verdict.RECOVERED_NEW if _SETTING in found else Verdict.RECOVERED_OLD)

    pages = MemoryPages(_NOR.size)
    _open(kind, {_NOR.name: NorFlash(_NOR, pages)}).set_and_save(*_SERIAL)
    return Firmware((_NOR,), drive, judge, {_NOR.name: pages})


_WHERE: Final = "EasyFlash ENV"
_LOST: Final = frozenset({Verdict.SILENT_CORRUPTION})

DEFECTS: Final = (
    Defect(
        name="env-saved-in-place",
        mistake="the ENV is saved over the area it was loaded from",
        where=_WHERE,
        expected=_LOST,
        subject=partial(_subject, _InPlace),
    ),
    Defect(
        name="old-area-invalidated-first",
        mistake="the area in use is marked as old before the new one is written",
        where=_WHERE,
        expected=_LOST,
        subject=partial(_subject, _InvalidatesFirst),
    ),
    Defect(
        name="repair-of-the-good-area",
        mistake="start-up after a torn save writes the good area again before the torn one",
        where=_WHERE,
        expected=_LOST,
        subject=partial(_subject, _RepairsTheGoodOne),
        cuts=2,
    ),
)
