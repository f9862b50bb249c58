"""A sweep as JUnit XML, which CI systems read.

A test case is a place of a first cut, with all that was tried behind it; in a larger sweep it is all places
of one moment, stage and partition. One more case says whether every armed fault fired.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from sim.faults.powercut.model import MOMENTS, VERDICTS, Cut, Schedule
from sim.faults.powercut.results import LETTERS, UNTRIED, BadPoint, SweepReport
from sim.faults.powercut.summary import headline, place, plain, summary, verdict_line

MOST_CASES: Final = 500  # places that are a test case each
SUITE: Final = "cloudsim.powercut"
_BAD: Final = {LETTERS[verdict] for verdict in VERDICTS if not verdict.good}


@dataclass(frozen=True, slots=True)
class _Case:
    """`tried` and `bad` are numbers of places, `points` the bad ones of which details are known."""

    stage: str
    partition: str
    name: str
    tried: int
    bad: int
    points: tuple[BadPoint, ...]


def junit(report: SweepReport) -> bytes:
    """The XML document, UTF-8."""
    groups = report.groups()
    single = sum(group.tried for group in groups) <= MOST_CASES
    cases = list(_places(report) if single else _groups(report))
    failures = sum(case.bad > 0 for case in cases)
    suite = ET.Element(
        "testsuite",
        name=SUITE,
        tests=str(len(cases) + 1),
        failures=str(failures),
        errors=str(int(not report.complete)),
        skipped="0",
        time=f"{report.seconds:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in summary(report):
        ET.SubElement(properties, "property", name=name, value=plain(value))
    for case in cases:
        classname = ".".join(filter(None, (SUITE, case.stage, case.partition)))
        element = ET.SubElement(suite, "testcase", classname=plain(classname), name=case.name, time="0")
        if case.bad:
            verdicts = {point.point.judgement.verdict.value: None for point in case.points}
            message = (
                f"{case.bad} of {case.tried} places end badly: {', '.join(verdicts) or 'see the summary'}"
            )
            failure = ET.SubElement(element, "failure", type="powercut", message=message)
            failure.text = "\n".join(_lines(report, case.points))
    fired = ET.SubElement(suite, "testcase", classname=SUITE, name="every armed fault fired", time="0")
    if not report.complete:
        ET.SubElement(fired, "error", type="powercut", message=headline(report))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _places(report: SweepReport) -> Iterator[_Case]:
    for stretch in report.stretches:
        rows = {moment: report.letters(moment, stretch) for moment in MOMENTS}
        for index in range(stretch.first, stretch.last + 1):
            for moment in MOMENTS:
                letter = rows[moment][index - stretch.first]
                if letter == UNTRIED:
                    continue
                cut = Cut(index, moment)
                points = tuple(bad for bad in report.bad if bad.point.schedule.cuts[0] == cut)
                name = str(Schedule((cut,), report.options.fine))
                yield _Case(stretch.stage, stretch.partition, name, 1, int(letter in _BAD), points)


def _groups(report: SweepReport) -> Iterator[_Case]:
    for group in report.groups():
        key = (group.stage, group.partition, group.moment)
        points = tuple(
            bad
            for bad in report.bad
            if (bad.site.stage, bad.site.partition, bad.point.schedule.cuts[0].moment) == key
        )
        yield _Case(group.stage, group.partition, group.moment.value, group.tried, group.bad, points)


def _lines(report: SweepReport, points: Iterable[BadPoint]) -> Iterator[str]:
    for bad in points:
        yield f"{bad.point.schedule} ({plain(bad.title)}, {place(bad)}) {verdict_line(bad.point.judgement)}"
    if report.swept.replay:
        yield plain(f"replay: {report.swept.replay} ID")
