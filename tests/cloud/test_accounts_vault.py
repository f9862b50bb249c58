"""ProductKeys and DeviceKeys at rest."""

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cloud_helpers import activate

from cloudsdk.activation import mqtt_password
from cloudsdk.errors import CloudSdkError
from sim.cloud import rekey as rekeying
from sim.cloud.datadir import DataDir, create_private
from sim.cloud.model.vault import Vault, open_vault
from sim.cloud.rekey import rekey
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.service import Service


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(CloudSdkError) as error:
        call()
    assert "\n" not in str(error.value)
    return error.value.code


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "cloud")


def fill(data: DataDir, vault_key: Path | None = None) -> tuple[str, str]:
    """One product with one activated device; their keys."""
    service = Service(data, vault_key=vault_key)
    product = service.create_product("lamp")
    service.add_device("lamp", "SN1")
    keys = product["product_key"], activate(service, product, "SN1").device_key
    service.close()
    return keys


def keys_of(data: DataDir, vault_key: Path | None = None) -> tuple[str, str]:
    service = Service(data, vault_key=vault_key)
    product, device = service.show_product("lamp", keys=True), service.show_device("SN1", keys=True)
    assert service.login(device["device_id"], mqtt_password(device["device_key"]).encode())
    assert service.logins() == [(device["device_id"], mqtt_password(device["device_key"]))]
    service.close()
    return product["product_key"], device["device_key"]


def content(data: DataDir) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data.root.glob("cloud.db*")))


def test_no_key_is_in_the_database(data: DataDir) -> None:
    keys = fill(data)
    assert not [key for key in keys if key.encode() in content(data)]
    assert keys_of(data) == keys
    assert stat.S_IMODE(data.vault_key.stat().st_mode) == 0o600


def test_key_file_may_be_elsewhere(data: DataDir, tmp_path: Path) -> None:
    keys = fill(data, tmp_path / "key")
    assert not data.vault_key.exists()
    assert keys_of(data, tmp_path / "key") == keys


@pytest.mark.parametrize("damage", ["missing", "other", "empty", "rubbish", "short"])
def test_without_the_right_key_the_cloud_does_not_start_and_changes_nothing(
    data: DataDir, damage: str
) -> None:
    fill(data)
    right = data.vault_key.read_bytes()
    wrong = {"other": Vault.new().line(), "empty": b"", "rubbish": b"\xff" * 40, "short": right[:20]}
    data.vault_key.unlink()
    if damage != "missing":
        data.vault_key.touch(0o600)
        data.vault_key.write_bytes(wrong[damage])
    before = content(data)
    assert code_of(CloudServer(CloudConfig(data.root, http_port=0, mqtt_port=0)).start) == "cloud.vault-key"
    assert content(data) == before
    assert data.vault_key.exists() == (damage != "missing")


def test_key_file_that_others_can_read_is_refused(data: DataDir) -> None:
    fill(data)
    data.vault_key.chmod(0o640)
    assert code_of(lambda: Service(data)) == "cloud.vault-key"


def test_clear_keys_of_an_earlier_version_are_sealed_at_the_first_start(data: DataDir) -> None:
    fill(data)
    product_key, device_key = "d1234567-89ab-4cde-9f01-23456789abcd", "0123456789abcdef" * 2
    with sqlite3.connect(data.database) as connection:
        connection.execute("UPDATE products SET product_key = ?", (product_key,))
        connection.execute("UPDATE devices SET device_key = ?", (device_key,))
        connection.execute("DELETE FROM settings WHERE key = 'vault_check'")
    connection.close()
    assert keys_of(data) == (product_key, device_key)
    rows = sqlite3.connect(data.database)
    stored = rows.execute("SELECT product_key FROM products UNION SELECT device_key FROM devices").fetchall()
    rows.close()
    assert all(text.startswith("v1.") for (text,) in stored)


def test_sealed_key_opens_in_its_own_row_only() -> None:
    vault = Vault.new()
    sealed = vault.seal("device", "a" * 16, "secret")
    assert vault.open("device", "a" * 16, sealed) == "secret"
    assert vault.seal("device", "a" * 16, "secret") != sealed
    for kind, row, text in (
        ("device", "b" * 16, sealed),
        ("product", "a" * 16, sealed),
        ("device", "a" * 16, sealed[:-4] + "AAAA"),
        ("device", "a" * 16, "v1."),
        ("device", "a" * 16, "v1.é"),
    ):
        assert code_of(lambda kind=kind, row=row, text=text: vault.open(kind, row, text)) == "cloud.vault"  # type: ignore[misc]
    assert code_of(lambda: Vault.new().open("device", "a" * 16, sealed)) == "cloud.vault"
    assert repr(vault) == "Vault()"


def test_rekey_seals_everything_with_a_new_key(data: DataDir) -> None:
    keys = fill(data)
    old = data.vault_key.read_bytes()
    assert rekey(data) == 2
    assert keys_of(data) == keys
    new = data.vault_key.read_bytes()
    assert new.count(b"\n") == 1
    data.vault_key.write_bytes(old)
    assert code_of(lambda: Service(data)) == "cloud.vault-key"


def test_rekey_needs_the_server_to_be_stopped(data: DataDir) -> None:
    fill(data)
    with data.locked():
        assert code_of(lambda: rekey(data)) == "cloud.data-in-use"


@pytest.mark.parametrize("step", ["before", "after"])
def test_rekey_that_is_killed_leaves_a_key_that_fits(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    keys = fill(data)
    calls = 0

    def dying(*arguments: object) -> int:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    if step == "before":
        monkeypatch.setattr(rekeying, "change_key", dying)
    else:
        write = rekeying._write
        steps = iter((write, dying))
        monkeypatch.setattr(rekeying, "_write", lambda *arguments: next(steps)(*arguments))
    with pytest.raises(KeyboardInterrupt):
        rekey(data)
    assert calls == 1
    assert data.vault_key.read_bytes().count(b"\n") == 2
    assert keys_of(data) == keys
    monkeypatch.undo()
    rekey(data)
    assert data.vault_key.read_bytes().count(b"\n") == 1
    assert keys_of(data) == keys


def test_two_first_starts_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = open_vault(path, None)
    create_private(path, Vault.new().line())  # the second one found no file a moment ago
    assert open_vault(path, None).fits(first.check())
    assert list(tmp_path.iterdir()) == [path]
