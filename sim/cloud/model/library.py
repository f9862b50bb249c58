"""Firmware in the cloud: what is accepted, what is kept, and who may download it how often.
Functions of one open transaction, but for `inspect_package`."""

import secrets
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select, update

from cloudsdk.ota.errors import PackageError
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.package import failures, read_package
from cloudsdk.ota.transport import rounded
from sim.cloud.errors import PackageRefusedError, StorageError, UnknownDownloadError, UnknownFirmwareError
from sim.cloud.firmware import FirmwareRequest, ResponsePlan, entity_tag, plan_response
from sim.cloud.model.audit import audit
from sim.cloud.model.products import find_product
from sim.cloud.model.tables import Device, Download, Firmware, Product, TaskDevice, TaskFirmware, Transfer
from sim.cloud.model.work import Work
from sim.cloud.shapes import FirmwareInfo, Outcome, TaskState, TransferInfo

TOKEN_BYTES: Final = 16  # of randomness in a download URL
_READ_SIZE: Final = 256 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What the cloud keeps of a package; sizes in bytes."""

    name: str
    version: str
    file_size: int
    raw_size: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class OpenDownload:
    """A firmware request that is being answered."""

    transfer: int
    plan: ResponsePlan
    sha256: str
    file_size: int
    device_key: str

    def __repr__(self) -> str:
        return f"OpenDownload(transfer={self.transfer}, plan={self.plan})"


def inspect_package(path: Path) -> PackageFacts:
    """Check an uploaded package: magic, header CRC, length, algorithm, body CRC, name and version.

    The hash of the raw firmware stays unchecked, since the cloud does not have the key. Raises
    `PackageRefusedError` with the reason (platform 8.2).
    """
    try:
        package = read_package(path)
    except PackageError as exc:
        raise PackageRefusedError(f"the package is refused: {exc}") from exc
    failed = failures(package.header_checks())
    if failed:
        raise PackageRefusedError(f"the package is refused: {failed[0].detail}")
    header = package.header
    computed = _body_crc(path)
    if computed != header.body_crc32:
        found = f"body CRC-32 is 0x{computed:08x}, the header says 0x{header.body_crc32:08x}"
        raise PackageRefusedError(f"the package is refused: {found}")
    for what, raw in (("firmware name", header.name), ("version", header.version)):
        text = raw.split(b"\0", 1)[0]
        if not text or not all(0x20 < byte < 0x7F for byte in text):
            raise PackageRefusedError(f"the package is refused: its {what} is not plain ASCII text")
    return _facts(header, package.file_size)


def _facts(header: RblHeader, file_size: int) -> PackageFacts:
    return PackageFacts(header.name_text, header.version_text, file_size, header.raw_size, header.timestamp)


def _body_crc(path: Path) -> int:
    crc = 0
    try:
        with path.open("rb") as file:
            file.seek(HEADER_SIZE)
            while piece := file.read(_READ_SIZE):
                crc = zlib.crc32(piece, crc)
    except OSError as exc:
        raise StorageError(f"cannot read the upload: {exc.strerror}") from exc
    return crc


def add_firmware(work: Work, product_ref: str, facts: PackageFacts, sha256: str) -> FirmwareInfo:
    """Enter a package whose blob is in place. The same content again gives the row that is there."""
    product = find_product(work, product_ref)
    same = select(Firmware).where(Firmware.product_ref == product.id, Firmware.sha256 == sha256)
    firmware = work.session.scalar(same)
    if firmware is None:
        firmware = Firmware(
            product=product,
            name=facts.name,
            version=facts.version,
            file_size=facts.file_size,
            raw_size=facts.raw_size,
            sha256=sha256,
            timestamp=facts.timestamp,
            created_at=work.now,
        )
        work.session.add(firmware)
        work.session.flush()
        audit(work, "firmware.upload", product.product_id, f"{facts.name}:{facts.version}")
    return firmware_info(firmware)


def list_firmware(work: Work, product_ref: str | None) -> list[FirmwareInfo]:
    query = select(Firmware).join(Product).where(work.visible()).order_by(Firmware.id)
    if product_ref is not None:
        query = query.where(Firmware.product_ref == find_product(work, product_ref).id)
    return [firmware_info(firmware) for firmware in work.session.scalars(query)]


def unused_packages(work: Work, hashes: Collection[str]) -> set[str]:
    """Those of the SHA-256 `hashes` that no firmware of any product refers to."""
    used = select(Firmware.sha256)
    return {sha256 for sha256 in hashes if work.session.scalar(used.where(Firmware.sha256 == sha256)) is None}


def find_firmware(work: Work, firmware_id: int) -> Firmware:
    firmware = work.session.get(Firmware, firmware_id)
    if firmware is None or not work.sees(firmware.product):
        raise UnknownFirmwareError(f"there is no firmware {firmware_id}")
    return firmware


def firmware_info(firmware: Firmware) -> FirmwareInfo:
    return FirmwareInfo(
        id=firmware.id,
        product=firmware.product.name,
        product_id=firmware.product.product_id,
        name=firmware.name,
        version=firmware.version,
        file_size=firmware.file_size,
        raw_size=firmware.raw_size,
        sha256=firmware.sha256,
        timestamp=firmware.timestamp,
        created_at=firmware.created_at,
    )


# Downloads


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
    if download is None:
        raise UnknownDownloadError("there is no firmware at this address")
    device, firmware = download.device, download.firmware
    etag = entity_tag(device.device_key, firmware.sha256)
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
    if plan.end > plan.start:
        _mark_downloading(work, device, firmware)
    work.session.flush()
    return OpenDownload(transfer.id, plan, firmware.sha256, firmware.file_size, device.device_key)


def _mark_downloading(work: Work, device: Device, firmware: Firmware) -> None:
    tasks = select(TaskFirmware.task_ref).where(TaskFirmware.firmware_ref == firmware.id)
    work.session.execute(
        update(TaskDevice)
        .where(
            TaskDevice.device_ref == device.id,
            TaskDevice.task_ref.in_(tasks),
            TaskDevice.state == TaskState.SENT,
        )
        .values(state=TaskState.DOWNLOADING, updated_at=work.now)
    )


def finish_transfer(work: Work, transfer_id: int, bytes_sent: int, outcome: Outcome) -> None:
    work.session.execute(
        update(Transfer)
        .where(Transfer.id == transfer_id)
        .values(bytes_sent=bytes_sent, outcome=outcome, finished_at=work.now)
    )


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
