"""What is kept of a sweep, and how little."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from sim.faults.powercut.model import MOMENTS, VERDICTS, Cut, Judgement, Point, Schedule, Site, Verdict
from sim.faults.powercut.results import LETTERS, MOST_BAD, MOST_DETAIL, Collector, SweepReport, Swept
from sim.faults.powercut.sweep import SweepOptions
from sim.flash.power import CutMoment, FlashOperation

SITES = [
    Site(index, FlashOperation("nor", "write", 4096 * index, 256), "loader" if index < 30 else "app", part)
    for index in range(40)
    for part in ["slot" if index % 10 else "mark"]
]


def points(seed: int = 1, count: int = 2000) -> list[Point]:
    """All different; a quarter has two cuts."""
    source = random.Random(seed)
    found = {}
    for _ in range(count):
        cuts = [Cut(source.randrange(40), source.choice(MOMENTS))]
        if source.randrange(4) == 0:
            cuts.append(Cut(source.randrange(1000), source.choice(MOMENTS)))
        judgement = Judgement(source.choice(VERDICTS), f"detail {source.random()}", source.randrange(4))
        found[str(Schedule(tuple(cuts)))] = Point(Schedule(tuple(cuts)), judgement)
    return list(found.values())


def collected(given: list[Point]) -> Collector:
    collector = Collector(len(SITES))
    for point in given:
        collector.add(point)
    return collector


def reported(collector: Collector, *, armed: int | None = None, interrupted: bool = False) -> SweepReport:
    return collector.report(
        SITES,
        swept=Swept("b"),
        options=SweepOptions(),
        undisturbed=Judgement(Verdict.RECOVERED_NEW),
        armed=collector.fired if armed is None else armed,
        interrupted=interrupted,
        seconds=1.5,
    )


def test_verdicts_are_counted_by_number_of_cuts() -> None:
    given = points()
    report = reported(collected(given))
    expected = Counter((point.judgement.verdict, len(point.schedule.cuts)) for point in given)
    assert {(count.verdict, 1): count.one for count in report.counts} == {
        key: count for key, count in expected.items() if key[1] == 1
    }
    assert {(count.verdict, 2): count.two for count in report.counts} == {
        key: count for key, count in expected.items() if key[1] == 2
    }
    assert report.fired == len(given)
    assert report.bad_count == sum(not point.judgement.verdict.good for point in given)


def test_strip_shows_the_worst_verdict_behind_each_place() -> None:
    given = points(count=150)
    report = reported(collected(given))
    for moment in MOMENTS:
        for index, letter in enumerate(report.letters(moment)):
            behind = [
                point.judgement.verdict for point in given if point.schedule.cuts[0] == Cut(index, moment)
            ]
            assert letter == (LETTERS[max(behind, key=VERDICTS.index)] if behind else ".")
    assert {"."} < {letter for moment in MOMENTS for letter in report.letters(moment)}


def test_several_operations_show_the_worst_of_them() -> None:
    report = reported(collected(points(count=150)))
    whole = report.letters(CutMoment.TORN)
    order = "." + "".join(LETTERS.values())
    assert report.letters(CutMoment.TORN, each=7) == "".join(
        max(whole[at : at + 7], key=order.index) for at in range(0, 40, 7)
    )


@pytest.mark.parametrize("parts", [2, 5])
def test_merged_parts_are_the_whole(parts: int) -> None:
    given = points()
    whole = reported(collected(given))
    merged = Collector(len(SITES))
    for part in range(parts):
        merged = merged.merged(collected(given[part::parts]))
    assert reported(merged) == whole
    random.Random(2).shuffle(given)
    assert reported(collected(given)) == whole


def test_bad_points_are_bounded_and_the_simplest() -> None:
    given = points()
    report = reported(collected(given))
    for verdict in VERDICTS:
        kept = [bad.point for bad in report.bad if bad.point.judgement.verdict is verdict]
        all_of_it = [point for point in given if point.judgement.verdict is verdict]
        assert len(all_of_it) > MOST_BAD
        by_cuts = sorted(
            all_of_it,
            key=lambda point: (
                len(point.schedule.cuts),
                [(cut.index, MOMENTS.index(cut.moment)) for cut in point.schedule.cuts],
            ),
        )
        assert kept == ([] if verdict.good else by_cuts[:MOST_BAD])
    assert report.bad[0].point.judgement.verdict is Verdict.BRICK
    assert all(bad.site is SITES[bad.point.site_index] for bad in report.bad)


def test_long_details_are_cut() -> None:
    endless = Point(Schedule((Cut(0, CutMoment.TORN),)), Judgement(Verdict.BRICK, "x" * 10_000))
    (bad,) = reported(collected([endless])).bad
    assert len(bad.point.judgement.detail) == MOST_DETAIL


def test_stretches_and_groups_cover_the_run() -> None:
    given = points()
    report = reported(collected(given))
    covered = [index for each in report.stretches for index in range(each.first, each.last + 1)]
    assert covered == list(range(len(SITES)))
    for stretch in report.stretches:
        assert (SITES[stretch.first].stage, SITES[stretch.last].partition) == (
            stretch.stage,
            stretch.partition,
        )
    groups = report.groups()
    letters = "".join(map(report.letters, MOMENTS))
    assert sum(group.tried for group in groups) == len(letters) - letters.count(".")
    assert sum(group.bad for group in groups) == sum(letters.count(letter) for letter in "EWSB")
    assert len({(group.stage, group.partition, group.moment) for group in groups}) == len(groups) == 12


def test_only_a_complete_sweep_without_bad_points_is_ok() -> None:
    good = [point for point in points() if point.judgement.verdict.good]
    assert reported(collected(good)).ok
    assert not reported(collected(points())).ok
    assert not reported(collected(good), armed=len(good) + 1).ok
    assert not reported(collected(good), interrupted=True).ok


def test_facts_are_json() -> None:
    report = reported(collected(points()))
    facts = json.loads(json.dumps(report.facts()))
    assert (facts["armed"], facts["fired"], facts["ok"]) == (report.fired, report.fired, False)
    assert facts["strip"]["torn"] == report.letters(CutMoment.TORN)
    assert facts["bad"][0]["id"] == str(report.bad[0].point.schedule)
    assert sum(row["one_cut"] + row["two_cuts"] for row in facts["verdicts"].values()) == report.fired
    assert replace(report, seconds=2.0).facts() != report.facts()
