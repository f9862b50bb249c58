"""Uploaded packages as files named by their SHA-256. A blob that has a name is complete and durable."""

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sim.cloud.datadir import DataDir, sync_directory
from sim.cloud.errors import StorageError, TooLargeError

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
