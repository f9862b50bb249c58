"""Every planted defect is found, and nothing is found without it."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cloudsdk.fal import Partition
from cloudsdk.ota.download import Download
from cloudsdk.ota.journal import Journal
from cloudsdk.session import Session
from sim.faults.powercut.corpus.board import LAYOUT, app_package, board_pages
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.corpus.run import CORPUS, CorpusResult, Finding, run_corpus
from sim.faults.powercut.model import Point, Schedule, Verdict
from sim.faults.powercut.sweep import Laboratory
from sim.faults.powercut.upgrade import Upgrade

GUIDE = (Path(__file__).parents[2] / "docs/powercut-corpus.md").read_text()
#: Name, mistake and id of a point, as the guide lists them.
ROWS = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| `([cf][0-9bta+]+)` .+? \| .+? \|$", GUIDE, re.MULTILINE)


def named(name: str) -> Defect:
    (defect,) = (each for each in CORPUS if each.name == name)
    return defect


def replayed(defect: Defect, schedule: Schedule) -> Point:
    return defect.laboratory().replay(schedule, lambda _text: None)


@pytest.fixture(scope="module")
def result() -> CorpusResult:
    return run_corpus()


@pytest.fixture(params=range(len(CORPUS)), ids=[defect.name for defect in CORPUS])
def finding(request: pytest.FixtureRequest, result: CorpusResult) -> Finding:
    return result.findings[request.param]


def test_defect_is_found_with_a_verdict_it_leads_to(finding: Finding) -> None:
    assert finding.first is not None
    assert finding.first.judgement.verdict in finding.defect.expected
    assert not finding.first.judgement.verdict.good
    assert finding.detected


def test_nothing_shows_without_a_loss_of_power(finding: Finding) -> None:
    assert finding.planted.undisturbed.verdict is Verdict.RECOVERED_NEW


def test_control_is_clean(finding: Finding) -> None:
    assert finding.control.undisturbed.verdict is Verdict.RECOVERED_NEW
    assert finding.control.points > 0
    assert finding.control.bad == ()


def test_expected_verdicts_are_the_ones_found(finding: Finding) -> None:
    assert {point.judgement.verdict for point in finding.planted.bad} == finding.defect.expected


def test_every_point_found_can_be_replayed(finding: Finding) -> None:
    for point in (finding.planted.bad[0], finding.planted.bad[-1]):
        schedule = Schedule.parse(str(point.schedule))
        assert replayed(finding.defect, schedule).judgement.verdict is point.judgement.verdict


def test_defects_that_take_two_cuts_say_so(finding: Finding) -> None:
    fewest = min(len(point.schedule.cuts) for point in finding.planted.bad)
    assert fewest == finding.defect.cuts


def test_the_whole_corpus_is_counted(result: CorpusResult) -> None:
    assert result.detected == result.total == len(CORPUS) >= 14
    assert len({defect.name for defect in CORPUS}) == len(CORPUS)
    assert {verdict for verdict in Verdict if not verdict.good} == set().union(
        *(defect.expected for defect in CORPUS)
    )
    assert result.points > 4000


def test_findings_are_reported_as_they_are_made() -> None:
    seen: list[str] = []
    defects = [named("slot-flag-in-place"), named("env-saved-in-place")]
    result = run_corpus(defects, lambda finding: seen.append(finding.defect.name))
    assert seen == [defect.name for defect in defects]
    assert [finding.defect for finding in result.findings] == defects


def test_what_is_not_planted_is_not_detected() -> None:
    defect = named("magic-before-length")
    without = replace(defect, subject=lambda _planted: defect.subject(False))
    always = replace(defect, subject=lambda _planted: defect.subject(True))
    result = run_corpus([without, always])
    assert result.findings[0].first is None
    assert result.findings[1].first is not None
    assert (result.detected, result.total) == (0, 2)


def test_another_verdict_than_expected_is_no_detection() -> None:
    defect = replace(named("magic-before-length"), expected=frozenset({Verdict.WRONG_IMAGE}))
    assert run_corpus([defect]).detected == 0


def test_some_take_page_programs_or_another_tear() -> None:
    coarse = replace(named("last-unit-tells"), fine=False)
    half = replace(named("tail-not-checked"), torn=0.5)
    assert [finding.first for finding in run_corpus([coarse, half]).findings] == [None, None]


class EarlyJournal(Journal):
    """Sets a checkpoint before its data is there."""

    def write(self, offset: int, data: bytes) -> None:
        for index in range(offset // self.step, -(-(offset + len(data)) // self.step)):
            self._use(self._first_cell + index * self._cell)
        self._partition.write(offset + (self._staging if offset < self._staged else 0), data)


class EarlyDownload(Download):
    def _open_journal(self, partition: Partition) -> Journal | None:
        return EarlyJournal(partition, self._total) if super()._open_journal(partition) else None


def test_the_real_path_forgives_an_early_checkpoint() -> None:
    session = partial(Session, make_download=EarlyDownload)
    subject = Upgrade(LAYOUT, board_pages(), [app_package()], make_session=session)
    laboratory = Laboratory(subject)
    points: list[Point] = []
    laboratory.sweep(laboratory.plan(laboratory.dry_run()[0]), points.append)
    assert {point.judgement.verdict for point in points} == {Verdict.RECOVERED_NEW, Verdict.RECOVERED_OLD}


def test_guide_lists_the_corpus() -> None:
    assert [name for name, *_ in ROWS] == [defect.name for defect in CORPUS]


@pytest.mark.parametrize(("name", "mistake", "identity"), ROWS, ids=[row[0] for row in ROWS])
def test_guide_names_a_point_that_finds_it(name: str, mistake: str, identity: str) -> None:
    defect = named(name)
    assert defect.mistake == mistake
    assert replayed(defect, Schedule.parse(identity)).judgement.verdict in defect.expected
