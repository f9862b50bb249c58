"""What a sweep found: collected in bounded memory, merged over processes, reported once."""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Final

from sim.faults.powercut.model import MOMENTS, VERDICTS, Judgement, Point, Site, Verdict
from sim.faults.powercut.sweep import SweepOptions
from sim.flash.power import CutMoment

MOST_BAD: Final = 20  # bad points of one verdict that are kept with all details
MOST_DETAIL: Final = 300  # characters of a judgement's text that are kept

#: What stands for a verdict where there is room for one character; `UNTRIED` where no cut was made.
LETTERS: Final[Mapping[Verdict, str]] = {
    Verdict.RECOVERED_NEW: "N",
    Verdict.RECOVERED_OLD: "O",
    Verdict.NO_CONVERGENCE: "E",  # endless
    Verdict.WRONG_IMAGE: "W",
    Verdict.SILENT_CORRUPTION: "S",
    Verdict.BRICK: "B",
}
UNTRIED: Final = "."
_RANK: Final = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
_MOMENT_RANK: Final = {moment: rank for rank, moment in enumerate(MOMENTS)}
#: From a byte of a strip, one bit for each verdict by rank, to the letter of the worst.
_WORST: Final = bytes(
    ord(LETTERS[VERDICTS[mask.bit_length() - 1]] if 0 < mask < 1 << len(VERDICTS) else UNTRIED)
    for mask in range(256)
)


@dataclass(frozen=True, slots=True)
class SweptPackage:
    """A package of the task: name and version of its header, size of the file in bytes."""

    name: str
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What was swept. `replay` is the command that replays a point when its id is put behind it."""

    board: str
    bootloader: str = ""
    profile: str = ""
    packages: tuple[SweptPackage, ...] = ()
    replay: str = ""


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many schedules with one and with two cuts ended with a verdict."""

    verdict: Verdict
    one: int
    two: int

    @property
    def total(self) -> int:
        return self.one + self.two


