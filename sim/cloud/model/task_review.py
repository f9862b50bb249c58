"""What time and results do to tasks (platform 9): functions of one open transaction.

Whatever changes a device of a task makes the task due; `review` then looks at it as a whole, once for many
changes. So nothing is counted per message of a device.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ColumnElement, case, func, select, update

from sim.cloud.messages import Outgoing, version_query
from sim.cloud.model.audit import audit
from sim.cloud.model.sending import topics_of
from sim.cloud.model.tables import Device, Task, TaskDevice
from sim.cloud.model.transfers import BEGUN
from sim.cloud.model.work import Work
from sim.cloud.rollout import Rollout, Tally, failure_rate, may_advance
from sim.cloud.shapes import CampaignState, TaskState

OPEN: Final = (TaskState.WAITING, *BEGUN)
RECHECK: Final = 60  # seconds after which an open task is looked at again, whatever happened
QUERIES_AT_ONCE: Final = 100  # devices that are asked for their version in one go
#: Key of `Session.info`: the transaction made a task due.
TASK_DUE: Final = "task_due"
_OVER: Final = (CampaignState.DONE, CampaignState.CANCELLED)


def rollout_of(task: Task) -> Rollout:
    return Rollout(
        stages=tuple(map(int, task.stages.split(","))),
        advance_at=task.advance_at,
        soak=task.soak,
        failure_limit=task.failure_limit,
        failure_minimum=task.failure_minimum,
        max_attempts=task.max_attempts,
        report_deadline=task.report_deadline,
    )


def make_due(work: Work, task: Task) -> None:
    """Have the task looked at soon."""
    task.due_at = work.now
    work.session.info[TASK_DUE] = True


def start(work: Work, task: Task) -> None:
    """Begin a task whose time has come, or let a paused one go on."""
    task.state = CampaignState.RUNNING
    task.reason = ""
    if task.started_at is None:
        task.started_at = work.now
    open_stage(work, task, task.stage)
    make_due(work, task)


def open_stage(work: Work, task: Task, stage: int) -> None:
    """Let the devices up to this stage have the task; those that are online will be asked."""
    task.stage = stage
    task.soak_until = None
    if task.state == CampaignState.RUNNING:
        _ask(work, TaskDevice.task_ref == task.id, TaskDevice.stage <= stage, TaskDevice.state.in_(OPEN))


def settle(work: Work, item: TaskDevice, state: TaskState, reason: str = "") -> None:
    """End the task for one device."""
    item.state = state
    item.reason = reason
    item.due_at = None
    item.ask = False
    item.updated_at = work.now
    if state == TaskState.DONE:
        item.done_at = work.now
    make_due(work, item.task)


def settle_all(
    work: Work,
    task: Task,
    states: Iterable[TaskState],
    to: TaskState,
    reason: str = "",
    *,
    silent: bool = False,
) -> int:
    """End the task for all devices in these states, or only for those whose deadline has passed; returns how
    many. Their next tasks get their turn."""
    changed = update(TaskDevice).where(TaskDevice.task_ref == task.id, TaskDevice.state.in_(tuple(states)))
    if silent:
        changed = changed.where(TaskDevice.due_at <= work.now)
    devices = changed.values(state=to, reason=reason, due_at=None, ask=False, updated_at=work.now)
    work.session.flush()
    count = int(work.session.execute(devices).rowcount)  # type: ignore[attr-defined]
    if count:
        freed = select(TaskDevice.device_ref).where(
            TaskDevice.task_ref == task.id, TaskDevice.state == to, TaskDevice.updated_at == work.now
        )
        _ask(
            work,
            TaskDevice.task_ref != task.id,
            TaskDevice.device_ref.in_(freed.scalar_subquery()),
            TaskDevice.state == TaskState.WAITING,
        )
        make_due(work, task)
    return count


def tally_of(work: Work, task: Task) -> tuple[Tally, int]:
    """The devices of the open stages, and how many of all stages are not settled."""
    opened = case((TaskDevice.stage <= task.stage, 1), else_=0)
    query = (
        select(TaskDevice.state, opened, func.count())
        .where(TaskDevice.task_ref == task.id)
        .group_by(TaskDevice.state, opened)
    )
    devices = settled = failed = unsettled = 0
    for state, is_open, count in work.session.execute(query):
        if state in OPEN:
            unsettled += count
        if is_open:
            devices += count
            settled += count if state not in OPEN else 0
            failed += count if state == TaskState.FAILED else 0
    return Tally(devices, settled, failed), unsettled


def due_tasks(work: Work, limit: int) -> list[Task]:
    query = select(Task).where(Task.due_at <= work.now).order_by(Task.due_at, Task.id)
    return list(work.session.scalars(query.limit(limit)))


def next_due(work: Work) -> int | None:
    """When the next task has to be looked at, in seconds since 1970."""
    return work.session.scalar(select(func.min(Task.due_at)))


def review(work: Work, task: Task) -> None:
    """Start, expire, fail, stop, advance or end the task, as time and results demand."""
    if task.state == CampaignState.SCHEDULED and (task.starts_at is None or task.starts_at <= work.now):
        start(work, task)
        audit(work, "task.start", str(task.id))
    if task.ends_at is not None and task.ends_at <= work.now and task.state not in _OVER:
        settle_all(work, task, [TaskState.WAITING], TaskState.EXPIRED, "the task ended before its turn came")
    silence = f"no report within {task.report_deadline} seconds of the download"
    settle_all(work, task, [TaskState.INSTALLING], TaskState.FAILED, silence, silent=True)
    tally, unsettled = tally_of(work, task)
    if unsettled == 0:
        _end(work, task)
        return
    if task.state == CampaignState.RUNNING:
        _roll_out(work, task, tally)
    task.due_at = _next_look(work, task)


def _end(work: Work, task: Task) -> None:
    if task.state != CampaignState.CANCELLED:
        task.state = CampaignState.DONE
        audit(work, "task.done", str(task.id))
    task.finished_at = task.finished_at or work.now
    task.due_at = None


def _roll_out(work: Work, task: Task, tally: Tally) -> None:
    rollout = rollout_of(task)
    rate = failure_rate(rollout, tally, failed_before=task.failed_before, settled_before=task.settled_before)
    if rate is not None:
        task.state = CampaignState.STOPPED
        task.reason = (
            f"{rate} % of the devices failed, {tally.failed} in all; the limit is {rollout.failure_limit} %"
        )
        audit(work, "task.stop", str(task.id), task.reason)
        return
    while task.stage + 1 < len(rollout.stages) and may_advance(rollout, tally):
        if task.soak_until is None:
            task.soak_until = work.now + rollout.soak
        if task.soak_until > work.now:
            return
        open_stage(work, task, task.stage + 1)
        audit(work, "task.stage", str(task.id), f"{rollout.stages[task.stage]} %")
        tally, _ = tally_of(work, task)


def _next_look(work: Work, task: Task) -> int:
    silent_at = select(func.min(TaskDevice.due_at)).where(
        TaskDevice.task_ref == task.id, TaskDevice.state == TaskState.INSTALLING
    )
    times = [work.now + RECHECK, work.session.scalar(silent_at)]
    if task.state == CampaignState.SCHEDULED:
        times.append(task.starts_at)
    if task.state == CampaignState.RUNNING:
        times.append(task.soak_until)
    times.append(task.ends_at)
    return min(time for time in times if time is not None and time > work.now)


def queries(work: Work) -> tuple[list[Outgoing], bool]:
    """Questions for devices that are online and have a task to begin, and whether there are more."""
    query = (
        select(TaskDevice, Device)
        .join(Task, Task.id == TaskDevice.task_ref)
        .join(Device, Device.id == TaskDevice.device_ref)
        .where(TaskDevice.ask, Task.state == CampaignState.RUNNING, Device.online)
        .order_by(TaskDevice.task_ref, TaskDevice.device_ref)
        .limit(QUERIES_AT_ONCE)
    )
    asked: dict[int, Outgoing] = {}
    rows = work.session.execute(query).all()
    for item, device in rows:
        item.ask = False
        asked[device.id] = version_query(topics_of(device))
    return list(asked.values()), len(rows) == QUERIES_AT_ONCE


def unask(work: Work, device: Device) -> None:
    """The device is asked anyhow."""
    work.session.execute(
        update(TaskDevice)
        .where(TaskDevice.device_ref == device.id, TaskDevice.ask)
        .values(ask=False)
        .execution_options(synchronize_session=False)
    )


def forget_asking(work: Work) -> None:
    """Nobody is online after a restart, so nobody is to be asked."""
    work.session.execute(update(TaskDevice).where(TaskDevice.ask).values(ask=False))


def _ask(work: Work, *conditions: ColumnElement[bool]) -> None:
    online = select(Device.id).where(Device.online)
    work.session.flush()
    work.session.execute(
        update(TaskDevice)
        .where(*conditions, TaskDevice.device_ref.in_(online.scalar_subquery()))
        .values(ask=True)
        .execution_options(synchronize_session=False)
    )
