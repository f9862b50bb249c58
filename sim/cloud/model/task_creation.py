"""New OTA tasks (platform 9.1 to 9.3): what is refused, and whom they are for."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import insert, select

from cloudsdk.ota.task import MAX_TYPE, MAX_VERSION, UpgradeMode
from sim.cloud.errors import BadRequestError, TaskRefusedError, UnknownDeviceError
from sim.cloud.model.audit import audit
from sim.cloud.model.library import find_firmware
from sim.cloud.model.products import find_product
from sim.cloud.model.sending import check_message, make_message
from sim.cloud.model.tables import Device, DeviceTag, Firmware, Product, Task, TaskDevice, TaskFirmware
from sim.cloud.model.task_review import OPEN, open_stage, start
from sim.cloud.model.text import check_text, is_int
from sim.cloud.model.work import Work
from sim.cloud.rollout import SHOWN_SNS, Rollout, Selection, drawn, share, stage_of
from sim.cloud.shapes import CampaignState, TaskState

MAX_TASK_DEVICES: Final = 100_000
MAX_TASK_FIRMWARES: Final = 64  # more than one message can name
MAX_OPEN_TASKS: Final = 1000  # of one product
MAX_TIME: Final = 2**40  # seconds since 1970
_CHUNK: Final = 500  # values of one SQL statement


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as wanted: without a version it gets the next free one; times are seconds since 1970."""

    firmware_ids: Sequence[int]
    selection: Selection
    mode: UpgradeMode
    version: str | None
    rollout: Rollout
    starts_at: int | None
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class _Chosen:
    id: int
    device_id: str
    sn: str
    version: str | None


def create_task(work: Work, base_url: str, product_ref: str, wanted: NewTask) -> Task:
    """Create a task; one without a start time in the future starts at once.

    Raises `TaskRefusedError` with the reason when a device could not carry it out: no firmware, firmware of
    another product, texts or message too long for the device (3.1, 2.1), a version that a device has already.
    """
    # 3.1: an empty array makes the device follow a null pointer.
    if not 1 <= len(wanted.firmware_ids) <= MAX_TASK_FIRMWARES:
        raise TaskRefusedError(f"a task needs 1 to {MAX_TASK_FIRMWARES} firmwares")
    _check_times(work, wanted)
    product = find_product(work, product_ref)
    _check_room(work, product)
    firmwares = [find_firmware(work, firmware_id) for firmware_id in wanted.firmware_ids]
    _check_firmwares(product, firmwares)
    version = wanted.version
    if version is None:
        version = _free_version(work, product)
    check_text("the task version", version, MAX_VERSION)
    if not version.isascii():
        raise BadRequestError("the task version must be ASCII text")
    task = _insert(work, product, version, firmwares, wanted)
    devices = _resolve(work, product, task, wanted.selection)
    _check_version(work, product, task, devices)
    # URLs are equally long for all devices, so one message stands for all.
    sample = work.session.get_one(Device, devices[0].id)
    check_message(make_message(work, base_url, task, sample), len(firmwares))
    _insert_devices(work, task, devices, wanted.rollout.stages)
    audit(work, "task.create", str(task.id), f"{product.product_id} {version}")
    if wanted.starts_at is None or wanted.starts_at <= work.now:
        start(work, task)
    else:
        open_stage(work, task, 0)
    return task


def _check_times(work: Work, wanted: NewTask) -> None:
    for what, value in (("start", wanted.starts_at), ("end", wanted.ends_at)):
        if value is not None and (not is_int(value) or not 0 <= value <= MAX_TIME):
            raise BadRequestError(f"the {what} of a task is a number of seconds since 1970")
    if wanted.ends_at is not None and wanted.ends_at <= max(work.now, wanted.starts_at or 0):
        raise TaskRefusedError("the task would end before it starts: choose a later end")


def _check_room(work: Work, product: Product) -> None:
    query = select(Task.id).where(Task.product_ref == product.id, Task.finished_at.is_(None))
    if len(work.session.scalars(query.limit(MAX_OPEN_TASKS)).all()) >= MAX_OPEN_TASKS:
        raise TaskRefusedError(f"product {product.name} has {MAX_OPEN_TASKS} open tasks: cancel some first")


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


