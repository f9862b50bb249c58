"""Uploaded packages as files named by their SHA-256. A blob that has a name is complete and durable."""

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Set
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

from sim.cloud.datadir import DataDir, sync_directory
from sim.cloud.errors import StorageError, TooLargeError

ORPHAN_AGE: Final = 3600.0  # seconds; a younger blob may be one that is just being entered
MAX_PACKAGE: Final = 64 * 1024 * 1024  # bytes; four times the largest flash of the supported boards

_log = logging.getLogger(__name__)


class Upload:
    """A package on its way in. A context manager: what was not kept is deleted.

    `write` raises `TooLargeError` beyond `limit` bytes and `StorageError` when the disk does not take it.
    """

    def __init__(self, directory: Path, limit: int = MAX_PACKAGE) -> None:
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0
        try:
            fd, name = tempfile.mkstemp(dir=directory)
            self._file = os.fdopen(fd, "wb")
        except OSError as exc:
            raise StorageError(f"cannot store the upload: {exc.strerror}") from exc
        self.path = Path(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit:
            raise TooLargeError(f"the package is larger than {self._limit} bytes")
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as exc:
            raise StorageError(f"cannot store the upload: {exc.strerror}") from exc

    def flush(self) -> None:
        """Make everything written readable at `path`, and durable."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise StorageError(f"cannot store the upload: {exc.strerror}") from exc


class Blobs:
    """The packages kept in a data directory."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def receive(self, limit: int = MAX_PACKAGE) -> Upload:
        return Upload(self._data.uploads, limit)

    def scratch(self) -> BinaryIO:
        """A nameless file for what is being made; it goes when it is closed."""
        try:
            return cast(BinaryIO, tempfile.TemporaryFile(dir=self._data.uploads))
        except OSError as exc:
            raise StorageError(f"cannot make a file: {exc.strerror}") from exc

    def path(self, sha256: str) -> Path:
        return self._data.blobs / sha256

    def remove(self, sha256: str) -> None:
        """Delete a package that no firmware refers to. A file that stays only costs room."""
        try:
            self.path(sha256).unlink(missing_ok=True)
        except OSError as exc:
            _log.warning("cannot delete the package %s: %s", sha256, exc.strerror)

    def keep(self, upload: Upload) -> None:
        """Give a flushed upload its lasting name."""
        try:
            upload.path.replace(self.path(upload.sha256))
            sync_directory(self._data.blobs)
        except OSError as exc:
            raise StorageError(f"cannot store the package: {exc.strerror}") from exc

    def drop(self, sha256: str) -> None:
        """Delete a blob that nothing needs. One that stays because of the disk goes at the next start."""
        with contextlib.suppress(OSError):
            self.path(sha256).unlink(missing_ok=True)

    def clean(self, kept: Set[str]) -> None:
        """Delete what is not in `kept`, but for what came lately."""
        youngest = time.time() - ORPHAN_AGE
        with contextlib.suppress(OSError):
            for path in self._data.blobs.iterdir():
                if path.name not in kept and path.stat().st_mtime < youngest:
                    path.unlink(missing_ok=True)
