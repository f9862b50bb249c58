"""Sealing all ProductKeys and DeviceKeys with a new vault key.

The key file holds the old and the new key while the database changes over in one transaction: whatever kills
the process, the file has the key that the database needs.
"""

import contextlib
from pathlib import Path

from sim.cloud.datadir import DataDir, write_private
from sim.cloud.errors import StorageError
from sim.cloud.model.audit import audit
from sim.cloud.model.vault import Vault, change_key
from sim.cloud.service import Service


def rekey(data: DataDir, key_file: Path | None = None) -> int:
    """Change the vault key in `key_file`, by default the data directory's; returns how many keys were sealed.

    Raises `DataInUseError` while a server runs, `VaultKeyError` and `StorageError`. Let no other command work
    on the directory meanwhile.
    """
    path = key_file or data.vault_key
    with data.locked(), contextlib.closing(Service(data, vault_key=key_file)) as service:
        old, new = service.core.vault, Vault.new()
        _write(path, old, new)
        with service.core.work(service.caller) as work:
            count = change_key(work.session.connection(), old, new)
            audit(work, "vault.rekey", str(count))
        _write(path, new)
    return count


def _write(path: Path, *vaults: Vault) -> None:
    try:
        write_private(path, b"".join(vault.line() for vault in vaults))
    except OSError as exc:
        raise StorageError(f"cannot write the vault key to {path}: {exc.strerror}") from exc
