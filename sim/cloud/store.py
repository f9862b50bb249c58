"""The database, and transactions over it (SQLAlchemy; SQLite unless told otherwise).

Nothing here is SQLite's own SQL except the connection settings in `_tune_sqlite`.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, create_engine, event, insert, inspect, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sim.cloud.errors import BadRequestError, CloudError, SchemaVersionError, StorageError
from sim.cloud.model.tables import Base, Setting

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_MS: Final = 10_000  # how long a transaction waits for another process


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

    reading = transaction

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
