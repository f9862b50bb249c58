"""The sweep itself, on firmware that fits on a page."""

from collections.abc import Mapping

import pytest

from sim.faults.powercut.model import MOMENTS, Cut, Judgement, Point, Schedule, ScheduleError, Verdict
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.world import Console, Firmware, Step, World
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.power import CutMoment

GEOMETRY = FlashGeometry("nor", 0, 8 * 4096, 4096, 256, 1)
OLD, NEW = b"old" * 1000, b"new" * 1000
READY = b"\xa5"


def careful(devices: Mapping[str, NorFlash]) -> None:
    """Writes the new content beside the old one, and only then the mark that makes it count."""
    flash = devices["nor"]
    if flash.read(4096, 1) != READY:
        flash.erase(0, 4096)
        flash.write(0, NEW)
        flash.erase(4096, 4096)
        flash.write(4096, READY)


def careless(devices: Mapping[str, NorFlash]) -> None:
    flash = devices["nor"]
    if flash.read(4096, 1) != READY:
        flash.erase(4096, 4096)
        flash.write(4096, READY)
        flash.erase(0, 4096)
        flash.write(0, NEW)


def whole(devices: Mapping[str, NorFlash]) -> Judgement:
    good = devices["nor"].read(0, len(NEW)) == NEW
    return Judgement(Verdict.RECOVERED_NEW if good else Verdict.SILENT_CORRUPTION)


def swept(subject: Firmware, options: SweepOptions | None = None, parts: int = 1) -> list[Point]:
    points: list[Point] = []
    for part in range(parts):
        laboratory = Laboratory(subject, options)
        sites, _ = laboratory.dry_run()
        laboratory.sweep(laboratory.plan(sites), points.append, part=part, parts=parts)
    return points


CAREFUL = Firmware((GEOMETRY,), careful, whole)
CARELESS = Firmware((GEOMETRY,), careless, whole)


def test_every_operation_is_cut_at_every_moment() -> None:
    points = swept(CAREFUL)
    assert [point.schedule for point in points] == [
        Schedule((Cut(index, moment),)) for index in range(4) for moment in MOMENTS
    ]
    assert all(point.judgement.verdict is Verdict.RECOVERED_NEW for point in points)
    assert {point.judgement.starts for point in points} == {1}


def test_a_mark_before_the_data_is_found() -> None:
    bad = [str(point.schedule) for point in swept(CARELESS) if not point.judgement.verdict.good]
    # Half of a mark of one byte is none.
    assert bad == ["c1a", "c2b", "c2t", "c2a", "c3b", "c3t"]


def test_fine_points_are_page_programs_and_block_erases() -> None:
    points = swept(CAREFUL, SweepOptions(fine=True))
    pages = -(-len(NEW) // 256)
    assert len(points) == (1 + pages + 1 + 1) * len(MOMENTS)


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("subject", [CAREFUL, CARELESS], ids=["careful", "careless"])
def test_replay_gives_the_verdict_of_the_sweep(subject: Firmware, fine: bool) -> None:
    options = SweepOptions(fine=fine, nested=None)
    for point in swept(subject, options):
        text = str(point.schedule)
        replayed = Laboratory(subject).replay(Schedule.parse(text), lambda _text: None)
        assert replayed.schedule == point.schedule
        assert replayed.judgement.verdict is point.judgement.verdict, text


def test_every_second_cut() -> None:
    points = swept(CAREFUL, SweepOptions(nested=None))
    seconds = [point for point in points if len(point.schedule.cuts) == 2]
    # All but the last of the twelve points leave no mark: all four operations come again.
    assert len(seconds) == 11 * 4 * len(MOMENTS)


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    options = SweepOptions(points=5, nested=7, seed=3)
    points = swept(CAREFUL, options)
    assert points == swept(CAREFUL, options)
    assert points != swept(CAREFUL, SweepOptions(points=5, nested=7, seed=4))
    assert len([point for point in points if len(point.schedule.cuts) == 1]) == 5


def test_sweeps_that_share_the_work_find_the_same() -> None:
    options = SweepOptions(fine=True, points=20, nested=20)
    alone = swept(CAREFUL, options)
    shared = swept(CAREFUL, options, parts=3)
    assert sorted(map(str, (point.schedule for point in alone))) == sorted(
        map(str, (point.schedule for point in shared))
    )


def test_firmware_that_dies_is_a_brick() -> None:
    def fragile(devices: Mapping[str, NorFlash]) -> None:
        if devices["nor"].read(4096, 1) == READY:
            raise RuntimeError("did not expect a mark")
        devices["nor"].write(4096, READY)

    bad = [
        point for point in swept(Firmware((GEOMETRY,), fragile, whole)) if not point.judgement.verdict.good
    ]
    assert [point.judgement.detail for point in bad if point.judgement.verdict is Verdict.BRICK] == [
        "RuntimeError: did not expect a mark"
    ]


class Restless(Firmware):
    """Resets for ever once it has lost power between erase and write."""

    def step(self, world: World, console: Console) -> Step:
        flash = world.devices["nor"]
        if flash.read(0, 2) == b"\x00\xff":
            return Step.AGAIN
        flash.write(0, b"\0")
        flash.write(1, b"\0")
        return Step.SETTLED


def test_firmware_that_never_rests_does_not_converge() -> None:
    points = swept(Restless((GEOMETRY,), careful, lambda _: Judgement(Verdict.RECOVERED_NEW)))
    assert [str(point.schedule) for point in points if not point.judgement.verdict.good] == [
        "c0a",
        "c1b",
        "c1t",
    ]
    assert {point.judgement.verdict for point in points} == {Verdict.RECOVERED_NEW, Verdict.NO_CONVERGENCE}


@pytest.mark.parametrize("text", ["", "c", "x1t", "c1", "c1x", "c1t+", "c1t+2", "c-1t", "c1t" + "+1t" * 8])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule.parse(text)


def test_a_cut_beyond_the_run_is_refused() -> None:
    with pytest.raises(ScheduleError):
        Laboratory(CAREFUL).replay(Schedule((Cut(99, CutMoment.TORN),)), lambda _text: None)
