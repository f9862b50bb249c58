"""Who gets a task when, and when it stops (platform 9)."""

import pytest

from cloudsdk.errors import CloudSdkError
from sim.cloud.rollout import (
    Rollout,
    Selection,
    Tally,
    drawn,
    failure_rate,
    may_advance,
    share,
    stage_of,
)

IDS = [f"{number:016x}" for number in range(1000)]


def test_the_draw_is_fixed_for_a_task_and_differs_between_tasks() -> None:
    assert drawn(IDS, 1) == drawn(IDS, 1)
    assert drawn(IDS, 1) != drawn(IDS, 2)
    assert sorted(drawn(IDS, 1)) == list(range(1000))


def test_stages_cover_everyone_in_the_shares_given() -> None:
    stages = [stage_of(place, 1000, (5, 25, 100)) for place in range(1000)]
    assert [stages.count(stage) for stage in range(3)] == [50, 200, 750]
    assert [stage_of(place, 1, (5, 25, 100)) for place in range(1)] == [0]  # nobody waits for an empty stage
    assert share(3, 50) == 2


def test_next_stage_opens_when_enough_devices_are_settled() -> None:
    assert not may_advance(Rollout((50, 100)), Tally(10, 9, 0))
    assert may_advance(Rollout((50, 100)), Tally(10, 10, 0))
    assert may_advance(Rollout((50, 100), advance_at=80), Tally(10, 8, 0))
    assert not may_advance(Rollout((50, 100), advance_at=80), Tally(10, 7, 0))


@pytest.mark.parametrize(
    ("tally", "rate"),
    [
        (Tally(100, 4, 4), None),  # too few to judge
        (Tally(100, 5, 1), 20),
        (Tally(100, 10, 1), None),  # at the limit, not beyond it
        (Tally(100, 20, 3), 15),
        (Tally(2, 2, 1), 50),  # all there are
        (Tally(100, 50, 0), None),
    ],
)
def test_failure_limit(tally: Tally, rate: int | None) -> None:
    rollout = Rollout(failure_limit=10, failure_minimum=5)
    assert failure_rate(rollout, tally, failed_before=0, settled_before=0) == rate


def test_without_a_limit_nothing_stops() -> None:
    assert failure_rate(Rollout(), Tally(10, 10, 10), failed_before=0, settled_before=0) is None


def test_what_failed_before_a_task_was_resumed_does_not_count() -> None:
    rollout = Rollout(failure_limit=10, failure_minimum=2)
    assert failure_rate(rollout, Tally(100, 10, 5), failed_before=5, settled_before=10) is None
    assert failure_rate(rollout, Tally(100, 12, 6), failed_before=5, settled_before=10) == 50


@pytest.mark.parametrize(
    "arguments",
    [
        {"stages": ()},
        {"stages": (5, 25)},
        {"stages": (25, 5, 100)},
        {"stages": (0, 100)},
        {"stages": (50, 50, 100)},
        {"stages": (100, 101)},
        {"stages": tuple(range(80, 101))},
        {"advance_at": 0},
        {"soak": -1},
        {"failure_limit": 100},
        {"failure_minimum": 0},
        {"max_attempts": 0},
        {"report_deadline": 0},
        {"soak": True},
    ],
)
def test_rollouts_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(CloudSdkError) as error:
        Rollout(**arguments)  # type: ignore[arg-type]
    assert error.value.code == "cloud.bad-request"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "cloud.task-refused"),
        ({"percent": 0}, "cloud.bad-request"),
        ({"percent": 101}, "cloud.bad-request"),
        ({"everyone": True, "sns": ("SN1",)}, "cloud.bad-request"),
        ({"everyone": True, "tags": ("a",)}, "cloud.bad-request"),
        ({"tags": tuple(map(str, range(101)))}, "cloud.bad-request"),
    ],
)
def test_selections_that_cannot_be(arguments: dict[str, object], code: str) -> None:
    with pytest.raises(CloudSdkError) as error:
        Selection(**arguments)  # type: ignore[arg-type]
    assert error.value.code == code
