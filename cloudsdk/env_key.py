"""The key of a board that seals the secrets in its ENV, and the file it is kept in."""

import re
from pathlib import Path
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import PRIVATE, create_whole, open_regular

KEY_LENGTH: Final = 32  # bytes, of AES-256
_KEY_FILE: Final = 2 * KEY_LENGTH + 2  # bytes: the digits and a line end
_KEY_TEXT: Final = re.compile(rb"[0-9A-Fa-f]{%d}\r?\n?" % (2 * KEY_LENGTH))


class EnvKeyError(CloudSdkError):
    """A file that holds no board key."""

    code: ClassVar[str] = "env.key"
    exit_status: ClassVar[int] = 2


def read_env_key(path: Path) -> bytes:
    """The board key in a file: 64 hexadecimal digits. Raises `EnvKeyError`, `UsageError` if unreadable."""
    try:
        with open_regular(path) as file:
            content = file.read(_KEY_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if not _KEY_TEXT.fullmatch(content):
        raise EnvKeyError(
            f"{str(path)!r} holds no board key of {2 * KEY_LENGTH} hexadecimal digits: "
            "make one with `cloudsim board env-key`"
        )
    return bytes.fromhex(content.decode())


def write_env_key(path: Path, key: bytes) -> None:
    """Write a new key file with mode 0600. Raises `UsageError` when there is one already."""
    create_whole(path, key.hex().encode() + b"\n", mode=PRIVATE)