def _free_version(work: Work, product: Product) -> str:
    used = set(work.session.scalars(select(Task.version).where(Task.product_ref == product.id).distinct()))
    reported = select(Device.version).where(Device.product_ref == product.id, Device.version.is_not(None))
    used.update(version for version in work.session.scalars(reported.distinct()) if version is not None)
    return next(text for minor in itertools.count() if (text := f"1.{minor}") not in used)


def _insert(
    work: Work, product: Product, version: str, firmwares: Sequence[Firmware], wanted: NewTask
) -> Task:
    rollout = wanted.rollout
    task = Task(
        product=product,
        version=version,
        mode=int(wanted.mode),
        state=CampaignState.SCHEDULED,
        selection=json.dumps({**asdict(wanted.selection), "sns": wanted.selection.sns[:SHOWN_SNS]}),
        stages=",".join(map(str, rollout.stages)),
        advance_at=rollout.advance_at,
        soak=rollout.soak,
        failure_limit=rollout.failure_limit,
        failure_minimum=rollout.failure_minimum,
        max_attempts=rollout.max_attempts,
        report_deadline=rollout.report_deadline,
        created_by=work.caller.name,
        created_at=work.now,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        due_at=wanted.starts_at or work.now,
    )
    task.firmware = [
        TaskFirmware(position=position, firmware=firmware)
        for position, firmware in enumerate(firmwares, start=1)
    ]
    work.session.add(task)
    work.session.flush()
    return task


def _resolve(work: Work, product: Product, task: Task, selection: Selection) -> list[_Chosen]:
    """The devices of the selection, in the order in which the task takes them."""
    query = select(Device.id, Device.device_id, Device.sn, Device.version)
    query = query.where(Device.product_ref == product.id).order_by(Device.id)
    if selection.tags:
        tagged = select(DeviceTag.device_ref).where(DeviceTag.tag.in_(selection.tags))
        query = query.where(Device.id.in_(tagged))
    if selection.versions:
        query = query.where(Device.version.in_(selection.versions))
    if selection.sns:
        _check_known(work, product, selection.sns)
        rows = [
            row
            for some in _chunks(dict.fromkeys(selection.sns))
            for row in work.session.execute(
                query.where(Device.sn.in_(some) | Device.device_id.in_(some))
            ).all()
        ]
    else:
        rows = list(work.session.execute(query.limit(MAX_TASK_DEVICES + 1)).all())
    found = list({row.id: _Chosen(*row) for row in rows}.values())
    order = drawn([device.device_id for device in found], task.id)
    devices = [found[place] for place in order[: share(len(found), selection.percent)]]
    if not devices:
        raise TaskRefusedError("no device fulfils the conditions of the selection: choose others")
    if len(devices) > MAX_TASK_DEVICES:
        raise TaskRefusedError(f"a task is for 1 to {MAX_TASK_DEVICES} devices: make several")
    return devices


def _check_known(work: Work, product: Product, sns: Iterable[str]) -> None:
    for some in _chunks(dict.fromkeys(sns)):
        query = select(Device.sn, Device.device_id).where(
            Device.product_ref == product.id, Device.sn.in_(some) | Device.device_id.in_(some)
        )
        known = {name for row in work.session.execute(query) for name in row}
        for sn in some:
            if sn not in known:
                raise UnknownDeviceError(f"there is no device with SN {sn} in product {product.name}")


def _check_version(work: Work, product: Product, task: Task, devices: Sequence[_Chosen]) -> None:
    version = task.version
    for device in devices:
        if device.version == version:
            raise TaskRefusedError(
                f"device {device.sn} has version {version} already and would do nothing: choose another one"
            )
    chosen = {device.id: device.sn for device in devices}
    pending = (
        select(TaskDevice.device_ref)
        .join(Task)
        .where(Task.product_ref == product.id, Task.version == version, Task.id != task.id)
        .where(TaskDevice.state.in_(OPEN))
    )
    for device_ref in work.session.scalars(pending):
        if device_ref in chosen:
            raise TaskRefusedError(
                f"device {chosen[device_ref]} has an open task with version {version} already"
            )


def _insert_devices(work: Work, task: Task, devices: Sequence[_Chosen], stages: Sequence[int]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "task_ref": task.id,
            "device_ref": device.id,
            "state": TaskState.WAITING,
            "stage": stage_of(place, len(devices), stages),
            "updated_at": work.now,
        }
        for place, device in enumerate(devices)
    ]
    work.session.execute(insert(TaskDevice), rows)


def _chunks(values: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(values)
    while some := list(itertools.islice(rest, _CHUNK)):
        yield some
