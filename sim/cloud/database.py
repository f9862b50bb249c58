"""Which database, and how transactions begin on it: SQLite or PostgreSQL (SQLAlchemy).

Several processes may write to one database: a server and the command line. Write transactions exclude each
other from their first statement, so one that reads first can still write later without a conflict: on SQLite
by BEGIN IMMEDIATE, on PostgreSQL by an advisory lock. Row locks would let two of them run at once, for which
no function of `model` is made, and the one writing thread of a server would gain nothing from it.
"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError

from cloudsdk.errors import UsageError

LOCK_TIMEOUT_MS: Final = 10_000  # how long a transaction waits for another process
CONNECT_TIMEOUT: Final = 10  # seconds until a PostgreSQL server must have answered
READ_ONLY: Final = "cloudsim_read_only"  # execution option of an engine whose transactions only read
WRITE_LOCK: Final = 0x636C_6F75_6473_696D  # advisory lock of whoever writes
SERVER_LOCK: Final = WRITE_LOCK + 1  # advisory lock of the running server

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def database_url(text: str) -> URL:
    """The database that `text` names: `sqlite:///path` or `postgresql+psycopg://user:password@host/name`.

    Raises `UsageError`, which does not repeat the text: it may hold a password.
    """
    try:
        url = make_url(text)
        driver = _DRIVERS[url.drivername]
    except (ArgumentError, ValueError, KeyError):
        raise UsageError(
            "the database must be sqlite:///path or postgresql+psycopg://user:password@host/name"
        ) from None
    if driver == "sqlite":
        if not url.database or url.database == ":memory:":
            raise UsageError("an SQLite database needs a path: sqlite:///path")
        return sqlite_url(Path(url.database).absolute())
    return url.set(drivername=driver)


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def make_engine(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine with the settings above. `foreign_keys` False lets SQLite rebuild tables in a migration."""
    # Statement parameters hold keys, so they stay out of error texts.
    if is_sqlite(url):
        engine = create_engine(url, hide_parameters=True)
        _tune_sqlite(engine, foreign_keys=foreign_keys)
        return engine
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,  # a restarted server costs nobody a request
        connect_args={"connect_timeout": CONNECT_TIMEOUT, "application_name": "cloudsim"},
    )
    _tune_postgresql(engine)
    return engine


def _reads_only(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(READ_ONLY))


def _tune_sqlite(engine: Engine, *, foreign_keys: bool) -> None:
    def connected(connection: Any, _record: object) -> None:
        # The driver would open transactions late and only for writes; `begun` does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={LOCK_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if _reads_only(connection) else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _tune_postgresql(engine: Engine) -> None:
    def connected(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        connection.commit()

    def begun(connection: Connection) -> None:
        if _reads_only(connection):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
