"""OTA tasks, and what the messages of a device mean for them (platform 9, cloudsdk-protocol 3 and 9).
Functions of one open transaction.

A device works on its first task that is neither done nor cancelled. The task message goes out once per
connection, since the device installs one firmware per message and restarts (3.2); a task is done when the
device reports the task's version.
"""

import itertools
import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from sqlalchemy import select

from cloudsdk.cjson import Json, member
from cloudsdk.datapoints import DataPoint, Topics
from cloudsdk.ota.task import MAX_TYPE, MAX_URL, MAX_VERSION, UpgradeMode
from sim.cloud.errors import BadRequestError, TaskRefusedError, TaskTooLargeError, UnknownTaskError
from sim.cloud.messages import MAX_PACKET, Outgoing, TaskItem, parse_points, task_message, version_query
from sim.cloud.model.audit import audit
from sim.cloud.model.devices import find_device
from sim.cloud.model.library import download_token, find_firmware
from sim.cloud.model.products import find_product
from sim.cloud.model.tables import Device, Firmware, Product, Task, TaskDevice, TaskFirmware
from sim.cloud.model.text import check_text
from sim.cloud.model.work import Work
from sim.cloud.notices import News, Notice
from sim.cloud.shapes import TaskDeviceInfo, TaskFirmwareInfo, TaskInfo, TaskState

MAX_REPORTED_VERSION: Final = 63  # characters of a version that a device reports
MAX_TASK_DEVICES: Final = 10_000
MAX_TASK_FIRMWARES: Final = 64  # more than one message can name
_OPEN: Final = (TaskState.WAITING, TaskState.SENT, TaskState.DOWNLOADING)

_log = logging.getLogger(__name__)


def topics_of(device: Device) -> Topics:
    return Topics(device.product.product_id, device.device_id)


# Tasks


def create_task(
    work: Work,
    base_url: str,
    product_ref: str,
    *,
    version: str | None,
    firmware_ids: Sequence[int],
    sns: Sequence[str],
    mode: UpgradeMode,
) -> TaskInfo:
    """Create a task; without a version it gets the next free one.

    Raises `TaskRefusedError` with the reason when a device could not carry it out: no firmware, firmware of
    another product, texts or message too long for the device (3.1, 2.1), a version that a device has already.
    """
    if not 1 <= len(sns) <= MAX_TASK_DEVICES:
        raise TaskRefusedError(f"a task needs 1 to {MAX_TASK_DEVICES} devices")
    # 3.1: an empty array makes the device follow a null pointer.
    if not 1 <= len(firmware_ids) <= MAX_TASK_FIRMWARES:
        raise TaskRefusedError(f"a task needs 1 to {MAX_TASK_FIRMWARES} firmwares")
    product = find_product(work, product_ref)
    firmwares = [find_firmware(work, firmware_id) for firmware_id in firmware_ids]
    devices = [find_device(work, sn, product.product_id) for sn in dict.fromkeys(sns)]
    _check_firmwares(product, firmwares)
    chosen = _free_version(work, product) if version is None else version
    _check_version(work, chosen, devices)
    task = Task(product=product, version=chosen, mode=int(mode), created_at=work.now)
    work.session.add(task)
    task.firmware = [
        TaskFirmware(position=position, firmware=firmware)
        for position, firmware in enumerate(firmwares, start=1)
    ]
    work.session.flush()
    for device in devices:
        work.session.add(TaskDevice(task=task, device=device, state=TaskState.WAITING, updated_at=work.now))
    # URLs are equally long for all devices, so one message stands for all.
    _check_message(_message(work, base_url, task, devices[0]), len(firmwares))
    work.session.flush()
    audit(work, "task.create", str(task.id), f"{product.product_id} {chosen}", account=product.account_id)
    return task_info(task)


def _check_firmwares(product: Product, firmwares: Sequence[Firmware]) -> None:
    names = [firmware.name for firmware in firmwares]
    for firmware in firmwares:
        label = f"firmware {firmware.name}:{firmware.version}"
        if firmware.product_ref != product.id:
            raise TaskRefusedError(f"{label} belongs to another product: upload it to {product.name}")
        # The device would install the two in turn, for ever: it compares with what is there (3.2).
        if names.count(firmware.name) > 1:
            raise TaskRefusedError(f"two firmwares of the task are for partition {firmware.name}")
        if len(firmware.version) > MAX_VERSION:
            raise TaskRefusedError(f"the version of {label} has more than {MAX_VERSION} characters")
        if len(firmware.name) > MAX_TYPE:
            raise TaskRefusedError(f"the name of {label} has more than {MAX_TYPE} characters")


def _check_version(work: Work, version: str, devices: Sequence[Device]) -> None:
    check_text("the task version", version, MAX_VERSION)
    if not version.isascii():
        raise BadRequestError("the task version must be ASCII text")
    for device in devices:
        if device.version == version:
            raise TaskRefusedError(
                f"device {device.sn} has version {version} already and would do nothing: choose another one"
            )
        if any(item.task.version == version for item in _open_tasks(work, device)):
            raise TaskRefusedError(f"device {device.sn} has an open task with version {version} already")


