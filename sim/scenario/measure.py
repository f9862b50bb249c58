"""What a run has come to, and whether that is enough. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Final

from sim.fleet.events import FleetEvent, Kind, Phase
from sim.fleet.metrics import Metrics
from sim.scenario.models import COUNTS, LATENCIES, Condition, Threshold
from sim.scenario.units import duration, percent

SLOWEST: Final = 20  # devices that are named


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold. `value` is a share, or seconds; None when nothing was measured. `at` is run time."""

    words: str
    passed: bool
    value: float | None
    shown: str
    at: float


@dataclass(frozen=True, slots=True)
class SlowDevice:
    sn: str
    seconds: float
    what: str


@dataclass(slots=True)
class Observer:
    """Follows the events of `devices` devices."""

    devices: int
    metrics: Metrics
    activated: set[str] = field(default_factory=set)
    versions: Counter[str] = field(default_factory=Counter)  # that are reported
    targets: dict[str, str] = field(default_factory=dict)  # version that a device shall have
    bad_targets: dict[str, str] = field(default_factory=dict)  # that it must not have
    upgraded: set[str] = field(default_factory=set)
    bad_installed: set[str] = field(default_factory=set)
    _reported: dict[str, str] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)  # downloads
    _connecting: dict[str, float] = field(default_factory=dict)  # devices without a connection
    _slowest: list[tuple[float, str, str]] = field(default_factory=list)

    def switched_on(self, sn: str, at: float) -> None:
        """A device gets power; `at` is seconds since the start of the run."""
        self._connecting.setdefault(sn, at)

    def take(self, event: FleetEvent) -> None:
        sn = event.sn
        match event.kind:
            case Kind.ACTIVATED:
                self.activated.add(sn)
            case Kind.ONLINE:
                self._slow(sn, self._connecting.pop(sn, event.at), event.at, "to be online")
            case Kind.OFFLINE:
                self._connecting.setdefault(sn, event.at)
            case Kind.TASK:
                self._began.setdefault(sn, event.at)
            case Kind.REPORTED:
                self._take_version(sn, event.detail, event.at)

    def want(self, sns: Iterable[str], version: str, *, bad: bool = False) -> None:
        """An upgrade is for these devices."""
        for sn in sns:
            (self.bad_targets if bad else self.targets)[sn] = version
            self._compare(sn)

    def value(self, condition: Condition) -> float | None:
        """What is measured now: a share, or seconds; None when there is nothing to measure."""
        metric = condition.metric
        if metric in LATENCIES:
            histogram = getattr(self.metrics, metric)
            if not histogram.count or condition.percentile is None:
                return None
            seconds: float = histogram.percentile(condition.percentile / 100)
            return seconds
        counts = self.metrics.counts
        number = {
            "online": self.metrics.phases[Phase.ONLINE],
            "activated": len(self.activated),
            "failed": self.metrics.phases[Phase.FAILED],
            "errors": counts[Kind.FAILED],
            "offline": counts[Kind.OFFLINE],
            "upgraded": len(self.upgraded),
            "bad_installed": len(self.bad_installed),
        }[metric]
        of = {"upgraded": len(self.targets), "bad_installed": len(self.bad_targets)}.get(metric, self.devices)
        return number / of if of else None

    def holds(self, condition: Condition) -> bool:
        """Whether it does now; not when nothing was measured."""
        value = self.value(condition)
        if value is None:
            return False
        return value >= condition.bound if condition.at_least is not None else value <= condition.bound

    def judge(self, threshold: Threshold, at: float, *, late: bool = False) -> Verdict:
        """The verdict of this moment; `late` when the time for the threshold is over."""
        value = self.value(threshold)
        return Verdict(
            threshold.words, self.holds(threshold) and not late, value, shown(threshold, value), at
        )

    @property
    def slowest(self) -> list[SlowDevice]:
        """The devices that took longest for something."""
        return [SlowDevice(sn, seconds, what) for seconds, sn, what in sorted(self._slowest, reverse=True)]

    def _take_version(self, sn: str, version: str, at: float) -> None:
        earlier = self._reported.get(sn)
        if earlier is not None:
            self.versions[earlier] -= 1
            if not self.versions[earlier]:
                del self.versions[earlier]
        self.versions[version] += 1
        self._reported[sn] = version
        self._compare(sn)
        if sn in self._began and earlier != version:
            self._slow(sn, self._began.pop(sn), at, "to upgrade")

    def _compare(self, sn: str) -> None:
        version = self._reported.get(sn)
        for targets, reached in ((self.targets, self.upgraded), (self.bad_targets, self.bad_installed)):
            if sn in targets:
                (reached.add if targets[sn] == version else reached.discard)(sn)

    def _slow(self, sn: str, began: float, at: float, what: str) -> None:
        entry = (at - began, sn, what)
        if len(self._slowest) < SLOWEST:
            heappush(self._slowest, entry)
        else:
            heappushpop(self._slowest, entry)


def shown(condition: Condition, value: float | None) -> str:
    """A measured value for people."""
    if value is None:
        return "nothing was measured"
    if condition.metric in LATENCIES:
        return duration(value)
    return percent(value) if condition.metric in COUNTS or value in (0, 1) else f"{value * 100:.2f}%"
