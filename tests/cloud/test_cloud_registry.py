"""Accounts, products, devices, packages and the database itself, without a server."""

import os
import stat
from pathlib import Path

import pytest
from cloud_helpers import activate, write_package

from cloudsdk.activation import mqtt_password
from cloudsdk.errors import CloudSdkError, UsageError
from sim.cloud.blobs import Upload
from sim.cloud.datadir import DataDir
from sim.cloud.errors import StorageError, TooLargeError
from sim.cloud.firmware import ResponsePlan
from sim.cloud.model import accounts, devices, products
from sim.cloud.model.tables import Product, Setting
from sim.cloud.model.transfers import OpenDownload
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo


def code_of(call: object, *args: object, **kwargs: object) -> str:
    assert callable(call)
    with pytest.raises(CloudSdkError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return error.value.code


# Products and accounts


def test_product_ids_have_the_documented_form(product: ProductInfo) -> None:
    assert len(product["product_id"]) == 16
    assert set(product["product_id"]) <= set("0123456789abcdef")
    assert len(product["product_key"]) == 36


def test_product_key_is_shown_only_when_asked_for(service: Service, product: ProductInfo) -> None:
    assert "product_key" not in service.show_product("lamp")
    assert "product_key" not in service.list_products()[0]
    by_id = service.show_product(product["product_id"], keys=True)
    assert by_id["product_key"] == product["product_key"]


def test_product_name_is_unique_within_an_account(service: Service, product: ProductInfo) -> None:
    assert code_of(service.create_product, "lamp") == "cloud.duplicate-product"
    service.create_account("second", "long enough")
    service.create_product("lamp", account="second")
    assert code_of(service.show_product, "lamp") == "cloud.ambiguous-name"
    assert service.show_product(product["product_id"])["account"] == "operator"


def test_bad_names_are_refused(service: Service) -> None:
    for name in ("", " x", "x ", "a\nb", "x" * 65, "\x1b[31m", None, 5):
        assert code_of(service.create_product, name) == "cloud.bad-request", name


def test_bad_device_limits_are_refused(service: Service) -> None:
    for limit in (0, -1, 10**7, True, "5", 1.5, None):
        assert code_of(service.create_product, "x", device_limit=limit) == "cloud.bad-request", limit


def test_password_is_kept_as_a_salted_hash(service: Service) -> None:
    service.create_account("anna", "correct horse")
    with service.core.work(OPERATOR_CALLER) as work:
        login = accounts.login_of(work, "anna")
        assert login is not None
        assert accounts.login_of(work, "nobody") is None
    assert login.password.fits("correct horse")
    assert not login.password.fits("correct horsf")
    for path in Path(service.blobs._data.root).glob("cloud.db*"):
        assert b"correct horse" not in path.read_bytes()
    assert code_of(service.create_account, "anna", "another one") == "cloud.duplicate-account"
    assert code_of(service.create_account, "bob", "short") == "cloud.bad-request"


def test_operator_has_no_password(service: Service, product: ProductInfo) -> None:
    with service.core.work(OPERATOR_CALLER) as work:
        assert accounts.login_of(work, "operator") is None


# Devices


def test_sn_is_unique_within_a_product(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    assert code_of(service.add_device, "lamp", "SN1") == "cloud.duplicate-sn"
    service.create_product("other")
    service.add_device("other", "SN1")
    assert code_of(service.show_device, "SN1") == "cloud.ambiguous-name"
    assert service.show_device("SN1", product="other")["product"] == "other"


def test_bad_sns_are_refused(service: Service, product: ProductInfo) -> None:
    for sn in ("", "x" * 33, "a\0b", "a\tb", "é", " a", None):
        assert code_of(service.add_device, "lamp", sn) == "cloud.bad-request", sn


def test_sn_of_32_characters_is_accepted(service: Service, product: ProductInfo) -> None:
    assert service.add_device("lamp", "x" * 32)["sn"] == "x" * 32


def test_device_limit_is_enforced(service: Service) -> None:
    service.create_product("few", device_limit=2)
    service.add_device("few", "1")
    service.add_device("few", "2")
    assert code_of(service.add_device, "few", "3") == "cloud.device-limit"


def test_only_an_activated_device_may_log_in(service: Service, product: ProductInfo) -> None:
    device = service.add_device("lamp", "SN1")
    key = service.show_device("SN1", keys=True)["device_key"]
    password = mqtt_password(key).encode()
    assert service.login(device["device_id"], password) is None
    assert service.logins() == []
    assert activate(service, product, "SN1").device_key == key
    assert service.login(device["device_id"], password) == product["product_id"]
    assert service.login(device["device_id"], key.encode()) is None
    assert service.login(device["device_id"], b"") is None
    assert service.login("0" * 16, password) is None
    assert service.logins() == [(device["device_id"], password.decode())]


def test_activations_and_refusals_are_audited_within_bounds(
    service: Service, product: ProductInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.cloud.model.audit.AUDIT_ENTRIES", 3)
    service.add_device("lamp", "SN1")
    activate(service, product, "SN1")
    for _ in range(9):
        service.audit_refusal("device.refused", "SN1", "cloud.bad-sign")
    actions = [entry["action"] for entry in service.page_audit()["items"]]
    assert 3 <= actions.count("device.refused") < 6
    assert "device.activate" in actions  # strangers do not push out what concerns an account
    for _ in range(9):
        activate(service, product, "SN1")
    actions = [entry["action"] for entry in service.page_audit()["items"]]
    assert 3 <= actions.count("device.activate-again") < 6
    assert "device.activate" not in actions


# Packages


def test_upload_takes_name_and_version_from_the_package(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    path = write_package(tmp_path, "filesystem", "0.1", bytes(1000))
    firmware = service.upload_firmware(path, "lamp")
    assert (firmware["name"], firmware["version"]) == ("filesystem", "0.1")
    assert (firmware["file_size"], firmware["raw_size"]) == (path.stat().st_size, 1000)
    assert service.blobs.path(firmware["sha256"]).read_bytes() == path.read_bytes()


def test_same_content_again_is_one_firmware(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    path = write_package(tmp_path)
    first = service.upload_firmware(path, "lamp")
    assert service.upload_firmware(path, "lamp") == first
    service.create_product("other")
    assert service.upload_firmware(path, "other")["id"] != first["id"]


def test_every_recorded_package_is_accepted(service: Service, product: ProductInfo) -> None:
    recorded = sorted((Path(__file__).parents[1] / "data" / "rbl").glob("*/a_1byte__*.rbl"))
    assert len(recorded) > 8
    for path in recorded:
        assert service.upload_firmware(path, "lamp", allow_lower=True)["raw_size"] == 1


def test_damaged_packages_are_refused_with_the_reason(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    good = write_package(tmp_path).read_bytes()
    flipped_header, flipped_body = bytearray(good), bytearray(good)
    flipped_header[0x10] ^= 1
    flipped_body[-1] ^= 1
    cases = {
        "header CRC": bytes(flipped_header),
        "body CRC": bytes(flipped_body),
        "of 160 bytes": good[:-1],
        "follow": good + b"x",
        "begins with": b"PK\3\4" + good[4:],
        "96": good[:95],
        "not a package": b"",
    }
    for reason, content in cases.items():
        path = tmp_path / "bad.rbl"
        path.write_bytes(content)
        with pytest.raises(CloudSdkError) as error:
            service.upload_firmware(path, "lamp")
        assert error.value.code == "cloud.package-refused"
        assert reason in str(error.value)
    assert service.list_firmware() == []
    assert list(service.blobs._data.uploads.iterdir()) == []
    assert list(service.blobs._data.blobs.iterdir()) == []


def test_unreadable_file_is_a_usage_error(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        service.upload_firmware(tmp_path / "none.rbl", "lamp")


def test_unknown_product_leaves_no_blob(service: Service, tmp_path: Path) -> None:
    assert code_of(service.upload_firmware, write_package(tmp_path), "none") == "cloud.unknown-product"
    assert list(service.blobs._data.blobs.iterdir()) == []


def test_upload_is_bounded(tmp_path: Path) -> None:
    with Upload(tmp_path, limit=10) as upload:
        upload.write(b"x" * 10)
        with pytest.raises(TooLargeError):
            upload.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_open_download_hides_the_key() -> None:
    assert "secret" not in repr(OpenDownload(1, ResponsePlan(200, (), 0, 1), "s", 1, "secret"))


# The data directory and the database


def test_everything_is_private_to_its_owner(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    service.upload_firmware(write_package(tmp_path), "lamp")
    root = tmp_path / "cloud"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_state_survives_reopening(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    service.add_device("lamp", "SN1")
    service.close()
    again = Service(DataDir(tmp_path / "cloud"))
    assert again.show_device("SN1")["product"] == "lamp"
    again.close()


def test_database_is_written_through(service: Service) -> None:
    with service.core.work(OPERATOR_CALLER) as work:
        pragmas = [
            work.session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


def test_failed_operation_leaves_nothing(service: Service, product: ProductInfo) -> None:
    def fail_halfway() -> None:
        with service.core.work(OPERATOR_CALLER) as work:
            devices.add_device(work, "lamp", "SN1", name="", mac="", description="")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert service.list_devices() == []


def test_other_schema_version_is_refused(service: Service, tmp_path: Path) -> None:
    with service.core.work(OPERATOR_CALLER) as work:
        work.session.merge(Setting(key="schema_version", value="99"))
    service.close()
    assert code_of(Service, DataDir(tmp_path / "cloud")) == "cloud.schema-version"


def test_damaged_database_is_a_coded_error(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "cloud")
    data.database.write_bytes(b"this is not a database" * 100)
    assert code_of(Service, data) == "cloud.storage"


def test_unusable_data_directory_is_a_coded_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        DataDir(tmp_path / "file")


def test_errors_of_the_database_name_no_values(service: Service, product: ProductInfo) -> None:
    def fail_with_a_key() -> None:
        with service.core.work(OPERATOR_CALLER) as work:
            row = products.find_product(work, "lamp")
            work.session.add(Product(product_key=row.product_key, name="x"))

    with pytest.raises(StorageError) as error:
        fail_with_a_key()
    assert product["product_key"] not in str(error.value)
    assert os.linesep not in str(error.value)
