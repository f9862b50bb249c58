"""What the messages of a device mean for its tasks (platform 9, cloudsdk-protocol 3 and 9).
Functions of one open transaction.

A device works on its first task that is neither settled nor held up. The task message goes out once per
connection, since the device installs one firmware per message and restarts (3.2); a task is done when the
device reports the task's version.
"""

import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from cloudsdk.cjson import Json, member
from cloudsdk.datapoints import DataPoint
from sim.cloud.errors import TaskRefusedError
from sim.cloud.messages import Outgoing, parse_points, version_query
from sim.cloud.model.sending import check_message, make_message, topics_of
from sim.cloud.model.tables import Device, Task, TaskDevice
from sim.cloud.model.task_review import OPEN, settle, unask
from sim.cloud.model.work import Work
from sim.cloud.notices import News, Notice
from sim.cloud.shapes import CampaignState, TaskState

MAX_REPORTED_VERSION: Final = 63  # characters of a version that a device reports
_ENDED: Final = (TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED)

_log = logging.getLogger(__name__)


def handle_message(
    work: Work,
    base_url: str,
    device: Device,
    payload: bytes,
    *,
    stale_will: bool,
    notices: list[Notice],
) -> list[Outgoing]:
    """Take in a message of a device; returns the messages it gets, in order, and adds to `notices`.

    `stale_will` says that the message is the will of a connection that a newer one has replaced: its
    "offline" is void (9.3). Raises `BadMessageError`.
    """
    answers: list[Outgoing] = []
    for point in parse_points(payload):
        if point.dp == DataPoint.ONLINE and point.value is True:
            answers += _came_online(work, device)
            notices.append(Notice(device.device_id, News.ONLINE))
        elif point.dp == DataPoint.ONLINE and point.value is False and not stale_will:
            went_offline(work, device)
            notices.append(Notice(device.device_id, News.OFFLINE))
        elif point.dp == DataPoint.LOG_STATE and isinstance(point.value, bool):
            notices.append(Notice(device.device_id, News.LOG_ON if point.value else News.LOG_OFF))
        elif point.dp == DataPoint.VERSION:
            answers += _reported(work, base_url, device, point.value)
        else:
            _log.debug("data point %d of device %s is not used", point.dp, device.device_id)
    return answers


def _came_online(work: Work, device: Device) -> list[Outgoing]:
    device.online = True
    device.last_login_at = device.updated_at = work.now
    device.sent_task = None
    unask(work, device)
    # 2.3: the version the device reports by itself after connecting usually gets lost.
    return [version_query(topics_of(device))]


def went_offline(work: Work, device: Device) -> None:
    device.online = False
    device.updated_at = work.now
    device.sent_task = None


def _reported(work: Work, base_url: str, device: Device, value: Json) -> list[Outgoing]:
    version = member(value, "version")
    if not isinstance(version, str) or not version.isprintable() or len(version) > MAX_REPORTED_VERSION:
        _log.debug("device %s reports a version that is not one", device.device_id)
        return []
    if device.version != version:
        _late_success(work, device, version)
    device.version = version
    device.updated_at = work.now
    for item in _open_tasks(work, device):
        if item.task.version == version:
            settle(work, item, TaskState.DONE)
        elif _holds(work, device, item):
            return _send_task(work, base_url, device, item) if _may_send(item) else []
    return []


def _late_success(work: Work, device: Device, version: str) -> None:
    """What the device was given up for, or was cancelled too late, has been installed after all."""
    query = (
        select(TaskDevice)
        .join(Task)
        .where(TaskDevice.device_ref == device.id, TaskDevice.state.in_(_ENDED))
        .where(Task.version == version, Task.product_ref == device.product_ref)
        .where(TaskDevice.sent_at.is_not(None))
    )
    for item in work.session.scalars(query):
        item.state, item.reason = TaskState.DONE, ""
        item.done_at = item.updated_at = work.now


def _holds(work: Work, device: Device, item: TaskDevice) -> bool:
    """Whether the device is to work on this task; else on the next."""
    state = item.task.state
    if item.state == TaskState.WAITING:
        # What has not begun does not stand in the way of later tasks, unless its turn will come by itself.
        return state == CampaignState.RUNNING
    if device.sent_task == item.task_ref:
        return True  # this connection had the message
    if item.state == TaskState.INSTALLING:
        return _came_back(work, item)
    if state == CampaignState.CANCELLED:
        settle(work, item, TaskState.CANCELLED, "the task was cancelled")
        return False
    return True


def _came_back(work: Work, item: TaskDevice) -> bool:
    """The device fetched a whole package and reports something else than the version of the task."""
    task = item.task
    if task.state == CampaignState.CANCELLED:
        settle(work, item, TaskState.CANCELLED, "the task was cancelled")
        return False
    item.attempts += 1
    item.installs += 1
    item.doubtful = True
    count = len(task.firmware)
    # After each firmware but the last, one such return is in order (3.2).
    limit = max(task.max_attempts, 2 if item.position < count else 1)
    if item.attempts >= limit or item.installs >= limit * count:
        settle(work, item, TaskState.FAILED, f"fetched {item.installs} times, the version is not reported")
        return False
    item.state = TaskState.SENT
    item.due_at = None
    return True


def _may_send(item: TaskDevice) -> bool:
    return item.task.state == CampaignState.RUNNING and item.stage <= item.task.stage


def _send_task(work: Work, base_url: str, device: Device, item: TaskDevice) -> list[Outgoing]:
    if device.sent_task == item.task_ref:
        return []
    try:
        message = make_message(work, base_url, item.task, device)
        check_message(message, len(item.task.firmware))
    except TaskRefusedError as exc:  # the public URL has grown since the task was created
        _log.error("task %d cannot be sent to device %s: %s", item.task_ref, device.device_id, exc)
        return []
    device.sent_task = item.task_ref
    item.ask = False
    item.state = TaskState.SENT
    item.sent_at = item.updated_at = work.now
    # 3.2: a device that has everything already stores the version in silence, so it is asked.
    return [message, version_query(topics_of(device))]


def _open_tasks(work: Work, device: Device) -> Sequence[TaskDevice]:
    query = (
        select(TaskDevice)
        .where(TaskDevice.device_ref == device.id, TaskDevice.state.in_(OPEN))
        .options(joinedload(TaskDevice.task))
        .order_by(TaskDevice.task_ref)
    )
    return work.session.scalars(query).all()
