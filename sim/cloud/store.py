"""The tables, and transactions over them (SQLAlchemy; SQLite unless told otherwise).

Nothing here is SQLite's own SQL except the connection settings in `_tune_sqlite`.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from sim.cloud.errors import BadRequestError, CloudError, SchemaVersionError, StorageError

SCHEMA_VERSION: Final = 2
BUSY_TIMEOUT_MS: Final = 10_000  # how long a transaction waits for another process

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
    """`password_hash` is None for an account that cannot log in."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(_Seconds)


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
    published: Mapped[bool]
    created_at: Mapped[int] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    account: Mapped[Account] = relationship()


class Device(Base):
    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("product_ref", "sn"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id"))
    sn: Mapped[str] = mapped_column(String(32), index=True)
    device_id: Mapped[str] = mapped_column(String(16), unique=True)
    device_key: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64))
    mac: Mapped[str] = mapped_column(String(32))
    description: Mapped[str] = mapped_column(String(512))
    state: Mapped[str] = mapped_column(String(16))
    activated_at: Mapped[int | None] = mapped_column(_Seconds)
    online: Mapped[bool]
    last_login_at: Mapped[int | None] = mapped_column(_Seconds)
    last_login_ip: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(64))
    # The task whose message went out since the device last came online.
    sent_task: Mapped[int | None]
    created_at: Mapped[int] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    product: Mapped[Product] = relationship()


class Firmware(Base):
    __tablename__ = "firmware"
    __table_args__ = (UniqueConstraint("product_ref", "sha256"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id"))
    name: Mapped[str] = mapped_column(String(16))
    version: Mapped[str] = mapped_column(String(24))
    file_size: Mapped[int]
    raw_size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    timestamp: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(_Seconds)
    product: Mapped[Product] = relationship()


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_ref: Mapped[int] = mapped_column(ForeignKey("products.id"))
    version: Mapped[str] = mapped_column(String(23))
    mode: Mapped[int]
    created_at: Mapped[int] = mapped_column(_Seconds)
    product: Mapped[Product] = relationship()
    firmware: Mapped[list["TaskFirmware"]] = relationship(order_by="TaskFirmware.position")
    devices: Mapped[list["TaskDevice"]] = relationship(order_by="TaskDevice.device_ref")


class TaskFirmware(Base):
    """`position` counts from 1; it is the order of installation."""

    __tablename__ = "task_firmware"
    task_ref: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
    firmware: Mapped[Firmware] = relationship()


class TaskDevice(Base):
    __tablename__ = "task_devices"
    task_ref: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True, index=True)
    state: Mapped[str] = mapped_column(String(16))
    sent_at: Mapped[int | None] = mapped_column(_Seconds)
    done_at: Mapped[int | None] = mapped_column(_Seconds)
    updated_at: Mapped[int] = mapped_column(_Seconds)
    task: Mapped[Task] = relationship(back_populates="devices")
    device: Mapped[Device] = relationship()


class Download(Base):
    """The URL token under which one device gets one firmware."""

    __tablename__ = "downloads"
    __table_args__ = (UniqueConstraint("device_ref", "firmware_ref"),)
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
    device: Mapped[Device] = relationship()
    firmware: Mapped[Firmware] = relationship()


class Transfer(Base):
    __tablename__ = "transfers"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_ref: Mapped[int] = mapped_column(ForeignKey("devices.id"), index=True)
    firmware_ref: Mapped[int] = mapped_column(ForeignKey("firmware.id"))
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
    """Who did what; never holds a key."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(_Seconds)
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[str] = mapped_column(String(256))


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


class Store:
    """The database. Use it from one thread at a time.

    Raises `StorageError` when the database cannot be read or written and `SchemaVersionError` when another
    version of this program wrote it.
    """

    def __init__(self, url: URL) -> None:
        # Statement parameters hold keys, so they stay out of error texts.
        self._engine = create_engine(url, hide_parameters=True)
        if url.get_backend_name() == "sqlite":
            _tune_sqlite(self._engine)
        with _storage_errors(), self._engine.begin() as connection:
            _prepare(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: durable when the block ends, undone when it raises."""
        with _storage_errors(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self._engine.dispose()


def _prepare(connection: Connection) -> None:
    if not inspect(connection).has_table(Setting.__tablename__):
        Base.metadata.create_all(connection)
        connection.execute(insert(Setting).values(key="schema_version", value=str(SCHEMA_VERSION)))
        return
    found = connection.scalar(select(Setting.value).where(Setting.key == "schema_version"))
    if found != str(SCHEMA_VERSION):
        raise SchemaVersionError(
            f"the database has schema {found}, this version of cloudsim needs {SCHEMA_VERSION}: "
            "use the cloudsim that wrote it, or another --data"
        )


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except CloudError:
        raise
    except (UnicodeEncodeError, OverflowError) as exc:
        raise BadRequestError("text or a number that a database cannot hold") from exc
    except SQLAlchemyError as exc:
        cause = getattr(exc, "orig", None) or type(exc).__name__
        raise StorageError(f"the database does not work: {cause}") from exc
    except sqlite3.Error as exc:
        raise StorageError(f"the database does not work: {exc}") from exc


def _tune_sqlite(engine: Engine) -> None:
    def connected(connection: Any, _record: object) -> None:
        # The driver would open transactions late and only for writes; `begun` does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        # IMMEDIATE: a transaction that reads first can still write later without a conflict.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
