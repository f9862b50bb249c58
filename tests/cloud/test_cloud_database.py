"""The database: URLs, schema and migrations, both kinds of transactions, several processes."""

import asyncio
import contextlib
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_helpers import code_of
from postgres import PostgresServer
from sqlalchemy import URL, select, text
from sqlalchemy.engine import Connection

from cloudsdk.errors import UsageError
from sim.cloud import migrations
from sim.cloud.database import database_url, make_engine, sqlite_url
from sim.cloud.datadir import DataDir, create_private
from sim.cloud.errors import BadRequestError, CloudError, StorageError
from sim.cloud.migrations.revise import differences, revise
from sim.cloud.model.tables import Setting
from sim.cloud.model.vault import CHECK_SETTING, Vault
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.service import Service
from sim.cloud.store import Store
from sim.cloud.worker import Worker

OLD = Path(__file__).parent.parent / "data" / "cloud" / "schema_1.sql"
PATIENCE = 10.0  # seconds for anything awaited here


@pytest.fixture
def url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> URL:
    """An empty database."""
    if database == "sqlite":
        return sqlite_url(tmp_path / "empty.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return database_url(server.create())


@pytest.fixture
def connection(url: URL) -> Iterator[Connection]:
    engine = make_engine(url, foreign_keys=False)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


def old_database(path: Path) -> None:
    opened = sqlite3.connect(path)
    opened.executescript(OLD.read_text())
    opened.close()


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    opened = sqlite3.connect(path)
    opened.row_factory = sqlite3.Row
    tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        name: [dict(row) for row in opened.execute(f"SELECT * FROM {name}")]  # noqa: S608
        for name in tables
    }
    opened.close()
    return found


def test_revisions_make_what_the_tables_say(connection: Connection) -> None:
    with connection.begin():
        migrations.upgrade(connection)
        assert differences(connection) == []


def test_a_new_database_is_at_the_last_revision(connection: Connection) -> None:
    with connection.begin():
        migrations.prepare(connection)
        assert differences(connection) == []
        assert migrations.revision_of(connection) == migrations.revisions()[-1]


def test_a_forgotten_revision_is_noticed(connection: Connection) -> None:
    with connection.begin():
        migrations.prepare(connection)
        connection.execute(text("ALTER TABLE devices DROP COLUMN mac"))
        assert len(differences(connection)) == 1


def test_revisions_are_numbered_without_gaps() -> None:
    assert migrations.revisions() == [f"{number:04}" for number in range(1, len(migrations.revisions()) + 1)]


