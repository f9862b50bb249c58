"""The directory a cloud keeps its state in. It holds keys, so it is private to its owner.

| entry | what |
|---|---|
| `cloud.db` | the database |
| `blobs/<sha256>` | uploaded packages |
| `uploads/` | packages on their way in |
| `mosquitto/` | generated broker configuration |
| `lock` | held while a server runs |
| `endpoint.json` | where that server listens, and its admin token |
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from sim.cloud.errors import DataInUseError, StorageError

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a running server tells local tools. `instance` is new at every start, `admin_url` is for them."""

    pid: int
    instance: str
    http_url: str
    activation_url: str
    mqtt_url: str
    shell_address: str
    log_address: str
    admin_url: str
    broker: str
    admin_token: str = field(repr=False)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a file with mode 0600, in one step and durably."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DataDir:
    """The paths above, created where missing; an existing `root` keeps its mode.

    Raises `StorageError` when the directory cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.database = self.root / "cloud.db"
        self.blobs = self.root / "blobs"
        self.uploads = self.root / "uploads"
        self.mosquitto = self.root / "mosquitto"
        self._lock = self.root / "lock"
        self._endpoint = self.root / "endpoint.json"
        try:
            self.root.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            for path in (self.blobs, self.uploads, self.mosquitto):
                path.mkdir(mode=PRIVATE_DIR, exist_ok=True)
            # SQLite would create it with the umask; its -wal and -shm files take over this mode.
            self.database.touch(mode=PRIVATE_FILE)
        except OSError as exc:
            raise StorageError(f"cannot use {self.root} as data directory: {exc.strerror}") from exc

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one server. Raises `DataInUseError`."""
        with self._lock.open("a") as file:
            self._lock.chmod(PRIVATE_FILE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise DataInUseError(
                    f"a server is already running on {self.root}: stop it or choose another --data"
                ) from exc
            yield

    @contextlib.contextmanager
    def announced(self, endpoint: Endpoint) -> Iterator[None]:
        """Keep `endpoint.json` while inside."""
        write_private(self._endpoint, json.dumps(asdict(endpoint)).encode())
        try:
            yield
        finally:
            self._endpoint.unlink(missing_ok=True)

    def endpoint(self) -> Endpoint | None:
        """The announced server; None without one. It may be left over from a server that was killed."""
        try:
            endpoint = Endpoint(**json.loads(self._endpoint.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        texts = {name: value for name, value in asdict(endpoint).items() if name != "pid"}
        return endpoint if all(isinstance(value, str) for value in texts.values()) else None

    def clear_uploads(self) -> None:
        """Drop what a killed server was still receiving."""
        for path in self.uploads.iterdir():
            path.unlink(missing_ok=True)
