"""A PostgreSQL server of the test session's own, on a Unix socket, and databases on it."""

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from sim.cloud.database import database_url
from sim.cloud.store import Store

PATIENCE = 60  # seconds for anything the server does
_SETTINGS = "listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off"


class PostgresServer:
    """The server whose socket is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self._cloud: str | None = None  # name of the database that clouds are copied from

    def _address(self, name: str) -> str:
        return f"postgresql+psycopg://cloudsim@/{name}?host={self._directory}"

    def connect(self, name: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=str(self._directory), user="cloudsim", dbname=name, autocommit=True)

    def create(self, template: str = "template0") -> str:
        """URL of a new database, a copy of another; by default it is empty."""
        name = f"cloud{next(self._numbers)}"
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with self.connect() as connection:
            connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
        return self._address(name)

    def create_cloud(self) -> str:
        """URL of a new database with the tables of a cloud: faster than making them again."""
        if self._cloud is None:
            url = self.create()
            Store(database_url(url)).close()
            self._cloud = str(database_url(url).database)
        return self.create(self._cloud)


def _bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = shutil.which("initdb")
    if not found and program is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent if found else Path(str(program)).parent


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Initialise and run a server until the block ends. It refuses to be root: then it is postgres."""
    programs = _bin()
    # A socket's path has about 100 characters; pytest's own directories are longer and not for other users.
    with tempfile.TemporaryDirectory(prefix="cloudsim-pg-") as name:
        root = Path(name)
        user = None
        if os.geteuid() == 0:
            user = "postgres"
            entry = pwd.getpwnam(user)
            os.chown(root, entry.pw_uid, entry.pw_gid)
        data = root / "data"
        initdb = (str(programs / "initdb"), "-D", str(data), "-U", "cloudsim", "-A", "trust", "-E", "UTF8")
        subprocess.run(
            (*initdb, "--locale=C.UTF-8", "--no-sync"), check=True, user=user, capture_output=True, cwd=root
        )
        settings = [f"-c{setting}" for setting in _SETTINGS]
        control = (str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", str(PATIENCE))
        options = " ".join([*settings, f"-k {root}", "-c max_connections=100"])
        subprocess.run(
            (*control, "-l", str(root / "log"), "-o", options, "start"),
            check=True,
            user=user,
            stdout=subprocess.DEVNULL,
            cwd=root,
        )
        try:
            yield PostgresServer(root)
        finally:
            subprocess.run(
                (*control, "-m", "immediate", "stop"),
                check=True,
                user=user,
                stdout=subprocess.DEVNULL,
                cwd=root,
            )
