"""Sweeps in one process and in several."""

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_sweep import CAREFUL, CARELESS, GEOMETRY, Restless, careful, whole

from sim.faults.powercut import jobs
from sim.faults.powercut.jobs import UndisturbedError, WorkerError, run_sweep
from sim.faults.powercut.model import Judgement, Schedule, Verdict
from sim.faults.powercut.results import SweepReport, Swept
from sim.faults.powercut.summary import headline
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.world import Firmware, World
from sim.flash.nor import NorFlash

SWEPT = Swept("page")
FINE = SweepOptions(fine=True, nested=None)
RESTLESS = Restless((GEOMETRY,), careful, lambda _: Judgement(Verdict.RECOVERED_NEW))


def timeless(report: SweepReport) -> SweepReport:
    return replace(report, seconds=0.0)


@pytest.mark.parametrize(
    "options", [FINE, SweepOptions(fine=True, points=40, nested=40)], ids=["all", "drawn"]
)
@pytest.mark.parametrize("subject", [CAREFUL, CARELESS, RESTLESS], ids=["careful", "careless", "restless"])
def test_the_number_of_processes_changes_nothing(
    subject: Firmware, options: SweepOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.faults.powercut.sweep._STRIPE", 2)  # so that there is work for all
    alone = run_sweep(subject, SWEPT, options)
    assert alone.armed == alone.fired > 0
    assert alone.ok is (subject is CAREFUL)
    for bad in alone.bad:
        replayed = Laboratory(subject).replay(Schedule.parse(str(bad.point.schedule)), lambda _text: None)
        assert replayed.judgement.verdict is bad.point.judgement.verdict
    monkeypatch.setattr(jobs, "INTERVAL", 0.0)  # a message for each point
    assert timeless(run_sweep(subject, SWEPT, options, jobs=3)) == timeless(alone)


def test_armed_is_what_a_recovery_has_room_for() -> None:
    # Behind the last moment nothing is left to do, so that no second cut can be made there.
    report = run_sweep(CAREFUL, SWEPT, SweepOptions(points=0, nested=120))
    assert 0 < report.fired == report.armed < 120


def test_faults_that_do_not_fire_are_told() -> None:
    runs = 0

    def forgetful(devices: Mapping[str, NorFlash]) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            careful(devices)

    report = run_sweep(Firmware((GEOMETRY,), forgetful, lambda _: Judgement(Verdict.RECOVERED_NEW)), SWEPT)
    assert (report.armed, report.fired, report.bad_count) == (12, 0, 0)
    assert not report.ok
    assert "12 were armed" in headline(report)


def test_what_never_works_is_not_swept() -> None:
    blank = Firmware((GEOMETRY,), lambda _devices: None, whole)
    with pytest.raises(UndisturbedError, match="silent-corruption"):
        run_sweep(blank, SWEPT)
    assert run_sweep(blank, SWEPT, expected=Verdict.SILENT_CORRUPTION).operations == 0


def test_interrupted_sweep_reports_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "INTERVAL", 0.0)
    seen: list[tuple[int, int | None]] = []

    def stop_at_ten(fired: int, armed: int | None) -> None:
        seen.append((fired, armed))
        if fired == 10 and len(seen) == 10:
            raise KeyboardInterrupt

    report = run_sweep(CARELESS, SWEPT, SweepOptions(fine=True), on_progress=stop_at_ten)
    total = report.operations * 3
    assert (report.interrupted, report.fired, report.armed) == (True, 10, total)
    assert seen[:10] == [(number, total) for number in range(1, 11)]
    assert not report.ok
    assert "interrupted" in headline(report)
    assert report.bad


class Elsewhere(Firmware):
    """Does what `act` does as soon as it runs in another process."""

    here = os.getpid()

    def act(self) -> Any:
        raise NotImplementedError

    def world(self) -> World:
        if os.getpid() != self.here:
            self.act()
        return super().world()


class Killed(Elsewhere):
    def act(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Failing(Elsewhere):
    def act(self) -> None:
        raise ZeroDivisionError("no world")


def test_dead_process_ends_the_sweep() -> None:
    with pytest.raises(WorkerError, match="signal 9"):
        run_sweep(Killed((GEOMETRY,), careful, whole), SWEPT, jobs=2)


def test_failure_in_a_process_is_told() -> None:
    with pytest.raises(WorkerError, match="ZeroDivisionError: no world"):
        run_sweep(Failing((GEOMETRY,), careful, whole), SWEPT, jobs=2)


@pytest.mark.parametrize(("torn", "good"), [(0.5, True), (0.25, False)])
def test_torn_operations_get_as_far_as_told(torn: float, good: bool) -> None:
    """Torn in the middle, half of a mark of eight bytes is there; of a quarter nobody takes notice."""

    def marking(devices: Mapping[str, NorFlash]) -> None:
        if devices["nor"].read(0, 4) == b"\xff" * 4:
            devices["nor"].write(0, bytes(8))

    def judge(devices: Mapping[str, NorFlash]) -> Judgement:
        started = devices["nor"].read(0, 4) == bytes(4)
        return Judgement(Verdict.RECOVERED_NEW if started else Verdict.BRICK)

    report = run_sweep(Firmware((GEOMETRY,), marking, judge), SWEPT, SweepOptions(torn=torn))
    assert report.ok is good
    for bad in report.bad:
        replayed = Laboratory(Firmware((GEOMETRY,), marking, judge), SweepOptions(torn=torn)).replay(
            bad.point.schedule, lambda _text: None
        )
        assert replayed.judgement.verdict is bad.point.judgement.verdict


def test_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/powercut.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/powercut.md", "exec"), {})  # noqa: S102 - our own text
    output = capsys.readouterr().out
    number, total, ids = re.findall(r"It finds (\d+) of (\d+): `(.*?)`", text)[0]
    assert output == f"{number} of {total} {ids.split()}\n"
