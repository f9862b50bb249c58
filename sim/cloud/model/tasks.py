"""OTA tasks as people see and steer them (platform 9): functions of one open transaction.

`docs/cloud-tasks.md` has the states and what leads from one to another.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import func, select, update

from cloudsdk.ota.task import UpgradeMode
from cloudsdk.ota.transport import rounded
from sim.cloud.errors import BadRequestError, TaskStateError, UnknownTaskError
from sim.cloud.model.audit import audit
from sim.cloud.model.products import find_product
from sim.cloud.model.tables import Device, Firmware, Product, Task, TaskDevice, TaskFirmware
from sim.cloud.model.task_review import OPEN, make_due, rollout_of, settle_all, start, tally_of
from sim.cloud.model.work import Work
from sim.cloud.pages import cut, page_limit
from sim.cloud.progress import LiveTransfers
from sim.cloud.shapes import (
    CampaignState,
    DeviceTaskInfo,
    Page,
    RolloutInfo,
    SelectionInfo,
    TaskDeviceInfo,
    TaskFirmwareInfo,
    TaskInfo,
    TaskState,
)

SHOWN_DEVICES: Final = 100  # of one task
LISTED_TASKS: Final = 1000
HISTORY: Final = 1000  # tasks of one device that are shown
_GOING: Final = (CampaignState.SCHEDULED, CampaignState.RUNNING)
_HELD: Final = (CampaignState.PAUSED, CampaignState.STOPPED)


def find_task(work: Work, task_id: int) -> Task:
    task = work.session.get(Task, task_id)
    if task is None or not work.sees(task.product):
        raise UnknownTaskError(f"there is no task {task_id}")
    return task


# Steering


def pause_task(work: Work, task: Task) -> None:
    """Send nothing new; downloads under way go on. Raises `TaskStateError`."""
    _require(task, _GOING, "paused")
    task.state = CampaignState.PAUSED
    audit(work, "task.pause", str(task.id))


def resume_task(work: Work, task: Task) -> None:
    """Go on with a paused or stopped task; what failed so far no longer counts. Raises `TaskStateError`."""
    _require(task, _HELD, "resumed")
    _forgive(work, task)
    if task.started_at is None and task.starts_at is not None and task.starts_at > work.now:
        task.state = CampaignState.SCHEDULED
        make_due(work, task)
    else:
        start(work, task)
    audit(work, "task.resume", str(task.id))


def cancel_task(work: Work, task: Task) -> None:
    """Take the task back from the devices that have not begun to download. Raises `TaskStateError`.

    The protocol has no message for it: a device that has the task message may act on it all the same.
    """
    _require(task, (*_GOING, *_HELD), "cancelled")
    settle_all(work, task, [TaskState.WAITING, TaskState.SENT], TaskState.CANCELLED, "the task was cancelled")
    task.state = CampaignState.CANCELLED
    task.finished_at = work.now
    make_due(work, task)
    audit(work, "task.cancel", str(task.id))


def retry_task(work: Work, task: Task) -> None:
    """Give the task to its failed devices again. Raises `TaskStateError`."""
    _require(task, (*_GOING, *_HELD, CampaignState.DONE), "tried again")
    failed = update(TaskDevice).where(TaskDevice.task_ref == task.id, TaskDevice.state == TaskState.FAILED)
    again = failed.values(
        state=TaskState.WAITING, reason="", attempts=0, installs=0, doubtful=False, updated_at=work.now
    )
    if not work.session.execute(again).rowcount:  # type: ignore[attr-defined]
        raise TaskStateError(f"no device of task {task.id} has failed: there is nothing to try again")
    _forgive(work, task)
    task.finished_at = None
    if task.state != CampaignState.SCHEDULED:
        start(work, task)
    audit(work, "task.retry", str(task.id))


def _require(task: Task, states: Sequence[CampaignState], what: str) -> None:
    if task.state not in states:
        raise TaskStateError(f"task {task.id} is {task.state}: it cannot be {what}")


def _forgive(work: Work, task: Task) -> None:
    tally, _ = tally_of(work, task)
    task.failed_before, task.settled_before = tally.failed, tally.settled


# Showing


def show_task(work: Work, live: LiveTransfers, task: Task) -> TaskInfo:
    """The task with its first devices."""
    [info] = _infos(work, live, [task])
    info["devices"] = page_task_devices(work, live, task, state=None, after=0, limit=SHOWN_DEVICES)["items"]
    return info


def list_tasks(work: Work, live: LiveTransfers, product_ref: str | None) -> list[TaskInfo]:
    """The newest tasks, the oldest first."""
    query = _visible(work, product_ref).order_by(Task.id.desc()).limit(LISTED_TASKS)
    return _infos(work, live, list(reversed(work.session.scalars(query).all())))


def page_tasks(
    work: Work, live: LiveTransfers, product_ref: str | None, state: str | None, *, after: int, limit: int
) -> Page[TaskInfo]:
    """Newest first; `after` is the id of the last task of the page before."""
    query = _visible(work, product_ref).order_by(Task.id.desc()).limit(page_limit(limit) + 1)
    if state is not None:
        query = query.where(Task.state == _known_state(CampaignState, state))
    if after:
        query = query.where(Task.id < after)
    rows = work.session.scalars(query).all()
    infos = dict(zip((row.id for row in rows), _infos(work, live, rows[:limit]), strict=False))
    return cut(rows, limit, lambda task: infos[task.id], lambda task: task.id)


def page_task_devices(
    work: Work, live: LiveTransfers, task: Task, *, state: str | None, after: int, limit: int
) -> Page[TaskDeviceInfo]:
    query = (
        select(TaskDevice, Device)
        .join(Device, Device.id == TaskDevice.device_ref)
        .where(TaskDevice.task_ref == task.id, TaskDevice.device_ref > after)
        .order_by(TaskDevice.device_ref)
        .limit(page_limit(limit) + 1)
    )
    if state is not None:
        query = query.where(TaskDevice.state == _known_state(TaskState, state))
    sizes = [row.firmware.file_size for row in task.firmware]
    rows = work.session.execute(query).all()
    return cut(
        rows,
        limit,
        lambda row: _device_info(live, row[0], row[1], sizes),
        lambda row: int(row[0].device_ref),
    )


def tasks_of_device(work: Work, device: Device) -> list[DeviceTaskInfo]:
    """The newest tasks of a device, newest first."""
    query = (
        select(TaskDevice, Task)
        .join(Task, Task.id == TaskDevice.task_ref)
        .where(TaskDevice.device_ref == device.id)
        .order_by(TaskDevice.task_ref.desc())
        .limit(HISTORY)
    )
    return [
        DeviceTaskInfo(
            task_id=task.id,
            version=task.version,
            task_state=task.state,
            state=item.state,
            reason=item.reason,
            attempts=item.installs,
            bytes_sent=item.bytes_sent,
            created_at=task.created_at,
            sent_at=item.sent_at,
            done_at=item.done_at,
            updated_at=item.updated_at,
        )
        for item, task in work.session.execute(query)
    ]


def _visible(work: Work, product_ref: str | None) -> Any:
    query = select(Task).join(Product).where(work.visible())
    if product_ref is not None:
        query = query.where(Task.product_ref == find_product(work, product_ref).id)
    return query


def _known_state(states: type[CampaignState] | type[TaskState], state: str) -> str:
    if state not in set(states):
        raise BadRequestError(f"there is no state {state[:16]!r}; there are {', '.join(states)}")
    return state


def _infos(work: Work, live: LiveTransfers, tasks: Sequence[Task]) -> list[TaskInfo]:
    """Tasks without their devices; the number of statements does not depend on how many there are."""
    ids = [task.id for task in tasks]
    firmwares: dict[int, list[TaskFirmwareInfo]] = {number: [] for number in ids}
    contents = (
        select(TaskFirmware, Firmware)
        .join(Firmware, Firmware.id == TaskFirmware.firmware_ref)
        .where(TaskFirmware.task_ref.in_(ids))
        .order_by(TaskFirmware.position)
    )
    for row, firmware in work.session.execute(contents):
        firmwares[row.task_ref].append(
            TaskFirmwareInfo(
                index=row.position,
                id=firmware.id,
                name=firmware.name,
                version=firmware.version,
                file_size=firmware.file_size,
            )
        )
    progress: dict[int, list[Any]] = {number: [] for number in ids}
    sums = (
        select(
            TaskDevice.task_ref,
            TaskDevice.state,
            TaskDevice.position,
            func.count(),
            func.sum(TaskDevice.offset),
            func.sum(TaskDevice.bytes_sent),
        )
        .where(TaskDevice.task_ref.in_(ids))
        .group_by(TaskDevice.task_ref, TaskDevice.state, TaskDevice.position)
    )
    for found in work.session.execute(sums):
        progress[found[0]].append(found[1:])
    return [_info(live, task, firmwares[task.id], progress[task.id]) for task in tasks]


def _info(
    live: LiveTransfers, task: Task, firmware: list[TaskFirmwareInfo], progress: Sequence[Any]
) -> TaskInfo:
    sizes = [rounded(row["file_size"]) for row in firmware]
    running = live.sent_for(task.id)
    counts: dict[str, int] = dict.fromkeys(TaskState, 0)
    sent, missing = running, -running
    for state, position, count, offset, bytes_sent in progress:
        counts[state] += count
        sent += int(bytes_sent)
        if state in OPEN:
            missing += count * sum(sizes[max(position - 1, 0) :]) - int(offset)
    device_count = sum(counts.values())
    total = max(device_count * sum(sizes), 1)
    missing = min(max(missing, 0), total)
    rate = live.rate(task.id)
    unsettled = any(counts[state] for state in OPEN)
    rollout = rollout_of(task)
    return TaskInfo(
        id=task.id,
        product=task.product.name,
        product_id=task.product.product_id,
        version=task.version,
        mode=UpgradeMode(task.mode).name.lower(),
        state=task.state,
        reason=task.reason,
        created_by=task.created_by,
        created_at=task.created_at,
        starts_at=task.starts_at,
        ends_at=task.ends_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        selection=_selection_info(task.selection),
        rollout=RolloutInfo(
            stages=list(rollout.stages),
            advance_at=rollout.advance_at,
            soak=rollout.soak,
            failure_limit=rollout.failure_limit,
            failure_minimum=rollout.failure_minimum,
            max_attempts=rollout.max_attempts,
            report_deadline=rollout.report_deadline,
        ),
        stage=task.stage + 1,
        firmware=firmware,
        device_count=device_count,
        counts=counts,
        # A device that has everything has yet to say so.
        percent=min(100 - -(-missing * 100 // total), 99) if unsettled else 100,
        bytes_sent=sent,
        rate=rate,
        eta=-(-missing // rate) if rate and unsettled else None,
        devices=[],
    )


def _selection_info(stored: str) -> SelectionInfo:
    fields = json.loads(stored)
    return SelectionInfo(
        sns=fields.get("sns", []),
        tags=fields.get("tags", []),
        versions=fields.get("versions", []),
        percent=fields.get("percent", 100),
        everyone=fields.get("everyone", False),
    )


def _device_info(
    live: LiveTransfers, item: TaskDevice, device: Device, sizes: Sequence[int]
) -> TaskDeviceInfo:
    running = live.sent(item.transfer_ref)
    size = sizes[item.position - 1] if 0 < item.position <= len(sizes) else 0
    return TaskDeviceInfo(
        sn=device.sn,
        device_id=device.device_id,
        state=item.state,
        reason=item.reason,
        version=device.version,
        online=device.online,
        stage=item.stage + 1,
        firmware=item.position,
        offset=min(item.offset + running, size),
        file_size=size,
        bytes_sent=item.bytes_sent + running,
        attempts=item.installs,
        sent_at=item.sent_at,
        done_at=item.done_at,
        updated_at=item.updated_at,
    )