def test_without_a_change_there_is_no_revision_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        revise("nothing", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_database_of_the_first_version_is_taken_over_without_loss(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    old_database(data.database)
    before = rows(data.database)
    service = Service(data)
    [product] = service.list_products()
    assert (product["name"], product["description"], product["devices"]) == ("lamp", "first 'version'", 2)
    assert service.show_task(1)["devices"][0]["state"] == "downloading"
    assert service.transfers(service.list_devices()[0]["sn"])[0]["bytes_sent"] == 128
    keys = {row["sn"]: row["device_key"] for row in before["devices"]}
    assert {sn: service.device_key(sn)["device_key"] for sn in keys} == keys
    assert service.product_key("lamp")["product_key"] == before["products"][0]["product_key"]
    service.close()
    after = rows(data.database)
    assert before.pop("settings") == [{"key": "schema_version", "value": "1"}]
    #: Keys are sealed, and the time of publication says what the flag said.
    changed = {"device_key", "product_key", "published"}
    for table, content in before.items():
        for old, new in zip(content, after[table], strict=table != "audit"):
            assert {name: new[name] for name in old.keys() - changed} == {
                name: old[name] for name in old.keys() - changed
            }, table
    Service(data).close()  # and again, with nothing left to do
    engine = make_engine(sqlite_url(data.database))
    with engine.begin() as connection:
        assert differences(connection) == []
        # Programs from before alembic look here, and must not write to this database.
        assert connection.scalar(select(Setting.value).where(Setting.key == "schema_version")) != "1"
    engine.dispose()


def test_a_wrong_vault_key_is_refused_before_a_migration(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    old_database(data.database)
    with sqlite3.connect(data.database) as opened:
        opened.execute("INSERT INTO settings VALUES (?, ?)", (CHECK_SETTING, Vault.new().check()))
    opened.close()
    before = rows(data.database)
    create_private(data.vault_key, Vault.new().line())
    assert code_of(Service, data) == "cloud.vault-key"
    assert rows(data.database) == before


def test_a_failing_migration_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataDir(tmp_path)
    old_database(data.database)
    before = rows(data.database)
    known = migrations.upgrade

    def fail(connection: Connection) -> None:
        known(connection)
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    monkeypatch.setattr(migrations, "upgrade", fail)
    assert code_of(Service, data) == "cloud.storage"
    assert rows(data.database) == before
    monkeypatch.undo()
    Service(data).close()


def test_a_newer_database_is_refused_and_left_alone(url: URL, connection: Connection) -> None:
    Store(url).close()
    with connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert code_of(Store, url) == "cloud.schema-version"
    with connection.begin():
        assert migrations.revision_of(connection) == "9999"


def test_an_unnumbered_newer_database_is_refused(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    old_database(data.database)
    opened = sqlite3.connect(data.database)
    opened.execute("UPDATE settings SET value = '2'")
    opened.commit()
    opened.close()
    assert code_of(Service, data) == "cloud.schema-version"


# URLs


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "cloud.db",
        "mysql://ann:s3cret@host/cloud",
        "postgresql+asyncpg://ann:s3cret@host/cloud",
        "postgresql://ann:s3cret@host:port/cloud",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_other_urls_are_refused_without_repeating_them(wrong: str) -> None:
    with pytest.raises(UsageError) as error:
        database_url(wrong)
    assert "s3cret" not in str(error.value)


def test_a_database_that_does_not_answer_shows_no_password(tmp_path: Path) -> None:
    config = CloudConfig(
        tmp_path, http_port=0, mqtt_port=0, database=f"postgresql://ann:s3cret@/cloud?host={tmp_path}"
    )
    assert "s3cret" not in repr(config)
    with pytest.raises(StorageError) as error:
        CloudServer(config).start()
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "database.url").exists()


def test_data_directory_remembers_its_database(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_cloud()
    with CloudServer(CloudConfig(tmp_path, http_port=0, mqtt_port=0, database=url)):
        pass
    assert stat.S_IMODE((tmp_path / "database.url").stat().st_mode) == 0o600
    service = Service(DataDir(tmp_path))
    service.create_product("lamp")
    service.close()
    assert not (tmp_path / "cloud.db").exists()
    elsewhere = Service(DataDir(tmp_path / "elsewhere"), database=url, vault_key=tmp_path / "vault.key")
    assert [product["name"] for product in elsewhere.list_products()] == ["lamp"]
    elsewhere.close()


def test_sqlite_elsewhere_is_private_and_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = "sqlite:///mine.db"
    with CloudServer(CloudConfig(tmp_path / "data", http_port=0, mqtt_port=0, database=database)):
        pass
    assert stat.S_IMODE((tmp_path / "mine.db").stat().st_mode) == 0o600
    assert (tmp_path / "data" / "database.url").read_text() == f"sqlite:///{tmp_path}/mine.db\n"


def test_one_server_per_database(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.cloud.store.TAKEOVER_TIMEOUT", 0.1)
    url = postgres.create_cloud()
    key = tmp_path / "one" / "vault.key"
    two = CloudConfig(tmp_path / "two", http_port=0, mqtt_port=0, database=url, vault_key=key)
    with CloudServer(CloudConfig(tmp_path / "one", http_port=0, mqtt_port=0, database=url)):
        with pytest.raises(CloudError) as error:
            CloudServer(two).start()
        assert error.value.code == "cloud.data-in-use"
    with CloudServer(two):
        pass


# Transactions


def test_writers_take_turns_and_readers_do_not_wait(url: URL) -> None:
    ours, theirs = Store(url), Store(url)
    order = []

    def write() -> None:
        with theirs.transaction() as session:
            session.merge(Setting(key="x", value=session.get_one(Setting, "x").value + "b"))
            order.append("theirs")

    with ours.transaction() as session:
        session.merge(Setting(key="x", value="a"))
        session.flush()
        other = threading.Thread(target=write)
        other.start()
        with ours.reading() as reader:
            assert reader.get(Setting, "x") is None  # not committed
        order.append("ours")
    other.join(PATIENCE)
    with ours.reading() as session:
        assert session.get_one(Setting, "x").value == "ab"
    assert order == ["ours", "theirs"]
    ours.close()
    theirs.close()


def test_a_reading_transaction_writes_nothing_on_postgresql(postgres: PostgresServer) -> None:
    store = Store(database_url(postgres.create()))

    def write() -> None:
        with store.reading() as session:
            session.add(Setting(key="x", value="a"))
            session.flush()

    with pytest.raises(StorageError, match="read-only"):
        write()
    store.close()


def test_a_failing_part_of_a_batch_is_undone_alone(url: URL) -> None:
    store = Store(url)

    def put(key: str, fail: bool = False) -> None:
        with store.transaction() as session:
            session.add(Setting(key=key, value="x"))
            session.flush()
            if fail:
                raise BadRequestError("no")

    with store.batch():
        put("a")
        assert code_of(put, "b", fail=True) == "cloud.bad-request"
        put("c")
    with store.reading() as session:
        keys = set(session.scalars(select(Setting.key)))
    assert keys == {"schema_version", "a", "c"}
    store.close()


async def in_line(worker: Worker, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while worker.waiting < count:  # noqa: ASYNC110 - it is a thread that takes from the line
            await asyncio.sleep(0)


def test_neighbours_share_a_transaction_and_one_that_fails_harms_none(url: URL) -> None:
    transactions = []
    store = Store(url, transactions.append)

    def put(key: str, fail: bool = False) -> str:
        with store.transaction() as session:
            session.add(Setting(key=key, value="x"))
            session.flush()
            if fail:
                raise BadRequestError("no")
        return key

    async def all_at_once(*calls: tuple[str, bool]) -> list[object]:
        worker = Worker(store)
        gate = threading.Event()
        first = asyncio.create_task(worker.run(gate.wait))
        waiting = [asyncio.create_task(worker.event(put, *call)) for call in calls]
        await in_line(worker, len(calls))
        gate.set()
        await first
        results = await asyncio.gather(*waiting, return_exceptions=True)
        worker.close()
        return [getattr(result, "code", result) for result in results]

    found = asyncio.run(all_at_once(("a", False), ("b", True), ("c", False)))
    assert found == ["a", "cloud.bad-request", "c"]
    assert len(transactions) == 1
    # A duplicate is the database's own error: the batch is repeated one by one.
    found = asyncio.run(all_at_once(("d", False), ("a", False), ("e", False), ("f", True)))
    assert found == ["d", "cloud.storage", "e", "cloud.bad-request"]
    with store.reading() as session:
        keys = set(session.scalars(select(Setting.key)))
    assert keys == {"schema_version", "a", "c", "d", "e"}
    store.close()


def test_reading_does_not_wait_for_events(monkeypatch: pytest.MonkeyPatch, url: URL) -> None:
    monkeypatch.setattr("sim.cloud.worker.MAX_WAITING", 1)
    store = Store(url)

    async def main() -> None:
        worker = Worker(store)
        gate = threading.Event()
        events = [asyncio.create_task(worker.event(gate.wait)) for _ in range(3)]
        await asyncio.wait_for(worker.look(store.check), PATIENCE)
        gate.set()
        await asyncio.gather(*events)
        worker.close()

    asyncio.run(main())
    store.close()


def test_a_database_that_cannot_be_had_is_waited_for_once() -> None:
    begun = []

    class Locked:
        @contextlib.contextmanager
        def batch(self) -> Iterator[None]:
            begun.append("batch")
            raise StorageError("locked")
            yield

        snapshot = batch

    async def main() -> None:
        worker = Worker(Locked())
        gate = threading.Event()
        first = asyncio.create_task(worker.run(gate.wait))
        events = [asyncio.create_task(worker.event(begun.append, name)) for name in ("a", "b", "c")]
        await in_line(worker, len(events))
        gate.set()
        results = await asyncio.gather(first, *events, return_exceptions=True)
        worker.close()
        assert all(isinstance(result, StorageError) for result in results[1:])

    asyncio.run(main())
    assert begun == ["batch"]


def test_results_come_after_the_commit() -> None:
    order: list[str] = []

    class Recorder:
        @contextlib.contextmanager
        def batch(self) -> Iterator[None]:
            yield
            order.append("commit")

        snapshot = batch

    async def main() -> None:
        worker = Worker(Recorder())
        gate = threading.Event()
        first = asyncio.create_task(worker.run(gate.wait))
        both = [asyncio.create_task(worker.event(order.append, name)) for name in ("a", "b")]
        for task in both:
            task.add_done_callback(lambda _task: order.append("answer"))
        await in_line(worker, len(both))
        gate.set()
        await asyncio.gather(first, *both)
        worker.close()

    asyncio.run(main())
    assert order == ["a", "b", "commit", "answer", "answer"]


def test_a_batch_that_is_not_committed_leaves_nothing(url: URL) -> None:
    store = Store(url)

    def fail_at_the_end() -> None:
        with store.batch():
            with store.transaction() as session:
                session.add(Setting(key="a", value="x"))
            raise BadRequestError("no")

    assert code_of(fail_at_the_end) == "cloud.bad-request"
    with store.reading() as session:
        assert session.get(Setting, "a") is None
    store.close()


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_the_database_cannot_hold_is_the_callers_fault(service: Service, value: str) -> None:
    with service.core.work(OPERATOR_CALLER) as work:
        backend = work.session.get_bind().dialect.name
    if backend == "sqlite" and "\0" in value:
        assert code_of(service.show_device, value) == "cloud.unknown-device"
    else:
        assert code_of(service.show_device, value) == "cloud.bad-request"


def test_old_dump_holds_the_tables_of_the_first_revision(tmp_path: Path) -> None:
    """The dump is of a real database of that version: what it lacks, no revision may expect."""
    first = (migrations.VERSIONS / "r0001_first_schema.py").read_text()
    assert set(re.findall(r'create_table\(\s*"(\w+)"', first)) == set(
        re.findall(r"CREATE TABLE (\w+)", OLD.read_text())
    )