def _free_version(work: Work, product: Product) -> str:
    used = set(work.session.scalars(select(Task.version).where(Task.product_ref == product.id)))
    used.update(
        version
        for version in work.session.scalars(select(Device.version).where(Device.product_ref == product.id))
        if version is not None
    )
    return next(text for minor in itertools.count() if (text := f"1.{minor}") not in used)


def _check_message(message: Outgoing, count: int) -> None:
    if message.packet_size > MAX_PACKET:
        raise TaskTooLargeError(
            f"the task message with {count} firmwares takes {message.packet_size} bytes, the device receives "
            f"{MAX_PACKET}: use fewer firmwares or a shorter --public-url"
        )


def _message(work: Work, base_url: str, task: Task, device: Device) -> Outgoing:
    items = []
    for row in task.firmware:
        firmware = row.firmware
        token = download_token(work, device, firmware)
        url = f"{base_url}/fw/{token}/{quote(firmware.name, safe='')}.rbl"
        if len(url) > MAX_URL:
            raise TaskTooLargeError(
                f"a firmware URL of {len(url)} characters is too long for the device ({MAX_URL}): "
                "use a shorter --public-url"
            )
        items.append(TaskItem(firmware.name, firmware.version, url, task.mode, firmware.file_size))
    return task_message(topics_of(device), task.created_at, task.version, items)


def find_task(work: Work, task_id: int) -> Task:
    task = work.session.get(Task, task_id)
    if task is None or not work.sees(task.product):
        raise UnknownTaskError(f"there is no task {task_id}")
    return task


def list_tasks(work: Work, product_ref: str | None) -> list[TaskInfo]:
    query = select(Task).join(Product).where(work.visible()).order_by(Task.id)
    if product_ref is not None:
        query = query.where(Task.product_ref == find_product(work, product_ref).id)
    return [task_info(task) for task in work.session.scalars(query)]


def cancel_task(work: Work, task_id: int) -> TaskInfo:
    """Take the task back from every device that is not done with it. A download under way goes on."""
    task = find_task(work, task_id)
    for item in task.devices:
        if item.state in _OPEN:
            item.state = TaskState.CANCELLED
            item.updated_at = work.now
    audit(work, "task.cancel", str(task.id), account=task.product.account_id)
    return task_info(task)


def task_info(task: Task) -> TaskInfo:
    return TaskInfo(
        id=task.id,
        product=task.product.name,
        product_id=task.product.product_id,
        version=task.version,
        mode=UpgradeMode(task.mode).name.lower(),
        created_at=task.created_at,
        firmware=[
            TaskFirmwareInfo(
                index=row.position,
                id=row.firmware_ref,
                name=row.firmware.name,
                version=row.firmware.version,
                file_size=row.firmware.file_size,
            )
            for row in task.firmware
        ],
        devices=[
            TaskDeviceInfo(
                sn=item.device.sn,
                device_id=item.device.device_id,
                state=item.state,
                version=item.device.version,
                sent_at=item.sent_at,
                done_at=item.done_at,
                updated_at=item.updated_at,
            )
            for item in task.devices
        ],
    )


def queries_for_task(work: Work, task_id: int) -> list[Outgoing]:
    """Questions for the devices of a new task that are online; their answers set it going."""
    return [
        version_query(topics_of(item.device))
        for item in find_task(work, task_id).devices
        if item.device.online and item.state == TaskState.WAITING
    ]


# Messages of devices


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
    device.version = version
    device.updated_at = work.now
    for item in _open_tasks(work, device):
        if item.task.version != version:
            return _send_task(work, base_url, device, item)
        item.state = TaskState.DONE
        item.done_at = item.updated_at = work.now
    return []


def _send_task(work: Work, base_url: str, device: Device, item: TaskDevice) -> list[Outgoing]:
    if device.sent_task == item.task_ref:
        return []
    try:
        message = _message(work, base_url, item.task, device)
        _check_message(message, len(item.task.firmware))
    except TaskRefusedError as exc:  # the public URL has grown since the task was created
        _log.error("task %d cannot be sent to device %s: %s", item.task_ref, device.device_id, exc)
        return []
    device.sent_task = item.task_ref
    item.state = TaskState.SENT
    item.sent_at = item.updated_at = work.now
    # 3.2: a device that has everything already stores the version in silence, so it is asked.
    return [message, version_query(topics_of(device))]


def _open_tasks(work: Work, device: Device) -> Sequence[TaskDevice]:
    query = select(TaskDevice).where(TaskDevice.device_ref == device.id, TaskDevice.state.in_(_OPEN))
    return work.session.scalars(query.order_by(TaskDevice.task_ref)).all()
