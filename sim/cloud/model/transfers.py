"""Who may download what, and how it went (cloudsdk-protocol 3.3): functions of one open transaction."""

import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update

from cloudsdk.ota.transport import rounded
from sim.cloud.errors import UnknownDownloadError
from sim.cloud.firmware import FirmwareRequest, ResponsePlan, entity_tag, plan_response
from sim.cloud.model.keys import open_device_key
from sim.cloud.model.tables import Device, Download, Firmware, TaskDevice, TaskFirmware, Transfer
from sim.cloud.model.work import Work
from sim.cloud.shapes import Outcome, TaskState, TransferInfo

TOKEN_BYTES: Final = 16  # of randomness in a download URL
#: Of one device; those before go. What a task has sent is counted in the task.
MAX_TRANSFERS: Final = 200
#: States in which a device acts on a task that it was sent.
BEGUN: Final = (TaskState.SENT, TaskState.DOWNLOADING, TaskState.INSTALLING)


@dataclass(frozen=True, slots=True)
class OpenDownload:
    """A firmware request that is being answered. `task` is what the device fetches it for, if known."""

    transfer: int
    plan: ResponsePlan
    sha256: str
    file_size: int
    device_key: str
    task: int | None = None

    def __repr__(self) -> str:
        return f"OpenDownload(transfer={self.transfer}, plan={self.plan})"


def download_token(work: Work, device: Device, firmware: Firmware) -> str:
    """The URL token under which the device gets this firmware; issued once."""
    query = select(Download).where(Download.device_ref == device.id, Download.firmware_ref == firmware.id)
    download = work.session.scalar(query)
    if download is None:
        download = Download(token=secrets.token_urlsafe(TOKEN_BYTES), device=device, firmware=firmware)
        work.session.add(download)
        work.session.flush()
    return download.token


def open_download(work: Work, token: str, request: FirmwareRequest) -> OpenDownload:
    """Decide the response and note the transfer. Raises `UnknownDownloadError`."""
    download = work.session.get(Download, token)
    if download is None or download.firmware.deleted_at is not None:
        raise UnknownDownloadError("there is no firmware at this address")
    device, firmware = download.device, download.firmware
    key = open_device_key(work, device)
    etag = entity_tag(key, firmware.sha256)
    plan = plan_response(request, rounded(firmware.file_size), etag)
    transfer = Transfer(
        device=device,
        firmware=firmware,
        method=request.method,
        status=plan.status,
        first_byte=plan.start,
        bytes_sent=0,
        outcome=Outcome.RUNNING,
        started_at=work.now,
    )
    work.session.add(transfer)
    work.session.flush()
    _forget_old(work, device)
    if plan.end > plan.start:
        transfer.task_ref = _begin_fetch(work, transfer, plan)
    return OpenDownload(
        transfer.id,
        plan,
        firmware.sha256,
        firmware.file_size,
        key,
        transfer.task_ref,
    )


def _forget_old(work: Work, device: Device) -> None:
    """Those that run stay, whatever their number: connections have a limit of their own."""
    newest_to_go = (
        select(Transfer.id)
        .where(Transfer.device_ref == device.id)
        .order_by(Transfer.id.desc())
        .offset(MAX_TRANSFERS)
        .limit(1)
        .scalar_subquery()
    )
    work.session.execute(
        delete(Transfer).where(
            Transfer.device_ref == device.id, Transfer.id <= newest_to_go, Transfer.outcome != Outcome.RUNNING
        ),
        execution_options={"synchronize_session": False},
    )


def _begin_fetch(work: Work, transfer: Transfer, plan: ResponsePlan) -> int | None:
    """Note on the device's task that it fetches this firmware; returns the task."""
    query = (
        select(TaskDevice, TaskFirmware.position)
        .join(TaskFirmware, TaskFirmware.task_ref == TaskDevice.task_ref)
        .where(
            TaskDevice.device_ref == transfer.device_ref,
            TaskFirmware.firmware_ref == transfer.firmware_ref,
            TaskDevice.state.in_(BEGUN),
        )
        .order_by(TaskDevice.task_ref)
        .limit(1)
    )
    found = work.session.execute(query).one_or_none()
    if found is None:
        return None
    item, position = found
    if item.position != position:
        item.position, item.attempts = position, 0
    elif item.doubtful and plan.start > 0:
        # It goes on from a break point, so what looked like a finished download was none.
        item.attempts -= 1
        item.installs -= 1
    item.doubtful = False
    item.state = TaskState.DOWNLOADING
    item.offset = plan.start
    item.transfer_ref = transfer.id
    item.due_at = work.now + item.task.report_deadline
    item.updated_at = work.now
    return item.task_ref


def finish_transfer(work: Work, transfer_id: int, bytes_sent: int, outcome: Outcome) -> None:
    """Note how a transfer ended. The device has a whole package when the last byte was sent to it."""
    transfer = work.session.get(Transfer, transfer_id)
    if transfer is None:
        return
    transfer.bytes_sent, transfer.outcome, transfer.finished_at = bytes_sent, outcome, work.now
    if transfer.task_ref is None:
        return
    item = work.session.get(TaskDevice, (transfer.task_ref, transfer.device_ref))
    if item is None:
        return
    item.bytes_sent += bytes_sent
    if item.transfer_ref != transfer_id or item.state != TaskState.DOWNLOADING:
        return  # a later request counts, or the task is over for this device
    item.offset = transfer.first_byte + bytes_sent
    item.updated_at = work.now
    if outcome == Outcome.COMPLETE and item.offset >= transfer.firmware.file_size:
        item.state = TaskState.INSTALLING
        item.due_at = work.now + item.task.report_deadline


def abort_running_transfers(work: Work) -> None:
    """Close the transfers that a killed server left open; how far they came is not known."""
    work.session.execute(
        update(Transfer)
        .where(Transfer.outcome == Outcome.RUNNING)
        .values(outcome=Outcome.ABORTED, finished_at=work.now)
    )


def transfers_of(work: Work, device: Device) -> list[TransferInfo]:
    rows = work.session.scalars(
        select(Transfer).where(Transfer.device_ref == device.id).order_by(Transfer.id)
    )
    return [_transfer_info(row) for row in rows]


def _transfer_info(transfer: Transfer) -> TransferInfo:
    return TransferInfo(
        id=transfer.id,
        sn=transfer.device.sn,
        device_id=transfer.device.device_id,
        firmware_id=transfer.firmware_ref,
        name=transfer.firmware.name,
        version=transfer.firmware.version,
        method=transfer.method,
        status=transfer.status,
        first_byte=transfer.first_byte,
        bytes_sent=transfer.bytes_sent,
        outcome=transfer.outcome,
        started_at=transfer.started_at,
        finished_at=transfer.finished_at,
    )
