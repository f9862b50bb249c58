"""Packages and firmware in the cloud (platform 7 and 8), in process and over the API."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud_helpers import SN, twin, write_package

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.pack import PackOptions, pack
from cloudsdk.ota.package import read_package
from sim.cloud.client import AdminClient
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.model import library
from sim.cloud.model.packages import Expected
from sim.cloud.model.tables import AuditEntry
from sim.cloud.model.work import OPERATOR_CALLER, Caller, Scope
from sim.cloud.packing import Packers
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo

KEY, IV = b"k" * 32, b"i" * 16
RAW = bytes(range(256)) * 16


def code_of(call: Callable[..., object], *arguments: Any, **more: Any) -> str:
    with pytest.raises(CloudSdkError) as error:
        call(*arguments, **more)
    return error.value.code


def encrypted(directory: Path, version: str = "1.0.0") -> Path:
    path = directory / f"secret-{version}.rbl"
    path.write_bytes(
        pack(RAW, name="app", version=version, timestamp=1, encryption=Encryption.AES256, key=KEY, iv=IV)
    )
    return path


# 8.1, 8.2: upload


def test_type_and_version_are_those_in_the_package(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    path = write_package(tmp_path, "filesystem", "0.3")
    info = service.upload_firmware(path, "lamp", description="first one")
    assert (info["name"], info["version"]) == ("filesystem", "0.3")
    assert (info["description"], info["uploaded_by"]) == ("first one", "operator")


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expected(name="app"), "firmware name is filesystem, not app"),
        (Expected(version="0.4"), "is 0.3, not 0.4"),
    ],
)
def test_mismatch_is_refused_with_the_reason(
    service: Service, product: ProductInfo, tmp_path: Path, expected: Expected, reason: str
) -> None:
    path = write_package(tmp_path, "filesystem", "0.3")
    with pytest.raises(CloudSdkError, match=reason) as error:
        service.upload_firmware(path, "lamp", expected=expected)
    assert error.value.code == "cloud.package-refused"
    assert service.list_firmware() == []
    service.upload_firmware(path, "lamp", expected=Expected("filesystem", "0.3"))


def test_version_is_higher_than_the_latest(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    def upload(version: str, name: str = "app", **more: Any) -> object:
        path = write_package(tmp_path, name, version, os.urandom(64))
        return service.upload_firmware(path, "lamp", **more)

    upload("1.9.0")
    upload("1.10.0")
    for version in ("1.9.5", "1.10.0", "1.10", "1.10.0-rc1"):
        assert code_of(upload, version) == "cloud.version-not-higher"
    upload("0.1", "filesystem")  # each name has versions of its own
    upload("1.9.5", allow_lower=True)
    assert code_of(upload, "1.9.6") == "cloud.version-not-higher"  # the latest is the highest
    assert len(list(service.blobs._data.blobs.iterdir())) == 4  # what is refused leaves nothing


def test_deliberate_downgrades_are_audited(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    for version in ("2.0", "1.0"):
        service.upload_firmware(write_package(tmp_path, "app", version), "lamp", allow_lower=True)
    with service.core.work(OPERATOR_CALLER) as work:
        actions = [row.action for row in work.session.query(AuditEntry) if row.action.startswith("firmware")]
    assert actions == ["firmware.upload", "firmware.upload-lower"]


def test_hash_of_a_plain_package_is_verified(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    content = bytearray(pack(RAW, name="app", version="1", timestamp=1))
    wrong = read_package(write_package(tmp_path)).header
    good = type(wrong).unpack(bytes(content))
    content[:96] = (
        type(good)(
            **{**{name: getattr(good, name) for name in good.__slots__}, "raw_hash": good.raw_hash ^ 1}
        )
        .with_crc()
        .pack()
    )
    path = tmp_path / "wrong.rbl"
    path.write_bytes(content)
    with pytest.raises(CloudSdkError, match="do not belong together"):
        service.upload_firmware(path, "lamp")
    assert service.upload_firmware(write_package(tmp_path), "lamp")["verified"] is True


def test_key_verifies_an_encrypted_package_and_is_not_kept(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    path = encrypted(tmp_path)
    assert service.upload_firmware(path, "lamp")["verified"] is False
    assert code_of(service.upload_firmware, path, "lamp", expected=Expected(key=b"x" * 32, iv=IV)) == (
        "cloud.package-refused"
    )
    assert code_of(service.upload_firmware, path, "lamp", expected=Expected(key=b"short", iv=IV)) == "rbl.key"
    given = Expected(key=KEY, iv=IV)
    assert service.upload_firmware(path, "lamp", expected=given)["verified"] is True  # the row that is there
    assert KEY.decode() not in repr(given)
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("cloud.db*"))
    assert KEY not in stored


def test_findings_come_with_the_upload_and_stay(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    path = write_package(tmp_path, "app", "1.0", bytes(8))
    info = service.upload_firmware(path, "lamp")
    assert "raw-too-small" in [row["id"] for row in info["findings"]]
    assert service.show_firmware(info["id"]) == info
    fine = service.upload_firmware(write_package(tmp_path, "app", "1.1", RAW), "lamp")
    assert [row for row in fine["findings"] if row["severity"] == "error"] == []


def test_numbers_of_the_packer_are_shown(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    path = write_package(tmp_path, "app", "1.0", RAW)
    header = read_package(path).header
    info = service.upload_firmware(path, "lamp")
    assert info["package"] == {
        "hash_code": header.raw_hash,
        "hdr_crc32": header.header_crc32,
        "body_crc32": header.body_crc32,
        "raw_size": len(RAW),
        "pkg_size": header.body_size,
        "timestamp": 1529386280,
    }
    assert (info["compression"], info["encryption"]) == ("none", "none")


# Keeping and deleting


def test_download_gives_the_same_bytes(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    path = write_package(tmp_path)
    number = service.upload_firmware(path, "lamp")["id"]
    service.download_firmware(number, tmp_path / "again.rbl")
    assert (tmp_path / "again.rbl").read_bytes() == path.read_bytes()


def test_deleted_firmware_is_gone_and_may_come_again(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    path = write_package(tmp_path)
    info = service.upload_firmware(path, "lamp")
    service.delete_firmware(info["id"])
    assert code_of(service.show_firmware, info["id"]) == "cloud.unknown-firmware"
    assert service.list_firmware() == []
    assert not service.blobs.path(info["sha256"]).exists()
    again = service.upload_firmware(path, "lamp", description="again")
    assert (again["id"], again["description"]) == (info["id"], "again")
    assert service.blobs.path(info["sha256"]).exists()


def test_blob_stays_while_another_product_has_it(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    service.create_product("other")
    path = write_package(tmp_path)
    one, other = service.upload_firmware(path, "lamp"), service.upload_firmware(path, "other")
    service.delete_firmware(one["id"])
    assert service.blobs.path(other["sha256"]).exists()
    service.delete_firmware(other["id"])
    assert not service.blobs.path(other["sha256"]).exists()


def test_firmware_of_an_open_task_is_not_deleted(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    device = twin(service, product, "SN1")
    number = service.upload_firmware(write_package(tmp_path, "app", "2.0"), "lamp")["id"]
    task = service.create_task("lamp", firmware_ids=[number], selection=Selection(("SN1",)))["id"]
    assert code_of(service.delete_firmware, number) == "cloud.firmware-in-use"
    device.boot("0.0")
    url = json.loads(device.answers[0].payload)["data"][0]["value"]["firmwares"][0]["file_url"]
    service.cancel_task(task)
    service.delete_firmware(number)
    assert service.show_task(task)["firmware"][0]["version"] == "2.0"  # history stays readable
    assert code_of(service.open_download, url.split("/")[-2], FirmwareRequest("GET")) == (
        "cloud.unknown-download"
    )


def test_pages_of_firmware(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    ids = [service.upload_firmware(write_package(tmp_path, "app", f"1.{n}"), "lamp")["id"] for n in range(3)]
    page = service.page_firmware("lamp", limit=2)
    assert [row["id"] for row in page["items"]] == ids[:2]
    rest = service.page_firmware("lamp", after=page["next"] or 0, limit=2)
    assert ([row["id"] for row in rest["items"]], rest["next"]) == (ids[2:], None)


def test_account_has_a_quota(
    service: Service, product: ProductInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = service.upload_firmware(write_package(tmp_path, "app", "1.0"), "lamp")
    monkeypatch.setattr(library, "ACCOUNT_BYTES", 2 * first["file_size"] - 1)
    assert code_of(service.upload_firmware, write_package(tmp_path, "app", "1.1"), "lamp") == "cloud.quota"
    service.delete_firmware(first["id"])
    service.upload_firmware(write_package(tmp_path, "app", "1.1"), "lamp")


def test_orphaned_blobs_go_at_the_next_start(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    info = service.upload_firmware(write_package(tmp_path), "lamp")
    old, young = service.blobs.path("0" * 64), service.blobs.path("1" * 64)
    for path in (old, young):
        path.write_bytes(b"x")
    past = time.time() - 7200
    for path in (old, service.blobs.path(info["sha256"])):
        os.utime(path, (past, past))
    service.begin("http://127.0.0.1:8090")
    assert not old.exists()
    assert young.exists()  # somebody may just be entering it
    assert service.blobs.path(info["sha256"]).exists()


def test_scopes_and_foreign_firmware(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    number = service.upload_firmware(write_package(tmp_path), "lamp")["id"]
    reader = service.acting_as(Caller(None, "reader", frozenset({Scope.READ})))
    assert reader.show_firmware(number)["id"] == number
    assert code_of(reader.delete_firmware, number) == "cloud.forbidden"
    assert code_of(reader.upload_firmware, write_package(tmp_path), "lamp") == "cloud.forbidden"
    options = PackOptions(name="app", version="1", timestamp=1)
    assert code_of(reader.pack_package, write_package(tmp_path), options) == "cloud.forbidden"
    stranger = service.acting_as(Caller(4711, "stranger"))
    assert code_of(stranger.show_firmware, number) == "cloud.unknown-firmware"
    assert code_of(stranger.delete_firmware, number) == "cloud.unknown-firmware"
    assert stranger.list_firmware() == []


# 7: the packer


@pytest.mark.parametrize("compression", [c for c in Compression if c is not Compression.HPATCHLITE])
@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.AES256])
def test_packer_makes_what_the_core_makes(
    service: Service,
    product: ProductInfo,
    tmp_path: Path,
    compression: Compression,
    encryption: Encryption,
) -> None:
    source, output = tmp_path / "app.bin", tmp_path / "app.rbl"
    source.write_bytes(RAW)
    options = PackOptions(
        name="app", version="3", timestamp=9, compression=compression, encryption=encryption, key=KEY, iv=IV
    )
    packed = service.pack_package(source, options, output=output, product="lamp")
    wanted = pack(
        RAW,
        name="app",
        version="3",
        timestamp=9,
        compression=compression,
        encryption=encryption,
        key=KEY,
        iv=IV,
    )
    assert output.read_bytes() == wanted
    firmware = packed["firmware"]
    assert firmware is not None
    assert (packed["size"], firmware["package"]) == (len(wanted), packed["package"])
    assert firmware["verified"] is True
    assert service.blobs.path(firmware["sha256"]).read_bytes() == wanted


def test_packing_leaves_nothing_behind_when_it_fails(
    service: Service, product: ProductInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "app.bin"
    source.write_bytes(RAW)
    options = PackOptions(name="app", version="3", timestamp=9)
    output = tmp_path / "out.rbl"
    assert code_of(service.pack_package, source, options, output=output, product="none") == (
        "cloud.unknown-product"
    )
    monkeypatch.setattr("sim.cloud.packing.MAX_PACKAGE", len(RAW) - 1)
    assert code_of(service.pack_package, source, options, output=output) == "cloud.too-large"
    assert not output.exists()
    assert list(service.blobs._data.uploads.iterdir()) == []


def test_packing_is_bounded(tmp_path: Path) -> None:
    packers = Packers(parallel=1, waiting=0)
    source = tmp_path / "pipe"
    source.write_bytes(RAW)

    async def two() -> tuple[Any, Any]:
        options = PackOptions(name="app", version="3", timestamp=9)
        with (tmp_path / "one").open("w+b") as one, (tmp_path / "two").open("w+b") as two:
            return await asyncio.gather(
                packers.pack(source, one, options),
                packers.pack(source, two, options),
                return_exceptions=True,
            )

    first, second = asyncio.run(two())
    packers.close()
    assert first.raw_size == len(RAW)
    assert second.code == "cloud.busy"


# Over the API


def test_packing_and_keeping_over_http(
    server: CloudServer, admin: AdminClient, lamp: ProductInfo, tmp_path: Path
) -> None:
    source, output = tmp_path / "app.bin", tmp_path / "app.rbl"
    source.write_bytes(RAW)
    options = PackOptions(
        name="app",
        version="3.0",
        timestamp=9,
        compression=Compression.QUICKLZ,
        encryption=Encryption.AES256,
        key=KEY,
        iv=IV,
    )
    packed = admin.pack_package(source, options, output=output)
    assert packed["firmware"] is None
    assert packed["size"] == output.stat().st_size
    assert read_package(output).header.raw_hash == packed["package"]["hash_code"]
    stored = admin.pack_package(source, options, output=tmp_path / "same.rbl", product="lamp")
    assert stored["firmware"] is not None
    assert stored["firmware"]["verified"] is True
    assert (tmp_path / "same.rbl").read_bytes() == output.read_bytes()
    number = stored["firmware"]["id"]
    assert admin.upload_firmware(output, "lamp", expected=Expected("app", "3.0", KEY, IV))["id"] == number
    admin.download_firmware(number, tmp_path / "again.rbl")
    assert (tmp_path / "again.rbl").read_bytes() == output.read_bytes()
    assert [row["id"] for row in admin.page_firmware("lamp")["items"]] == [number]
    admin.delete_firmware(number)
    assert code_of(admin.show_firmware, number) == "cloud.unknown-firmware"
    older = write_package(tmp_path, "app", "2.0")
    newer = admin.upload_firmware(write_package(tmp_path, "app", "2.1"), "lamp", description="d")
    assert code_of(admin.upload_firmware, older, "lamp") == "cloud.version-not-higher"
    assert admin.upload_firmware(older, "lamp", allow_lower=True)["version"] == "2.0"
    assert admin.show_firmware(newer["id"])["description"] == "d"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({"name": "app", "version": "1", "compression": "zip"}, {}, 400),
        ({"name": "app"}, {}, 400),
        ({"name": "a" * 17, "version": "1"}, {}, 400),
        ({"name": "app", "version": "1", "encryption": "aes256"}, {}, 400),
        ({"name": "app", "version": "1", "encryption": "aes256"}, {"X-Package-Key": "short"}, 400),
        ({"name": "app", "version": "1", "timestamp": str(2**32)}, {}, 400),
        ({"name": "app", "version": "1", "product": "nobody"}, {}, 404),
    ],
)
def test_packer_refuses_over_http(
    server: CloudServer, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = requests.post(
        f"{server.http_url}/api/v1/packages",
        params=query,
        headers={"Authorization": f"Bearer {server.admin_token}", **headers},
        data=RAW,
        timeout=10,
    )
    assert answer.status_code == status
    assert answer.json()["code"]
    assert "short" not in answer.text


def test_steering_and_pages_over_http(admin: AdminClient, lamp: ProductInfo, tmp_path: Path) -> None:
    firmware = admin.upload_firmware(write_package(tmp_path, "filesystem", "5"), "lamp")
    created = admin.create_task(
        "lamp", firmware_ids=[firmware["id"]], selection=Selection(everyone=True), ends_at=2**33
    )
    number = created["id"]
    assert (created["state"], created["selection"]["everyone"]) == ("running", True)
    assert admin.pause_task(number)["state"] == "paused"
    assert [row["id"] for row in admin.page_tasks("lamp", "paused")["items"]] == [number]
    assert admin.resume_task(number)["state"] == "running"
    assert [row["sn"] for row in admin.page_task_devices(number, "waiting")["items"]] == [SN]
    assert admin.tasks_of_device(SN)[0]["task_id"] == number
    assert code_of(admin.retry_task, number) == "cloud.task-state"
    assert admin.cancel_task(number)["counts"]["cancelled"] == 1
