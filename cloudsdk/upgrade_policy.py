"""When an upgrade may begin: what the port makes of a task's `upgrade_mode` (cloudsdk-protocol 3.1).

The SDK itself makes no difference between the modes. Here forced begins at once; optional and silent follow a
rule each, which is any function from an offer to an answer. A rule that looks at the time gets its clock when
it is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode

SHORTEST_WAIT: Final = 1.0  # seconds until an offer is put again, whatever the answer says
LONGEST_WAIT: Final = 3600.0  # seconds that a window waits in one go; a clock may be set meanwhile


@dataclass(frozen=True, slots=True)
class UpgradeOffer:
    """One firmware of a task that would be downloaded now. Firmwares of a task are offered one by one."""

    task_version: str
    partition: str
    version: str
    mode: UpgradeMode


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether to begin. If not, the offer stays open in RAM and is put again after `again_after` seconds;
    None: when the cloud sends it again, which it does at the next connection."""

    begin: bool
    reason: str = ""  # for the console
    again_after: float | None = None


Rule = Callable[[UpgradeOffer], Answer]

BEGIN: Final = Answer(True)
DECLINED: Final = Answer(False, "declined")


def postponed(seconds: float) -> Answer:
    """Not now; ask again after so many seconds."""
    return Answer(False, f"postponed for {seconds:g} s", seconds)


def now(_offer: UpgradeOffer) -> Answer:
    """The rule that begins at once."""
    return BEGIN


def never(_offer: UpgradeOffer) -> Answer:
    """The rule that declines."""
    return DECLINED


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """The rule that begins from `start` until before `end` of every day; `end` may be on the next day.

    `clock` gives the device's local time without a time zone. Raises `UsageError` for an empty window.
    """

    start: time
    end: time
    clock: Callable[[], datetime]

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise UsageError(f"the window {self} is empty: end it at another time than it starts")

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def __call__(self, _offer: UpgradeOffer) -> Answer:
        moment = self.clock()
        of_day = moment.time()
        if self.start < self.end:
            inside = self.start <= of_day < self.end
        else:
            inside = of_day >= self.start or of_day < self.end
        if inside:
            return BEGIN
        opens = datetime.combine(moment.date(), self.start)
        if opens <= moment:
            opens += timedelta(days=1)
        wait = (opens - moment).total_seconds()
        return Answer(False, f"waits for {self}", min(wait, LONGEST_WAIT))


@dataclass(frozen=True, slots=True)
class UpgradePolicy:
    """The rules for the two modes that have one; by default both begin at once, as the original does."""

    optional: Rule = now
    silent: Rule = now

    def answer(self, offer: UpgradeOffer) -> Answer:
        match offer.mode:
            case UpgradeMode.OPTIONAL:
                return self.optional(offer)
            case UpgradeMode.SILENT:
                return self.silent(offer)
            case _:
                return BEGIN
