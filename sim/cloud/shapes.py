"""What the admin operations return: plain dictionaries, the same in process and over HTTP.

Times are whole seconds since 1970-01-01 UTC, sizes and offsets are bytes. Keys (`product_key`, `device_key`)
are present only where the caller asked for them.
"""

from enum import StrEnum
from typing import Final, Generic, NotRequired, TypeVar

# FastAPI wants this one before Python 3.12.
from typing_extensions import TypedDict

OPERATOR: Final = "operator"  # the local account, created on first use
DEFAULT_DEVICE_LIMIT: Final = 1000

T = TypeVar("T")


class DeviceState(StrEnum):
    INACTIVE = "inactive"
    ACTIVATED = "activated"


class CampaignState(StrEnum):
    """How far a task has come as a whole."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"  # by its own rule: too many devices failed
    DONE = "done"  # no device is left that could still do something
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    """How far a task has come on one device."""

    WAITING = "waiting"
    SENT = "sent"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"  # the whole package was sent
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # the task ended before the device's turn came


class Outcome(StrEnum):
    """How the response to a firmware request ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    ABORTED = "aborted"


class Page(TypedDict, Generic[T]):
    items: list[T]
    next: int | None


class AccountInfo(TypedDict):
    name: str
    created_at: int


class ProductInfo(TypedDict):
    name: str
    product_id: str
    product_key: NotRequired[str]
    account: str
    kind: str
    model: str
    connection: str
    description: str
    device_limit: int
    devices: int
    published: bool
    created_at: int
    updated_at: int


class DeviceInfo(TypedDict):
    sn: str
    product: str
    product_id: str
    device_id: str
    device_key: NotRequired[str]
    name: str
    mac: str
    description: str
    state: str
    activated_at: int | None
    online: bool
    last_login_at: int | None
    last_login_ip: str | None
    version: str | None
    created_at: int
    updated_at: int


class FindingInfo(TypedDict):
    """One thing that will hurt on a board (`cloudsdk.ota.lint`)."""

    id: str
    severity: str
    message: str
    fact: str


class PackageInfo(TypedDict):
    """What a packer shows of its work (platform 7.2), as numbers."""

    hash_code: int
    hdr_crc32: int
    body_crc32: int
    raw_size: int
    pkg_size: int
    timestamp: int


class FirmwareInfo(TypedDict):
    """`package`, `compression` and `encryption` are None for what the first version took in. `verified` says
    that the hash of the raw firmware was checked, which needs the key of an encrypted package."""

    id: int
    product: str
    product_id: str
    name: str
    version: str
    file_size: int
    raw_size: int
    sha256: str
    timestamp: int
    package: PackageInfo | None
    compression: str | None
    encryption: str | None
    verified: bool
    findings: list[FindingInfo]
    description: str
    uploaded_by: str
    created_at: int


class PackedInfo(TypedDict):
    """`firmware` is there when the package was stored at once."""

    package: PackageInfo
    size: int
    warnings: list[str]
    firmware: FirmwareInfo | None


class TaskFirmwareInfo(TypedDict):
    index: int
    id: int
    name: str
    version: str
    file_size: int


class TaskDeviceInfo(TypedDict):
    """`stage` counts from 1; `firmware` is the number of the firmware that is being fetched or was last, 0
    before the first; `offset` is how many of its `file_size` bytes have been sent."""

    sn: str
    device_id: str
    state: str
    reason: str
    version: str | None
    online: bool
    stage: int
    firmware: int
    offset: int
    file_size: int
    bytes_sent: int
    attempts: int
    sent_at: int | None
    done_at: int | None
    updated_at: int


class SelectionInfo(TypedDict):
    """How the devices were chosen; several conditions must all hold."""

    sns: list[str]
    tags: list[str]
    versions: list[str]
    percent: int
    everyone: bool


class RolloutInfo(TypedDict):
    stages: list[int]
    advance_at: int
    soak: int
    failure_limit: int | None
    failure_minimum: int
    max_attempts: int
    report_deadline: int


class TaskInfo(TypedDict):
    """`devices` are the first 100 of `device_count`, none in lists; `stage` is the open one, from 1.

    `percent` counts bytes, and a device that failed or dropped out as if it had them all. `rate` is bytes per
    second of late, `eta` the seconds that the rest takes at this rate; None when nothing moves.
    """

    id: int
    product: str
    product_id: str
    version: str
    mode: str
    state: str
    reason: str
    created_by: str
    created_at: int
    starts_at: int | None
    ends_at: int | None
    started_at: int | None
    finished_at: int | None
    selection: SelectionInfo
    rollout: RolloutInfo
    stage: int
    firmware: list[TaskFirmwareInfo]
    device_count: int
    counts: dict[str, int]
    percent: int
    bytes_sent: int
    rate: int
    eta: int | None
    devices: list[TaskDeviceInfo]


class DeviceTaskInfo(TypedDict):
    """A task in the history of one device."""

    task_id: int
    version: str
    task_state: str
    state: str
    reason: str
    attempts: int
    bytes_sent: int
    created_at: int
    sent_at: int | None
    done_at: int | None
    updated_at: int


class TransferInfo(TypedDict):
    """One firmware request. `bytes_sent` counts what was handed to the network; a client that breaks off
    may have read less."""

    id: int
    sn: str
    device_id: str
    firmware_id: int
    name: str
    version: str
    method: str
    status: int
    first_byte: int
    bytes_sent: int
    outcome: str
    started_at: int
    finished_at: int | None
