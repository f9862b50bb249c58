"""Random fault schedules over whole upgrades: right version or reported error, never anything else.

A failing seed replays with its event log: `python -m sim.virtual SEED`.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cloudsdk.port import OtaStatus
from cloudsdk.profile import MANUAL
from sim.board import install
from sim.virtual.__main__ import main
from sim.virtual.faults import HONEST, FaultSchedule, Kind, draw
from sim.virtual.trial import End, Sweep, Trial
from sim.virtual.upgrades import Story, application

Record = Callable[[str, object], None]
DEFAULT, FULL = 300, 10_000  # schedules


def judged(seeds: range) -> Sweep:
    sweep = Sweep.empty()
    for seed in seeds:
        sweep.add(Trial(seed, random.Random(seed)).run())
    return sweep


def check(sweep: Sweep, record: Record) -> None:
    record("fault_schedules", str(sweep))
    print(sweep)
    assert not sweep.bad, "\n".join(["replay with: python -m sim.virtual SEED", *map(str, sweep.bad)])


def test_fault_schedules_end_right_or_reported(record_property: Record) -> None:
    sweep = judged(range(DEFAULT))
    check(sweep, record_property)
    assert sweep.count == DEFAULT
    assert set(sweep.stories) == set(Story)
    assert sweep.ends[End.WANTED] > DEFAULT // 2
    assert sweep.ends[End.REPORTED] > DEFAULT // 20


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_ten_thousand_fault_schedules_end_right_or_reported(record_property: Record) -> None:
    check(judged(range(FULL)), record_property)


def test_a_seed_replays_byte_for_byte() -> None:
    for seed in (5, 45, 126, 232):
        logs: list[list[str]] = [[], []]
        verdicts = [Trial(seed, random.Random(seed), write=log.append).run() for log in logs]
        assert verdicts[0] == verdicts[1] == Trial(seed, random.Random(seed)).run()
        assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("switch", "found"),
    [
        ("retries_forever", End.HANG),
        ("reports_uninstalled", End.FALSE_REPORT),
        ("installs_forever", End.HANG),
        ("unsaved_result_blocks", End.HANG),
    ],
)
def test_what_2_0_0_does_is_found(switch: str, found: End) -> None:
    profile = replace(MANUAL, **{switch: True})  # type: ignore[arg-type]
    ends = (Trial(seed, random.Random(seed), profile=profile).run().end for seed in range(300))
    assert next(end for end in ends if not end.good) is found


def test_an_image_that_nobody_packed_is_found() -> None:
    trial = Trial(0, random.Random(0))
    planted = application("1.0.0")[:-1] + b"x"
    install(trial.world.device.board, "app", planted, version="1.0.0", timestamp=1)
    assert trial.run().end is End.SPLICED


def test_a_second_installation_is_found() -> None:
    trial = Trial(0, random.Random(0))
    board = trial.world.device.board
    installed = board.installed("app")
    assert installed is not None
    board.partition("download").write(0, installed.pack())
    trial.world.device.port.ota_end(OtaStatus.OK)
    assert trial.run().end is End.TWICE


def test_schedules_hold_every_kind_of_fault_and_often_none() -> None:
    drawn = [draw(random.Random(seed)) for seed in range(400)]
    kinds = {
        fault.kind
        for each in drawn
        for plan in (each.activation, each.http, each.mqtt)
        for faults in (*plan.first, plan.later)
        for fault in faults
    }
    assert kinds == set(Kind)
    assert any(each == FaultSchedule() for each in drawn)
    assert any(each.http.later and each.http != HONEST for each in drawn)
    assert any(each.cuts for each in drawn)
    assert any(each.flash for each in drawn)
    assert any(each.broker for each in drawn)
    assert any(each.blackouts for each in drawn)


def test_the_command_replays_a_seed_and_judges_a_range() -> None:
    runner = CliRunner()
    replayed = runner.invoke(main, ["3"])
    assert replayed.exit_code == 0
    assert replayed.output.splitlines()[-1] == str(Trial(3, random.Random(3)).run())
    counted = runner.invoke(main, ["0", "--count", "3"])
    assert (counted.exit_code, counted.output.split(":")[0]) == (0, "3 fault schedules")
