"""Firmware in the cloud (platform 8): functions of one open transaction."""

import json
from collections.abc import Collection
from typing import Final

from sqlalchemy import Select, delete, func, select

from cloudsdk.ota.header import RblHeader
from sim.cloud.errors import FirmwareInUseError, QuotaError, UnknownFirmwareError, VersionNotHigherError
from sim.cloud.model.audit import audit
from sim.cloud.model.packages import PackageFacts, package_info
from sim.cloud.model.products import find_product
from sim.cloud.model.tables import Download, Firmware, Product, Task, TaskDevice, TaskFirmware
from sim.cloud.model.text import DESCRIPTION_CHARS, check_text
from sim.cloud.model.work import Work
from sim.cloud.pages import cut, page_limit
from sim.cloud.shapes import CampaignState, FirmwareInfo, Page, TaskState
from sim.cloud.versions import is_higher, version_key

ACCOUNT_BYTES: Final = 4 * 1024**3  # of packages that an account may store
PRODUCT_FIRMWARES: Final = 10_000  # packages that a product may have had


def check_new(
    work: Work,
    product_ref: str,
    *,
    size: int = 0,
    facts: PackageFacts | None = None,
    allow_lower: bool = True,
) -> Product:
    """The product, if it may take another package of `size` bytes.

    Raises `UnknownProductError`, `QuotaError`, and unless `allow_lower` `VersionNotHigherError` (8.1).
    """
    product = find_product(work, product_ref)
    stored = select(func.coalesce(func.sum(Firmware.file_size), 0)).join(Product)
    stored = stored.where(Product.account_id == product.account_id, Firmware.deleted_at.is_(None))
    if work.session.scalars(stored).one() + size > ACCOUNT_BYTES:
        raise QuotaError(f"the account would store more than {ACCOUNT_BYTES} bytes: delete firmware first")
    count = select(func.count()).where(Firmware.product_ref == product.id)
    if work.session.scalars(count).one() >= PRODUCT_FIRMWARES:
        raise QuotaError(f"product {product.name} has had {PRODUCT_FIRMWARES} packages, all it may have")
    if facts is not None and not allow_lower:
        latest = _latest_version(work, product, facts.name)
        if latest is not None and not is_higher(facts.version, latest):
            raise VersionNotHigherError(
                f"{facts.name} {facts.version} is not higher than {latest}, the latest in the cloud: "
                "pack a higher one or allow a lower one"
            )
    return product


def find_same(work: Work, product_ref: str, sha256: str) -> Firmware | None:
    """The firmware of the product with this content, deleted or not."""
    product = find_product(work, product_ref)
    query = select(Firmware).where(Firmware.product_ref == product.id, Firmware.sha256 == sha256)
    return work.session.scalar(query)


def add_firmware(
    work: Work,
    product_ref: str,
    facts: PackageFacts,
    sha256: str,
    *,
    description: str,
    allow_lower: bool,
) -> FirmwareInfo:
    """Enter a package whose blob is in place. The same content again gives the row that is there.

    Errors are those of `check_new`.
    """
    same = find_same(work, product_ref, sha256)
    if same is not None and same.deleted_at is None:
        same.verified = same.verified or facts.verified
        return firmware_info(same)
    check_text("the description", description, DESCRIPTION_CHARS, empty=True)
    product = check_new(work, product_ref, size=facts.file_size, facts=facts, allow_lower=allow_lower)
    latest = _latest_version(work, product, facts.name)
    firmware = same or Firmware(product=product, sha256=sha256)
    firmware.name, firmware.version = facts.name, facts.version
    firmware.file_size, firmware.raw_size = facts.file_size, facts.raw_size
    firmware.timestamp, firmware.header = facts.timestamp, facts.header
    firmware.verified, firmware.findings = facts.verified, json.dumps(facts.findings)
    firmware.description, firmware.uploaded_by = description, work.caller.name
    firmware.created_at, firmware.deleted_at = work.now, None
    work.session.add(firmware)
    work.session.flush()
    lower = latest is not None and not is_higher(facts.version, latest)
    action = "firmware.upload-lower" if lower else "firmware.upload"
    audit(work, action, product.product_id, f"{facts.name}:{facts.version}")
    return firmware_info(firmware)


