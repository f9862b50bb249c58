"""Whom a task is for, and how it spreads (platform 9). Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sim.cloud.errors import BadRequestError, TaskRefusedError

MAX_STAGES: Final = 20
MAX_FILTERS: Final = 100  # tags or versions of one selection
SHOWN_SNS: Final = 100  # that are kept of a selection; the devices of the task say the rest
MAX_SECONDS: Final = 366 * 86_400  # of soaking, and of waiting for a report
MAX_ATTEMPTS: Final = 100
DEFAULT_ATTEMPTS: Final = 3
DEFAULT_REPORT_DEADLINE: Final = 86_400  # seconds
DEFAULT_FAILURE_MINIMUM: Final = 5  # devices
_WHOLE: Final = 100  # percent


def _check(what: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise BadRequestError(f"{what} must be {lowest} to {highest}")


@dataclass(frozen=True, slots=True)
class Selection:
    """The devices a task is for: those that fulfil all conditions given.

    `sns` are SNs or DeviceIDs; `tags` and `versions`, the reported ones, hold for a device that has one of
    them; `percent` takes that share of the rest. `everyone` is for all devices of the product, which must be
    said. Raises `TaskRefusedError` for what selects nothing, `BadRequestError` for what cannot be.
    """

    sns: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    percent: int = _WHOLE
    everyone: bool = False

    def __post_init__(self) -> None:
        _check("the percentage of devices", self.percent, 1, _WHOLE)
        conditions = bool(self.sns or self.tags or self.versions or self.percent != _WHOLE)
        if not conditions and not self.everyone:
            raise TaskRefusedError("a task needs devices: give SNs, tags, versions, a percentage, or all")
        if self.everyone and (self.sns or self.tags or self.versions):
            raise BadRequestError("all devices, or those with SNs, tags or versions: choose one")
        for what, values in (("tags", self.tags), ("versions", self.versions)):
            if len(values) > MAX_FILTERS:
                raise BadRequestError(f"a selection has at most {MAX_FILTERS} {what}")


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a task spreads, and when it gives up.

    `stages` are cumulative percentages of its devices that end with 100. The next stage opens `soak` seconds
    after `advance_at` percent of the devices of the open stages are settled: done, failed, or out of it.

    With `failure_limit` the task stops when more than that percentage of the settled devices failed. The rate
    counts from `failure_minimum` settled devices on, and at the end of a stage.

    A device has failed when it fetched a firmware completely `max_attempts` times and still reports something
    else, and when it is silent for `report_deadline` seconds after a download. Raises `BadRequestError`.
    """

    stages: tuple[int, ...] = (_WHOLE,)
    advance_at: int = _WHOLE
    soak: int = 0
    failure_limit: int | None = None
    failure_minimum: int = DEFAULT_FAILURE_MINIMUM
    max_attempts: int = DEFAULT_ATTEMPTS
    report_deadline: int = DEFAULT_REPORT_DEADLINE

    def __post_init__(self) -> None:
        if not 1 <= len(self.stages) <= MAX_STAGES or self.stages[-1] != _WHOLE:
            raise BadRequestError(f"a rollout has 1 to {MAX_STAGES} stages, and the last is 100 percent")
        previous = 0
        for stage in self.stages:
            _check("each stage of a rollout, in rising order,", stage, previous + 1, _WHOLE)
            previous = stage
        _check("the percentage that opens the next stage", self.advance_at, 1, _WHOLE)
        _check("the soak time", self.soak, 0, MAX_SECONDS)
        if self.failure_limit is not None:
            _check("the failure limit", self.failure_limit, 0, _WHOLE - 1)
        _check("the failure minimum", self.failure_minimum, 1, 1_000_000)
        _check("the number of attempts", self.max_attempts, 1, MAX_ATTEMPTS)
        _check("the report deadline", self.report_deadline, 1, MAX_SECONDS)


AT_ONCE: Final = Rollout()


@dataclass(frozen=True, slots=True)
class Tally:
    """Devices of the open stages of a task."""

    devices: int
    settled: int
    failed: int


def drawn(device_ids: Sequence[str], task_id: int) -> list[int]:
    """The places of `device_ids` in the order in which a task takes them: random, but always the same."""

    def lot(place: int) -> bytes:
        return hashlib.sha256(f"{task_id}:{device_ids[place]}".encode()).digest()

    return sorted(range(len(device_ids)), key=lot)


def share(count: int, percent: int) -> int:
    """How many of `count` devices `percent` are, rounded up."""
    return -(-count * percent // _WHOLE)


def stage_of(place: int, count: int, stages: Sequence[int]) -> int:
    """The stage, from 0, of the device that is drawn at `place` of `count`."""
    return next(index for index, percent in enumerate(stages) if place < share(count, percent))


def may_advance(rollout: Rollout, tally: Tally) -> bool:
    """Whether enough devices of the open stages are settled for the next one."""
    return tally.settled >= share(tally.devices, rollout.advance_at)


def failure_rate(rollout: Rollout, tally: Tally, *, failed_before: int, settled_before: int) -> int | None:
    """The percentage of failures that stops the task, rounded down; None when it may go on.

    Devices that had settled `before` do not count.
    """
    settled, failed = tally.settled - settled_before, tally.failed - failed_before
    judged = settled >= rollout.failure_minimum or may_advance(rollout, tally)
    if rollout.failure_limit is None or settled <= 0 or failed <= 0 or not judged:
        return None
    return failed * _WHOLE // settled if failed * _WHOLE > rollout.failure_limit * settled else None
