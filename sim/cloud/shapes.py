"""What the admin operations return: plain dictionaries, the same in process and over HTTP.

Times are whole seconds since 1970-01-01 UTC, sizes and offsets are bytes. Keys (`product_key`, `device_key`)
are present only where the caller asked for them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, NotRequired, TypeVar

# FastAPI wants this one before Python 3.12.
from typing_extensions import TypedDict

OPERATOR: Final = "operator"  # the local account, created on first use
DEFAULT_DEVICE_LIMIT: Final = 1000
BIND_SECONDS: Final = 600  # a bind window; the device asks every 5 s (cloudsdk-protocol 8)

T = TypeVar("T")


class Page(TypedDict, Generic[T]):
    """A part of a list. `next` is the `after` of the following part, None at the end."""

    items: list[T]
    next: int | None


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


class AccountInfo(TypedDict):
    id: int
    name: str
    disabled: bool
    can_log_in: bool
    last_login_at: int | None
    created_at: int


class SessionInfo(TypedDict):
    """Who calls. `csrf_token` and `expires_at` are None for a caller with a token."""

    account: str
    scopes: list[str]
    csrf_token: str | None
    expires_at: int | None


class TokenInfo(TypedDict):
    """An API token. `token`, the secret itself, is there only in the answer that creates it."""

    id: int
    account: str
    name: str
    scopes: list[str]
    token: NotRequired[str]
    created_at: int
    last_used_at: int | None
    expires_at: int | None


class AuditInfo(TypedDict):
    """`actor` is an account, an account's token, `operator`, `device`, or empty for a stranger."""

    id: int
    at: int
    actor: str
    address: str
    action: str
    subject: str
    detail: str


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
    activated: int
    online: int
    published: bool
    published_at: int | None
    created_at: int
    updated_at: int


class ProductChanges(TypedDict, total=False):
    """What can be modified of a product; what is absent stays."""

    name: str
    kind: str
    model: str
    connection: str
    description: str
    device_limit: int


class ProductKeyInfo(TypedDict):
    product_id: str
    product_key: str


class DeviceInfo(TypedDict):
    """`version` is what the device reports (cloudsdk-protocol 1.4). `suspect_at` is when it last looked as if
    two devices used these credentials, `bind_until` the end of an open bind window."""

    sn: str
    product: str
    product_id: str
    device_id: str
    device_key: NotRequired[str]
    name: str
    mac: str
    description: str
    tags: list[str]
    state: str
    published: bool
    published_at: int | None
    activated_at: int | None
    suspect_at: int | None
    bind_until: int | None
    online: bool
    last_login_at: int | None
    last_login_ip: str | None
    version: str | None
    created_at: int
    updated_at: int


class DeviceChanges(TypedDict, total=False):
    """What can be modified of a device; what is absent stays."""

    sn: str
    name: str
    mac: str
    description: str
    tags: list[str]


class DeviceKeyInfo(TypedDict):
    device_id: str
    device_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFilter:
    """Which devices; every member that is given must fit. `search` is a part of SN, name or DeviceID."""

    product: str | None = None
    search: str | None = None
    tag: str | None = None
    version: str | None = None
    state: DeviceState | None = None
    online: bool | None = None


ANY_DEVICE: Final = DeviceFilter()


class DeviceCounts(TypedDict):
    total: int
    activated: int
    online: int


class TagInfo(TypedDict):
    tag: str
    devices: int


class ImportInfo(TypedDict):
    product: str
    product_id: str
    added: int


class RowProblem(TypedDict):
    """Why a row of a table is refused. `row` counts from 1, the header included, as spreadsheets do."""

    row: int
    reason: str


class Binding(TypedDict):
    """`url` is the binding page to show as a QR code (cloudsdk-protocol 8)."""

    sn: str
    device_id: str
    url: str
    bind_until: int | None


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


class OverviewInfo(TypedDict):
    """Counts of what the caller sees. `versions` are devices by the version they report, `failures` devices
    by why a task failed on them; the most frequent ones."""

    products: int
    devices: int
    activated: int
    online: int
    open_tasks: int
    versions: dict[str, int]
    failures: dict[str, int]


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


class OnlinePoint(TypedDict):
    """How many devices were online and how many activated at a time."""

    at: int
    online: int
    activated: int


class LogInfo(TypedDict):
    """The log of a device (platform 6). `wanted` is the switch, `state` what has come of it
    (docs/cloud-consoles.md), entered at `since_ms`, milliseconds since 1970; `note` is for people."""

    device_id: str
    wanted: bool
    state: str
    since_ms: int | None
    note: str


class LogLineInfo(TypedDict):
    """A line of a log as the device sent it. `at_ms` is when the cloud received it, milliseconds since 1970;
    `id` grows from line to line and is None while the line is not stored."""

    id: int | None
    at_ms: int
    text: str


class LogBatchInfo(TypedDict):
    """New lines; `lost` is how many before them the reader was too slow for."""

    lines: list[LogLineInfo]
    lost: int


class ClearedInfo(TypedDict):
    deleted: int
