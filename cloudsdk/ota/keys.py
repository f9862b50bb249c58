"""AES key and IV of a package, and the files people keep them in."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.body import aes_cipher
from cloudsdk.ota.errors import PackageKeyError
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY

MAX_KEY_FILE: Final = 4096  # bytes
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class PackageKeys:
    """AES-256 key (32 bytes) and IV (16 bytes); by default those every bootloader is shipped with.

    Raises `PackageKeyError` for another length.
    """

    key: bytes = field(default=DEFAULT_KEY, repr=False)
    iv: bytes = field(default=DEFAULT_IV, repr=False)

    def __post_init__(self) -> None:
        aes_cipher(self.key, self.iv)


def ascii_secret(text: str, what: str) -> bytes:
    """The bytes of a key or IV given as text. Raises `PackageKeyError` when it is not all ASCII."""
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        # rbl-format 1.3
        raise PackageKeyError(
            f'the {what} is not all ASCII: write "?" for each other character, as the official packer does'
        ) from None


def parse_key_file(text: str) -> PackageKeys:
    """Key and IV of a key file: a line each, or a JSON object with the members `key` and `iv`.

    Only line ends are taken off, since a blank can belong to a key. Raises `PackageKeyError`, whose text
    holds nothing of the file.
    """
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    parts = [stored.get("key"), stored.get("iv")] if isinstance(stored, dict) else text.splitlines()
    values = [part for part in parts if isinstance(part, str)]
    if not len(values) == len(parts) == 2:
        raise PackageKeyError(
            'the key file is neither two lines, key and IV, nor JSON like {"key": "...", "iv": "..."}'
        )
    return PackageKeys(ascii_secret(values[0], "key"), ascii_secret(values[1], "IV"))


def read_key_file(path: Path) -> tuple[PackageKeys, list[str]]:
    """The keys in a file, and a warning when others than its owner can get at it.

    Raises `UsageError` when it cannot be read and `PackageKeyError` when it holds no keys.
    """
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > MAX_KEY_FILE:
        raise PackageKeyError(f"{path} has more than {MAX_KEY_FILE} bytes: it is no key file")
    keys = parse_key_file(content.decode("utf-8", "replace"))
    if mode & _OTHERS:
        return keys, [f"others can read the keys in {path}: chmod 600 {path}"]
    return keys, []