@dataclass(frozen=True, slots=True)
class BadPoint:
    """A schedule that ended badly, and the operation of its first cut."""

    point: Point
    site: Site

    @property
    def title(self) -> str:
        return _title(self.site.stage, self.site.partition)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Operations `first` to `last`, all of one stage in one partition."""

    first: int
    last: int
    stage: str
    partition: str

    @property
    def title(self) -> str:
        return _title(self.stage, self.partition)


@dataclass(frozen=True, slots=True)
class Group:
    """All places of one moment in one partition in one stage. `bad` counts those with a bad verdict."""

    stage: str
    partition: str
    moment: CutMoment
    tried: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """A sweep.

    `armed` counts the schedules that were to be run. `strip` has a byte for each place a first cut can have,
    operation by operation, in the order of `MOMENTS`: one bit, by rank in `VERDICTS`, for each verdict that
    was seen behind it. `bad` holds at most `MOST_BAD` points of each verdict, the worst verdict first, those
    with one cut before those with two.
    """

    swept: Swept
    options: SweepOptions
    undisturbed: Judgement
    operations: int
    armed: int
    interrupted: bool
    seconds: float
    counts: tuple[VerdictCount, ...]
    stretches: tuple[Stretch, ...]
    strip: bytes
    bad: tuple[BadPoint, ...]

    @property
    def fired(self) -> int:
        """Schedules that were run and judged."""
        return sum(count.total for count in self.counts)

    @property
    def bad_count(self) -> int:
        return sum(count.total for count in self.counts if not count.verdict.good)

    @property
    def complete(self) -> bool:
        """Whether every armed fault fired."""
        return self.armed == self.fired and not self.interrupted

    @property
    def ok(self) -> bool:
        """Whether the sweep shows that the device recovers: one without a single cut shows nothing."""
        return self.complete and self.fired > 0 and not self.bad_count

    def letters(self, moment: CutMoment, stretch: Stretch | None = None, *, each: int = 1) -> str:
        """The worst verdict of every `each` operations of a stretch, or of the run, as one of `LETTERS`."""
        first, last = (stretch.first, stretch.last) if stretch else (0, self.operations - 1)
        places = slice(first * len(MOMENTS), (last + 1) * len(MOMENTS))
        row = self.strip[places][_MOMENT_RANK[moment] :: len(MOMENTS)]
        # The greatest byte has the highest bit, which is the worst verdict's.
        worst = row if each == 1 else bytes(max(row[at : at + each]) for at in range(0, len(row), each))
        return worst.translate(_WORST).decode("ascii")

    def groups(self) -> list[Group]:
        """The places that were tried, by stage, partition and moment."""
        found: dict[tuple[str, str, CutMoment], tuple[int, int]] = {}
        bad = [LETTERS[verdict] for verdict in VERDICTS if not verdict.good]
        for moment in MOMENTS:
            for stretch in self.stretches:
                key = (stretch.stage, stretch.partition, moment)
                part = self.letters(moment, stretch)
                tried, worse = found.get(key, (0, 0))
                found[key] = (
                    tried + len(part) - part.count(UNTRIED),
                    worse + sum(map(part.count, bad)),
                )
        return [Group(*key, tried, worse) for key, (tried, worse) in found.items() if tried]

    def facts(self) -> dict[str, Any]:
        """The report as JSON values."""
        options = asdict(self.options)
        return {
            "ok": self.ok,
            "swept": asdict(self.swept),
            "options": options,
            "undisturbed": _judgement_facts(self.undisturbed),
            "operations": self.operations,
            "armed": self.armed,
            "fired": self.fired,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "verdicts": {
                count.verdict.value: {"one_cut": count.one, "two_cuts": count.two} for count in self.counts
            },
            "stretches": [asdict(stretch) for stretch in self.stretches],
            "strip": {moment.value: self.letters(moment) for moment in MOMENTS},
            "bad": [
                {
                    **point_facts(bad.point),
                    "stage": bad.site.stage,
                    "partition": bad.site.partition,
                    **bad.site.operation.facts,
                }
                for bad in self.bad
            ],
        }


def _title(stage: str, partition: str) -> str:
    """Who was at work, and where."""
    return " / ".join(filter(None, (stage, partition)))


def point_facts(point: Point) -> dict[str, Any]:
    """A point as JSON values."""
    return {"id": str(point.schedule), **_judgement_facts(point.judgement)}


def _judgement_facts(judgement: Judgement) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict.value,
        "detail": judgement.detail,
        "starts": judgement.starts,
    }


class Collector:
    """Points as they come, of a run with that many `operations`."""

    def __init__(self, operations: int) -> None:
        self._one = [0] * len(VERDICTS)
        self._two = [0] * len(VERDICTS)
        self._strip = bytearray(operations * len(MOMENTS))
        self._bad: dict[Verdict, list[Point]] = {}

    @property
    def fired(self) -> int:
        return sum(self._one) + sum(self._two)

    def add(self, point: Point) -> None:
        cuts = point.schedule.cuts
        verdict = point.judgement.verdict
        rank = _RANK[verdict]
        self._strip[cuts[0].index * len(MOMENTS) + _MOMENT_RANK[cuts[0].moment]] |= 1 << rank
        if not verdict.good:
            self._keep(point)
        (self._one if len(cuts) == 1 else self._two)[rank] += 1

    def merged(self, other: "Collector") -> "Collector":
        """What both found in the same run. Neither is changed."""
        both = Collector(len(self._strip) // len(MOMENTS))
        both._one = [one + another for one, another in zip(self._one, other._one, strict=True)]
        both._two = [one + another for one, another in zip(self._two, other._two, strict=True)]
        mask = int.from_bytes(self._strip) | int.from_bytes(other._strip)
        both._strip = bytearray(mask.to_bytes(len(self._strip)))
        for verdict in self._bad.keys() | other._bad.keys():
            points = [*self._bad.get(verdict, ()), *other._bad.get(verdict, ())]
            both._bad[verdict] = sorted(points, key=_order)[:MOST_BAD]
        return both

    def report(
        self,
        sites: Sequence[Site],
        *,
        swept: Swept,
        options: SweepOptions,
        undisturbed: Judgement,
        armed: int,
        interrupted: bool,
        seconds: float,
    ) -> SweepReport:
        """The report on the run with these `sites`."""
        worst_first = [point for verdict in reversed(VERDICTS) for point in self._bad.get(verdict, ())]
        return SweepReport(
            swept=swept,
            options=options,
            undisturbed=undisturbed,
            operations=len(sites),
            armed=armed,
            interrupted=interrupted,
            seconds=seconds,
            counts=tuple(map(VerdictCount, VERDICTS, self._one, self._two)),
            stretches=tuple(_stretches(sites)),
            strip=bytes(self._strip),
            bad=tuple(BadPoint(point, sites[point.site_index]) for point in worst_first),
        )

    def _keep(self, point: Point) -> None:
        """Among the first `MOST_BAD` of its verdict; which these are does not depend on who finds them."""
        kept = self._bad.setdefault(point.judgement.verdict, [])
        if len(kept) == MOST_BAD and _order(point) >= _order(kept[-1]):
            return
        if len(point.judgement.detail) > MOST_DETAIL:
            detail = point.judgement.detail[: MOST_DETAIL - 3] + "..."
            point = replace(point, judgement=replace(point.judgement, detail=detail))
        insort(kept, point, key=_order)
        del kept[MOST_BAD:]


def _order(point: Point) -> tuple[int, list[tuple[int, int]]]:
    """Simple schedules first, then in the order of the run."""
    cuts = point.schedule.cuts
    return len(cuts), [(cut.index, _MOMENT_RANK[cut.moment]) for cut in cuts]


def _stretches(sites: Sequence[Site]) -> Iterator[Stretch]:
    for (stage, partition), run in groupby(sites, key=lambda site: (site.stage, site.partition)):
        indices = [site.index for site in run]
        yield Stretch(indices[0], indices[-1], stage, partition)
