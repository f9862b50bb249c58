"""ProductKeys and DeviceKeys at rest: AES-256-GCM under a key that is kept outside the database.

A sealed key is text: `v1.` and base64url of nonce and ciphertext. The row's kind and public id are
authenticated with it, so that a sealed key is of no use in another row.
"""

import base64
import binascii
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Table, bindparam, inspect, select, update

from sim.cloud.datadir import PRIVATE_FILE, create_private
from sim.cloud.errors import StorageError, VaultError, VaultKeyError
from sim.cloud.model.tables import Device, Product, Setting

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAX_KEY_FILE: Final = 1024  # bytes
CHECK_SETTING: Final = "vault_check"  # by which a wrong key file is known
PRODUCT: Final = "product"
DEVICE: Final = "device"
_PREFIX: Final = "v1."
_CHECK_TEXT: Final = "cloudsim"
_BATCH: Final = 1000  # rows
_PRODUCTS: Final = cast(Table, Product.__table__)
_DEVICES: Final = cast(Table, Device.__table__)
#: Where sealed keys are: table, column of the public id, column of the key, kind.
_SEALED: Final = (
    (_PRODUCTS, _PRODUCTS.c.product_id, _PRODUCTS.c.product_key, PRODUCT),
    (_DEVICES, _DEVICES.c.device_id, _DEVICES.c.device_key, DEVICE),
)


class Vault:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "Vault()"

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_bytes(KEY_BYTES))

    def seal(self, kind: str, public_id: str, text: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), _context(kind, public_id))
        return _PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, kind: str, public_id: str, sealed: str) -> str:
        """Raises `VaultError` for what was not sealed with this key for this row."""
        try:
            raw = base64.urlsafe_b64decode(sealed.removeprefix(_PREFIX))
            opened = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _context(kind, public_id))
        except (InvalidTag, ValueError):
            raise VaultError(f"the key of {kind} {public_id} cannot be opened: the row is damaged") from None
        return opened.decode()

    def check(self) -> str:
        """A text that only this vault's key opens."""
        return self.seal(CHECK_SETTING, "", _CHECK_TEXT)

    def fits(self, check: str) -> bool:
        try:
            return self.open(CHECK_SETTING, "", check) == _CHECK_TEXT
        except VaultError:
            return False

    def line(self) -> bytes:
        """The key as a line of a key file."""
        return base64.urlsafe_b64encode(self._key) + b"\n"


def _context(kind: str, public_id: str) -> bytes:
    return f"{kind}:{public_id}".encode()


def open_vault(path: Path, check: str | None) -> Vault:
    """The vault with the key in the file `path`, which is made at the first start, when there is no `check`.
    During a change of keys the file holds two, and `check` tells which one counts.

    Raises `VaultKeyError` when the file is missing, damaged or does not fit the database.
    """
    if check is None and not path.exists():
        try:
            create_private(path, Vault.new().line())
        except OSError as exc:
            raise StorageError(f"cannot write the vault key to {path}: {exc.strerror}") from exc
    vaults = _read_keys(path)
    if check is None:
        return vaults[-1]
    for vault in vaults:
        if vault.fits(check):
            return vault
    raise VaultKeyError(f"the vault key in {path} is not that of this database: name the right file")


def check_of(connection: Connection) -> str | None:
    """The check that a database of any revision holds; None of one that has no sealed keys yet."""
    settings = cast(Table, Setting.__table__)
    if not inspect(connection).has_table(settings.name):
        return None
    return connection.scalar(select(settings.c.value).where(settings.c.key == CHECK_SETTING))


def _read_keys(path: Path) -> list[Vault]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o777 & ~PRIVATE_FILE:
                raise VaultKeyError(f"others can read the vault key {path}: chmod 600 it")
            lines = file.read(MAX_KEY_FILE).split()
        keys = [base64.urlsafe_b64decode(line) for line in lines]
    except OSError as exc:
        raise VaultKeyError(
            f"cannot read the vault key {path}: {exc.strerror}: restore it, or name it with --vault-key"
        ) from exc
    except binascii.Error:
        keys = []
    if not 1 <= len(keys) <= 2 or any(len(key) != KEY_BYTES for key in keys):
        raise VaultKeyError(f"{path} is not a vault key file: restore it, or name it with --vault-key")
    return [Vault(key) for key in keys]


def seal_existing(connection: Connection, vault: Vault) -> None:
    """Seal what an earlier version left in clear text, and note the check, in the open transaction."""

    def sealed(kind: str, public_id: str, text: str) -> str:
        return text if text.startswith(_PREFIX) else vault.seal(kind, public_id, text)

    _rewrite(connection, sealed)
    _note_check(connection, vault)


def change_key(connection: Connection, old: Vault, new: Vault) -> int:
    """Seal everything with `new`, in the open transaction; returns the number of keys."""

    def sealed(kind: str, public_id: str, text: str) -> str:
        return new.seal(kind, public_id, old.open(kind, public_id, text))

    count = _rewrite(connection, sealed)
    _note_check(connection, new)
    return count


def _rewrite(connection: Connection, change: Callable[[str, str, str], str]) -> int:
    """Replace every stored key by `change(kind, public id, stored text)`, a batch of rows at a time."""
    count = 0
    for table, public_id, key, kind in _SEALED:
        rows = select(table.c.id, public_id, key).order_by(table.c.id).limit(_BATCH)
        last = 0
        while found := connection.execute(rows.where(table.c.id > last)).all():
            last = found[-1][0]
            count += len(found)
            connection.execute(
                update(table).where(table.c.id == bindparam("row")).values({key: bindparam("sealed")}),
                [{"row": row, "sealed": change(kind, name, text)} for row, name, text in found],
            )
    return count


def _note_check(connection: Connection, vault: Vault) -> None:
    settings = cast(Table, Setting.__table__)
    changed = connection.execute(
        update(settings).where(settings.c.key == CHECK_SETTING).values(value=vault.check())
    )
    if not changed.rowcount:
        connection.execute(settings.insert().values(key=CHECK_SETTING, value=vault.check()))
