"""What the laboratory talks about: cuts, schedules of cuts, verdicts."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Self

from cloudsdk.errors import CloudSdkError
from sim.flash.power import CutMoment, FlashOperation

MOMENTS: Final = tuple(CutMoment)


class ScheduleError(CloudSdkError):
    """A text that names no schedule of cuts, or one that does not fit the subject."""

    code: ClassVar[str] = "powercut.schedule"
    exit_status: ClassVar[int] = 2


class Verdict(StrEnum):
    """What became of the device, from good to worst."""

    RECOVERED_NEW = "recovered-new"
    RECOVERED_OLD = "recovered-old"
    NO_CONVERGENCE = "no-convergence"  # it goes on for ever without coming to rest
    WRONG_IMAGE = "wrong-image"  # what runs is whole, but not what the device and the cloud believe
    SILENT_CORRUPTION = "silent-corruption"  # damaged content that nobody noticed
    BRICK = "brick"  # no application is started any more

    @property
    def good(self) -> bool:
        return self in (Verdict.RECOVERED_NEW, Verdict.RECOVERED_OLD)


VERDICTS: Final = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the reason in one line.

    `starts` is how often the device started until it rested; it says nothing of one that does not converge.
    """

    verdict: Verdict
    detail: str = ""
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """One loss of power: at `moment` of the operation that is number `index` since power on, from 0."""

    index: int
    moment: CutMoment

    def __str__(self) -> str:
        return f"{self.index}{self.moment.value[0]}"


_CUT: Final = re.compile(r"([0-9]{1,9})([bta])")
_MOMENT_LETTERS: Final = {moment.value[0]: moment for moment in MOMENTS}
MAX_CUTS: Final = 8  # losses of power in one schedule


@dataclass(frozen=True, slots=True)
class Schedule:
    """Losses of power one after the other, each counted from the power on before it.

    Its text is the id of a point: `c` (driver calls) or `f` (page programs and block erases), then the cuts
    joined by `+`, each the operation's number and the first letter of the moment: `c117t+4b`.
    """

    cuts: tuple[Cut, ...]
    fine: bool = False

    def __str__(self) -> str:
        return ("f" if self.fine else "c") + "+".join(map(str, self.cuts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The schedule of that id. Raises `ScheduleError`."""
        found = [_CUT.fullmatch(each) for each in text[1:].split("+")]
        if text[:1] not in ("c", "f") or len(found) > MAX_CUTS or not all(found):
            raise ScheduleError(f"{text!r} is not the id of a power cut; ids look like c117t or f2041b+17a")
        cuts = tuple(Cut(int(each[1]), _MOMENT_LETTERS[each[2]]) for each in found if each)
        return cls(cuts, text[0] == "f")


@dataclass(frozen=True, slots=True)
class Site:
    """An operation of the undisturbed run, as the place of a first cut.

    `stage` is who was at work, `partition` whose bytes are changed, empty outside of all.
    """

    index: int
    operation: FlashOperation
    stage: str
    partition: str


@dataclass(frozen=True, slots=True)
class Point:
    """One schedule and its judgement."""

    schedule: Schedule
    judgement: Judgement

    @property
    def site_index(self) -> int:
        return self.schedule.cuts[0].index
