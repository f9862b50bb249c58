"""The page and the JUnit file."""

import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from sim.faults.powercut.html_report import MOST_COLUMNS, html_report
from sim.faults.powercut.junit import MOST_CASES, junit
from sim.faults.powercut.model import MOMENTS, Cut, Judgement, Point, Schedule, Site, Verdict
from sim.faults.powercut.results import Collector, SweepReport, Swept, SweptPackage
from sim.faults.powercut.summary import plain
from sim.faults.powercut.sweep import SweepOptions
from sim.flash.power import CutMoment, FlashOperation

NASTY = "<script>alert('1')</script> & \x1b[31m\x00\ud800"
PARTS = ("download", "easyflash", "app<1>")


def swept(operations: int, *, share: float = 1.0, bad: float = 0.1, alternating: bool = False) -> SweepReport:
    source = random.Random(3)
    length = 1 if alternating else -(-operations // len(PARTS))
    sites = [
        Site(
            index,
            FlashOperation("nor", "write", 0x1000, 256),
            "bootloader",
            PARTS[index // length % len(PARTS)],
        )
        for index in range(operations)
    ]
    collector = Collector(operations)
    for site in sites:
        for moment in MOMENTS:
            if source.random() < share:
                verdict = source.choice(list(Verdict)[2:]) if source.random() < bad else Verdict.RECOVERED_OLD
                schedule = Schedule((Cut(site.index, moment),))
                collector.add(Point(schedule, Judgement(verdict, NASTY)))
    return collector.report(
        sites,
        swept=Swept("b&b", "rt_ota 1.3", "manual", (SweptPackage("app", "2", 9),), "cloudsim <x> --replay"),
        options=SweepOptions(),
        undisturbed=Judgement(Verdict.RECOVERED_NEW),
        armed=collector.fired,
        interrupted=False,
        seconds=2.0,
    )


class Page(HTMLParser):
    """Tags, attributes and text; whether every tag that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_page_needs_nothing_else() -> None:
    text = html_report(swept(50))
    assert "http" not in text
    assert not re.search(r"\b(src|href|@import)\b", text)
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert set(re.findall(r"url\((.*?)\)", text)) == {"#E", "#W", "#S", "#B"}
    assert "prefers-color-scheme:dark" in text


def test_page_escapes_text() -> None:
    page = Page(html_report(swept(50)))
    assert any(plain(NASTY) in text for text in page.texts)
    assert any("b&b" in text for text in page.texts)
    assert any("bootloader / app<1>" in text for text in page.texts)


def test_page_lists_every_bad_point_that_is_kept() -> None:
    report = swept(50)
    page = Page(html_report(report))
    assert report.bad
    for bad in report.bad:
        assert str(bad.point.schedule) in page.texts


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("operations", [1, 50, 20_000])
def test_strip_is_true_and_small(operations: int, alternating: bool) -> None:
    report = swept(operations, alternating=alternating)
    text = html_report(report)
    assert len(text) < 900_000
    titles = re.findall(r"<title>operations? (\d+)(?: to (\d+))?, (\w+): ([a-z-]+)</title>", text)
    assert len(titles) <= 3 * (MOST_COLUMNS + len(PARTS) * 40)
    covered = {moment: [] for moment in MOMENTS}  # type: dict[CutMoment, list[int]]
    for first, last, moment, verdict in titles:
        span = range(int(first), int(last or first) + 1)
        letters = report.letters(CutMoment(moment))[span.start : span.stop]
        worst = max(letters, key=".NOEWSB".index)
        assert worst == {"no-convergence": "E", "recovered-old": "O"}.get(verdict, verdict[0].upper())
        covered[CutMoment(moment)] += span
    assert all(sorted(found) == list(range(operations)) for found in covered.values())


def test_what_was_not_tried_has_no_bar() -> None:
    report = swept(50, share=0.1)
    titles = re.findall(r"<title>operation", html_report(report))
    assert 0 < len(titles) <= report.fired


def test_page_of_nothing() -> None:
    report = swept(0)
    assert not report.ok
    assert "nothing to cut" in html_report(report)


def cases(report: SweepReport) -> tuple[ET.Element, list[ET.Element]]:
    (suite,) = ET.fromstring(junit(report))  # noqa: S314 - our own
    found = suite.findall("testcase")
    assert suite.get("tests") == str(len(found))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    assert suite.get("errors") == str(len(suite.findall("testcase/error")))
    return suite, found


def test_small_sweep_has_a_case_for_each_place() -> None:
    report = swept(50)
    suite, found = cases(report)
    assert len(found) == 50 * 3 + 1
    failed = {case.get("name") for case in found if case.find("failure") is not None}
    letters = {moment: report.letters(moment) for moment in MOMENTS}
    assert failed == {
        f"c{index}{moment.value[0]}"
        for moment in MOMENTS
        for index in range(50)
        if letters[moment][index] in "EWSB"
    }
    texts = "".join(failure.text or "" for failure in suite.findall("testcase/failure"))
    assert all(str(bad.point.schedule) in texts for bad in report.bad)
    assert "cloudsim <x> --replay ID" in texts


def test_large_sweep_has_a_case_for_each_group() -> None:
    report = swept(MOST_CASES // 3 + 10)
    suite, found = cases(report)
    assert [(case.get("classname"), case.get("name")) for case in found[:-1]] == [
        (f"cloudsim.powercut.bootloader.{part}", moment.value) for moment in MOMENTS for part in PARTS
    ]
    messages = [str(failure.get("message")) for failure in suite.findall("testcase/failure")]
    numbers = [int(message.split()[0]) for message in messages]
    assert sum(numbers) == report.bad_count
    texts = "".join(failure.text or "" for failure in suite.findall("testcase/failure"))
    assert all(str(bad.point.schedule) in texts for bad in report.bad)


def test_incomplete_sweep_is_an_error_of_the_suite() -> None:
    for report in (
        replace(swept(5, bad=0), interrupted=True),
        replace(swept(5, bad=0), armed=16),
    ):
        suite, _ = cases(report)
        assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    suite, _ = cases(swept(5, bad=0))
    assert (suite.get("errors"), suite.get("failures")) == ("0", "0")
