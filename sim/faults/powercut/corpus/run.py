"""The corpus, and what the laboratory finds in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sim.faults.powercut.corpus import bootloader, copying, sdk, settings, slots, swap
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Judgement, Point

CORPUS: Final[tuple[Defect, ...]] = (
    *bootloader.DEFECTS,
    *sdk.DEFECTS,
    *settings.DEFECTS,
    *copying.DEFECTS,
    *slots.DEFECTS,
    *swap.DEFECTS,
)


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep of one subject: how it ends undisturbed, how many points were run, the bad ones in order."""

    undisturbed: Judgement
    points: int
    bad: tuple[Point, ...]

    @property
    def clean(self) -> bool:
        return self.undisturbed.verdict.good and not self.bad


@dataclass(frozen=True, slots=True)
class Finding:
    """What the laboratory found in one defect, and in its control."""

    defect: Defect
    planted: Swept
    control: Swept

    @property
    def first(self) -> Point | None:
        """The first point with a verdict the mistake leads to; None when there is none."""
        expected = self.defect.expected
        return next((point for point in self.planted.bad if point.judgement.verdict in expected), None)

    @property
    def detected(self) -> bool:
        """Whether losses of power, and nothing but the mistake, bring it out."""
        return self.planted.undisturbed.verdict.good and self.first is not None and self.control.clean


@dataclass(frozen=True, slots=True)
class CorpusResult:
    """All findings, in the order of the corpus."""

    findings: tuple[Finding, ...]

    @property
    def detected(self) -> int:
        return sum(finding.detected for finding in self.findings)

    @property
    def total(self) -> int:
        return len(self.findings)

    @property
    def points(self) -> int:
        """Points run, those of the controls included."""
        return sum(finding.planted.points + finding.control.points for finding in self.findings)


def run_corpus(
    defects: Sequence[Defect] = CORPUS, report: Callable[[Finding], None] | None = None
) -> CorpusResult:
    """Cut every defect and its control everywhere. `report` gets each finding as it is made."""
    findings = []
    for defect in defects:
        finding = Finding(defect, _sweep(defect, planted=True), _sweep(defect, planted=False))
        if report is not None:
            report(finding)
        findings.append(finding)
    return CorpusResult(tuple(findings))


def _sweep(defect: Defect, *, planted: bool) -> Swept:
    laboratory = defect.laboratory(planted=planted)
    sites, undisturbed = laboratory.dry_run()
    count = 0
    bad: list[Point] = []

    def collect(point: Point) -> None:
        nonlocal count
        count += 1
        if not point.judgement.verdict.good:
            bad.append(point)

    laboratory.sweep(laboratory.plan(sites), collect)
    return Swept(undisturbed, count, tuple(bad))
