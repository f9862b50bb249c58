"""Transactions over the database."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
from sqlalchemy import URL, event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.orm import Session

from sim.cloud import migrations
from sim.cloud.database import READ_ONLY, SERVER_LOCK, is_sqlite, make_engine
from sim.cloud.errors import BadRequestError, CloudError, DataInUseError, StorageError

TAKEOVER_TIMEOUT: Final = 5.0  # seconds until PostgreSQL must have noticed the death of the server before
_TAKEOVER_PAUSE: Final = 0.05  # seconds between two looks


class _Shared(threading.local):
    """The transaction that this thread's transactions are part of."""

    session: Session | None = None
    afterwards: "list[Callable[[], object]]"  # what waits for it to be durable


class Store:
    """The database at `url`, brought to the present schema.

    One thread at a time may write; others may read meanwhile. `observe` is told the seconds every transaction
    took. `admit` sees the database before anything in it changes, and may raise. Raises `StorageError` when
    the database cannot be read or written and `SchemaVersionError` when another version of this program
    wrote it.
    """

    def __init__(
        self,
        url: URL,
        observe: Callable[[float], None] = lambda _seconds: None,
        *,
        admit: Callable[[Connection], object] = lambda _connection: None,
    ) -> None:
        self._url = url
        self._observe = observe
        self._shared = _Shared()
        self._migrate(admit)
        self._engine = make_engine(url)
        self._reader = self._engine.execution_options(**{READ_ONLY: True})

    def _migrate(self, admit: Callable[[Connection], object]) -> None:
        engine = make_engine(self._url, foreign_keys=False)
        try:
            with _storage_errors(), engine.begin() as connection:
                admit(connection)
                migrations.prepare(connection)
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: durable when the block ends, undone when it raises. Inside `batch` it is durable
        when the batch is."""
        with _storage_errors():
            if (shared := self._shared.session) is not None:
                with _savepoint(shared):
                    yield shared
            else:
                with self._begin(self._engine) as session:
                    yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees what is committed and waits for no writer. Nothing may be changed in it."""
        with _storage_errors():
            if (shared := self._shared.session) is not None:
                yield shared
            else:
                with self._begin(self._reader) as session:
                    yield session

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call when what was done is durable: after the batch that this thread is in, else at once. A batch
        that fails forgets it."""
        if self._shared.session is not None:
            self._shared.afterwards.append(call)
        else:
            call()

    def batch(self) -> contextlib.AbstractContextManager[None]:
        """Transactions of this thread inside it become savepoints of one, so that one wait for the disk
        serves them all. None of them counts before the block has ended without an error.

        One that raises is undone alone, but after an error of the database itself the block fails."""
        return self._share(self._engine)

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """`reading` of this thread inside it is one transaction."""
        return self._share(self._reader)

    @contextlib.contextmanager
    def _share(self, engine: Engine) -> Iterator[None]:
        kept = set()
        with _storage_errors(), self._begin(engine) as session:
            # The session alone would forget what one part has loaded before the next one asks for it.
            event.listen(session, "loaded_as_persistent", lambda _session, row: kept.add(row))
            session.connection()  # who cannot have the database hears it at once, not part by part
            self._shared.session = session
            afterwards: list[Callable[[], object]] = []
            self._shared.afterwards = afterwards
            try:
                yield
            finally:
                self._shared.session = None
            if not session.is_active or not session.in_transaction():
                # Without this the end of the block would be silent, and nothing committed.
                raise StorageError("a statement of the batch has failed")
        for call in afterwards:
            call()

    @contextlib.contextmanager
    def _begin(self, engine: Engine) -> Iterator[Session]:
        started = time.perf_counter()
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
        self._observe(time.perf_counter() - started)

    def check(self) -> None:
        """Raises `StorageError` unless the database answers."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold a PostgreSQL database for one server; SQLite has the lock of its data directory.

        Raises `DataInUseError`.
        """
        if is_sqlite(self._url):
            yield
            return
        with _storage_errors():
            holder = self._engine.connect().execution_options(
                isolation_level="AUTOCOMMIT", **{READ_ONLY: True}
            )
        try:
            self._take(holder)
            yield
        finally:
            # The lock goes with the connection, also when that is broken.
            holder.invalidate()
            holder.close()

    def _take(self, holder: Connection) -> None:
        deadline = time.monotonic() + TAKEOVER_TIMEOUT
        with _storage_errors():
            while not holder.scalar(text(f"SELECT pg_try_advisory_lock({SERVER_LOCK})")):
                if time.monotonic() > deadline:
                    raise DataInUseError("a server is already running on this database: stop it first")
                time.sleep(_TAKEOVER_PAUSE)

    def close(self) -> None:
        self._engine.dispose()


@contextlib.contextmanager
def _savepoint(session: Session) -> Iterator[None]:
    """What is done inside is undone alone when it raises. `Session.begin_nested` takes twice the time.

    After an error of the database itself the session is of no more use, and the batch fails.
    """
    connection = session.connection()
    connection.exec_driver_sql("SAVEPOINT part")
    try:
        yield
        session.flush()
    except BaseException:
        if session.is_active:
            session.expunge_all()
            try:
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT part")
            except SQLAlchemyError:
                session.rollback()  # SQLite has given up the whole transaction
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT part")


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except CloudError:
        raise
    except (UnicodeEncodeError, OverflowError, DataError) as exc:
        raise BadRequestError("text or a number that a database cannot hold") from exc
    except SQLAlchemyError as exc:
        raise StorageError(f"the database does not work: {_cause(exc)}") from exc
    except sqlite3.Error as exc:
        raise StorageError(f"the database does not work: {exc}") from exc


def _cause(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None) or type(error).__name__
    if isinstance(original, psycopg.Error) and original.diag.message_primary:
        return original.diag.message_primary  # the details after it quote the row, which may hold keys
    return " ".join(str(original).split())
