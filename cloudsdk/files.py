"""Files that a user names: read only if regular, and written whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from cloudsdk.errors import UsageError

PRIVATE: Final = 0o600  # mode of a file that holds secrets
_DESCRIPTORS: Final = "/proc/self/fd"


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A seekable file that becomes `target` when the block ends without an error, and vanishes otherwise.

    A link stays a link; a pipe or device is not replaced. Raises `UsageError` when the place or the disk does
    not allow it, also for an `OSError` of the block.
    """
    real = _resolved(target)
    temporary = real.parent / f".{secrets.token_hex(8)}.part"
    try:
        if real.exists() and not real.is_file():
            raise UsageError(f"cannot write {target}: not a regular file")
        with _unnamed(real.parent) or temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                # Python follows a link only when it is given a descriptor, too; the path needs none.
                os.link(f"{_DESCRIPTORS}/{file.fileno()}", temporary, src_dir_fd=file.fileno())
        temporary.replace(real)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _resolved(target: Path) -> Path:
    try:
        real = target.resolve()
        circular = real.is_symlink()  # from Python 3.13 on, resolve() leaves such a link as it is
    except RuntimeError:
        circular = True
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None
    if circular:
        raise UsageError(f"cannot write {target}: the links lead in a circle")
    return real


def _unnamed(folder: Path) -> BinaryIO | None:
    """A file without a name, so that a killed process leaves nothing; None where the system has none."""
    if not Path(_DESCRIPTORS).is_dir():  # what gives the file its name in the end
        return None
    with suppress(AttributeError, OSError):
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    return None


def create_whole(target: Path, content: bytes, mode: int = 0o644) -> None:
    """Make a new file, which appears with all of its content or not at all.

    Raises `UsageError` when there is one already, which stays as it is, or the place does not allow it.
    """
    temporary = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)  # refuses to replace, other than a rename
    except FileExistsError:
        raise UsageError(f"{target} exists already: choose another name or remove it") from None
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. Raises `OSError`, also for what is not a regular file.

    Opening a named pipe without a writer would block, and a device such as /dev/zero has no end.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # raises it itself for a directory
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file