def delete_firmware(work: Work, firmware_id: int) -> str | None:
    """Delete it; returns the SHA-256 of a blob that nothing needs any more.

    Raises `FirmwareInUseError` while a task that is not over names it, or a device still fetches it.
    """
    firmware = find_firmware(work, firmware_id)
    over = (CampaignState.DONE, CampaignState.CANCELLED)
    under_way = (TaskState.DOWNLOADING, TaskState.INSTALLING)
    devices = select(TaskDevice.device_ref).where(
        TaskDevice.task_ref == Task.id, TaskDevice.state.in_(under_way)
    )
    using = (
        select(Task.id)
        .join(TaskFirmware, TaskFirmware.task_ref == Task.id)
        .where(TaskFirmware.firmware_ref == firmware.id)
        .where(Task.state.not_in(over) | devices.exists())
        .limit(1)
    )
    task_id = work.session.scalar(using)
    if task_id is not None:
        raise FirmwareInUseError(
            f"firmware {firmware.name}:{firmware.version} is needed by task {task_id}: cancel it first"
        )
    firmware.deleted_at = work.now
    work.session.execute(delete(Download).where(Download.firmware_ref == firmware.id))
    work.session.flush()
    audit(work, "firmware.delete", firmware.product.product_id, f"{firmware.name}:{firmware.version}")
    others = select(Firmware.id).where(Firmware.sha256 == firmware.sha256, Firmware.deleted_at.is_(None))
    return firmware.sha256 if work.session.scalar(others.limit(1)) is None else None


def kept_blobs(work: Work) -> set[str]:
    """The SHA-256 of every blob that is needed."""
    return set(work.session.scalars(select(Firmware.sha256).where(Firmware.deleted_at.is_(None)).distinct()))


def list_firmware(work: Work, product_ref: str | None) -> list[FirmwareInfo]:
    query = _visible(work, product_ref)
    return [firmware_info(firmware) for firmware in work.session.scalars(query)]


def unused_packages(work: Work, hashes: Collection[str]) -> set[str]:
    """Those of the SHA-256 `hashes` that no firmware of any product refers to."""
    used = select(Firmware.sha256)
    return {sha256 for sha256 in hashes if work.session.scalar(used.where(Firmware.sha256 == sha256)) is None}


def page_firmware(work: Work, product_ref: str | None, *, after: int, limit: int) -> Page[FirmwareInfo]:
    query = _visible(work, product_ref).where(Firmware.id > after).limit(page_limit(limit) + 1)
    rows = work.session.scalars(query).all()
    return cut(rows, limit, firmware_info, lambda firmware: firmware.id)


def find_firmware(work: Work, firmware_id: int) -> Firmware:
    firmware = work.session.get(Firmware, firmware_id)
    if firmware is None or firmware.deleted_at is not None or not work.sees(firmware.product):
        raise UnknownFirmwareError(f"there is no firmware {firmware_id}")
    return firmware


def firmware_info(firmware: Firmware) -> FirmwareInfo:
    header = RblHeader.unpack(firmware.header) if firmware.header is not None else None
    compression = header.compression if header is not None else None
    encryption = header.encryption if header is not None else None
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
        package=package_info(header) if header is not None else None,
        compression=compression.name.lower() if compression is not None else None,
        encryption=encryption.name.lower() if encryption is not None else None,
        verified=firmware.verified,
        findings=json.loads(firmware.findings),
        description=firmware.description,
        uploaded_by=firmware.uploaded_by,
        created_at=firmware.created_at,
    )


def _visible(work: Work, product_ref: str | None) -> Select[Firmware]:
    query = select(Firmware).join(Product).where(work.visible(), Firmware.deleted_at.is_(None))
    if product_ref is not None:
        query = query.where(Firmware.product_ref == find_product(work, product_ref).id)
    return query.order_by(Firmware.id)


def _latest_version(work: Work, product: Product, name: str) -> str | None:
    query = select(Firmware.version).where(
        Firmware.product_ref == product.id, Firmware.name == name, Firmware.deleted_at.is_(None)
    )
    return max(work.session.scalars(query), key=version_key, default=None)
