"""The tables. Times are whole seconds since 1970-01-01 UTC, sizes are bytes.

What belongs to a device or a product goes with it: its foreign key says `ondelete="CASCADE"`.
A change here needs a migration: see `migrations/`.
"""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

_Seconds = BigInteger  # since 1970-01-01 UTC
_Milliseconds = BigInteger  # likewise
_LongId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what it calls INTEGER


class Base(DeclarativeBase):
    pass


class Setting(Base):
    """Facts about the database as a whole."""

    __tablename__ = "settings"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(512))


class Account(Base):
    """`name` is lower case. `password_hash` is None for an account that cannot log in; `password_cost` are
    the parameters it was made with, None stands for those of the first version."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_cost: Mapped[str | None] = mapped_column(String(32))
    disabled: Mapped[bool] = mapped_column(default=False)
    last_login_at: Mapped[int | None] = mapped_column(_Seconds)
    created_at: Mapped[int] = mapped_column(_Seconds)


class LoginSession(Base):
    """A logged-in browser. `token_hash` is the SHA-256 of the cookie, in hex."""

    __tablename__ = "login_sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    address: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(_Seconds)
    last_used_at: Mapped[int] = mapped_column(_Seconds)
    expires_at: Mapped[int] = mapped_column(_Seconds)
    account: Mapped[Account] = relationship()


class ApiToken(Base):
    """`scopes` are separated by blanks, `token_hash` is a SHA-256 in hex."""

    __tablename__ = "api_tokens"
    __table_args__ = (UniqueConstraint("account_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int] = mapped_column(_Seconds)
    last_used_at: Mapped[int | None] = mapped_column(_Seconds)
    expires_at: Mapped[int | None] = mapped_column(_Seconds)
    account: Mapped[Account] = relationship()


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("account_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    product_id: Mapped[str] = mapped_column(String(16), unique=True)
    product_key: Mapped[str] = mapped_column(String(36))
    name: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(64))
    connection: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(512))
    device_limit: Mapped[int]
    published_at: Mapped[int | None] = mapped_column(_Seconds)
    created_at: Mapped[int] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    account: Mapped[Account] = relationship()


class Device(Base):
    """`bind_until` ends the time in which the device is given its DeviceKey for its SN alone."""

    __tablename__ = "devices"
    __table_args__ = (
        UniqueConstraint("product_ref", "sn"),
        Index("ix_devices_product_id", "product_ref", "id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"))
    sn: Mapped[str] = mapped_column(String(32), index=True)
    device_id: Mapped[str] = mapped_column(String(16), unique=True)
    device_key: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64))
    mac: Mapped[str] = mapped_column(String(32))
    description: Mapped[str] = mapped_column(String(512))
    state: Mapped[str] = mapped_column(String(16))
    published_at: Mapped[int | None] = mapped_column(_Seconds)
    bind_until: Mapped[int | None] = mapped_column(_Seconds)
    activated_at: Mapped[int | None] = mapped_column(_Seconds)
    activated_ip: Mapped[str | None] = mapped_column(String(64))
    suspect_at: Mapped[int | None] = mapped_column(_Seconds)
    online: Mapped[bool]
    last_login_at: Mapped[int | None] = mapped_column(_Seconds)
    last_login_ip: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(64))
    # The task whose message went out since the device last came online.
    sent_task: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    product: Mapped[Product] = relationship()
    tags: Mapped[list["DeviceTag"]] = relationship(
        order_by="DeviceTag.tag", cascade="all, delete-orphan", passive_deletes=True
    )


class DeviceTag(Base):
    __tablename__ = "device_tags"
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(32), primary_key=True, index=True)


class Firmware(Base):
    """`header` is that of the package, None in rows of the first version. `findings` are JSON. A firmware
    that is deleted keeps its row for the tasks and transfers that name it."""

    __tablename__ = "firmware"
    __table_args__ = (UniqueConstraint("product_ref", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(16))
    version: Mapped[str] = mapped_column(String(24))
    file_size: Mapped[int]
    raw_size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    timestamp: Mapped[int] = mapped_column(BigInteger)
    header: Mapped[bytes | None] = mapped_column(LargeBinary)
    verified: Mapped[bool] = mapped_column(default=False)  # the hash of the raw firmware
    findings: Mapped[str] = mapped_column(Text, default="[]")
    description: Mapped[str] = mapped_column(String(512), default="")
    uploaded_by: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[int] = mapped_column(_Seconds)
    deleted_at: Mapped[int | None] = mapped_column(_Seconds)
    product: Mapped[Product] = relationship()


class Task(Base):
    """`selection` is JSON, `stages` are cumulative percentages separated by commas, `stage` counts from 0.

    `due_at` is when the task has to be looked at again; None when it is over. `failed_before` of the
    `settled_before` devices had failed when somebody let it go on; they are not held against it.
    """

    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(String(23))
    mode: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(256), default="")
    selection: Mapped[str] = mapped_column(Text, default="{}")
    stages: Mapped[str] = mapped_column(String(128), default="100")
    advance_at: Mapped[int] = mapped_column(default=100)  # percent
    soak: Mapped[int] = mapped_column(default=0)  # seconds
    failure_limit: Mapped[int | None]  # percent
    failure_minimum: Mapped[int] = mapped_column(default=1)  # devices
    max_attempts: Mapped[int] = mapped_column(default=3)
    report_deadline: Mapped[int] = mapped_column(default=86_400)  # seconds
    stage: Mapped[int] = mapped_column(default=0)
    soak_until: Mapped[int | None] = mapped_column(_Seconds)
    failed_before: Mapped[int] = mapped_column(default=0)
    settled_before: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[int] = mapped_column(_Seconds)
    starts_at: Mapped[int | None] = mapped_column(_Seconds)
    ends_at: Mapped[int | None] = mapped_column(_Seconds)
    started_at: Mapped[int | None] = mapped_column(_Seconds)
    finished_at: Mapped[int | None] = mapped_column(_Seconds)
    due_at: Mapped[int | None] = mapped_column(_Seconds, index=True)
    product: Mapped[Product] = relationship()
    firmware: Mapped[list["TaskFirmware"]] = relationship(order_by="TaskFirmware.position")


class TaskFirmware(Base):
    """`position` counts from 1; it is the order of installation."""

    __tablename__ = "task_firmware"
    task_ref: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id"), index=True)
    firmware: Mapped[Firmware] = relationship()


class TaskDevice(Base):
    """A task on one device. `position` is that of the firmware it fetches or fetched last, 0 before the
    first; `offset` how many bytes of it the device was sent, `bytes_sent` everything for this task.

    `attempts` counts how often it came back in vain with the firmware at `position`, `installs` with any;
    `doubtful` says that the last of them may have been an incomplete download. `due_at` is when a silent
    device has failed. `ask` marks a device that is to be asked for its version, which sets the task going.
    """

    __tablename__ = "task_devices"
    __table_args__ = (
        Index("ix_task_devices_state", "task_ref", "state"),
        Index("ix_task_devices_ask", "ask", "task_ref"),
    )
    task_ref: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    device_ref: Mapped[int] = mapped_column(
        ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(256), default="")
    stage: Mapped[int] = mapped_column(default=0)
    ask: Mapped[bool] = mapped_column(default=False)
    position: Mapped[int] = mapped_column(default=0)
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_sent: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    installs: Mapped[int] = mapped_column(default=0)
    doubtful: Mapped[bool] = mapped_column(default=False)
    transfer_ref: Mapped[int | None]  # the latest
    sent_at: Mapped[int | None] = mapped_column(_Seconds)
    done_at: Mapped[int | None] = mapped_column(_Seconds)
    due_at: Mapped[int | None] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    task: Mapped[Task] = relationship()
    device: Mapped[Device] = relationship()


class Download(Base):
    """The URL token under which one device gets one firmware."""

    __tablename__ = "downloads"
    __table_args__ = (UniqueConstraint("device_ref", "firmware_ref"),)
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id", ondelete="CASCADE"), index=True)
    device: Mapped[Device] = relationship()
    firmware: Mapped[Firmware] = relationship()


class Transfer(Base):
    __tablename__ = "transfers"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), index=True)
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id", ondelete="CASCADE"), index=True)
    task_ref: Mapped[int | None]
    method: Mapped[str] = mapped_column(String(8))
    status: Mapped[int]
    first_byte: Mapped[int]
    bytes_sent: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(16), index=True)
    started_at: Mapped[int] = mapped_column(_Seconds)
    finished_at: Mapped[int | None] = mapped_column(_Seconds)
    device: Mapped[Device] = relationship()
    firmware: Mapped[Firmware] = relationship()


class LogSwitch(Base):
    """The devices whose Web Log is wanted, on until somebody or the cloud turns it off."""

    __tablename__ = "log_switches"
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    since_ms: Mapped[int] = mapped_column(_Milliseconds)


class LogRow(Base):
    """One line of a device's console, as the device sent it."""

    __tablename__ = "log_lines"
    # Ids are cursors, so SQLite must not give those of deleted lines again.
    __table_args__ = (Index("ix_log_lines_device", "device_ref", "id"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(_LongId, primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    at_ms: Mapped[int] = mapped_column(_Milliseconds)
    text: Mapped[str] = mapped_column(Text)


class AuditEntry(Base):
    """Who did what; never holds a key. `account_id` is whose affair it is, None the operator's alone."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(_Seconds)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    actor: Mapped[str] = mapped_column(String(160), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[str] = mapped_column(String(256))


# History


class OnlineSample(Base):
    """How many devices of a product were online, and how many activated, at one time."""

    __tablename__ = "online_samples"
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[int] = mapped_column(_Seconds, primary_key=True, index=True)
    online: Mapped[int]
    activated: Mapped[int]
