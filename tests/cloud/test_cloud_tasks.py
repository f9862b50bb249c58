"""The task logic as sequences of messages, without a broker (cloudsdk-protocol 3.2, 9.3)."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from cloud_helpers import Twin, online, twin, version_report, write_package

from cloudsdk.errors import CloudSdkError
from cloudsdk.mqtt.packets import Publish, encode
from cloudsdk.ota.task import UpgradeMode
from sim.cloud.messages import MAX_PACKET, MAX_PAYLOAD, Outgoing
from sim.cloud.rollout import Selection
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo


@pytest.fixture
def device(service: Service, product: ProductInfo) -> Twin:
    return twin(service, product, "SN1")


def upload(service: Service, directory: Path, name: str = "app", version: str = "2.0.0") -> int:
    return service.upload_firmware(write_package(directory, name, version), "lamp")["id"]


def state_of(service: Service, task: int, sn: str = "SN1") -> str:
    return next(row["state"] for row in service.show_task(task)["devices"] if row["sn"] == sn)


def task_value(device: Twin) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(device.answers[0].payload)["data"][0]["value"]
    return value


def test_online_is_asked_for_the_version(service: Service, device: Twin, clock: Any) -> None:
    service.device_connected(device.device_id, "10.0.0.9")
    assert device.send(online(True)) == [1010]
    assert device.answers[0].payload == b'{"data":[{"DP":1010}]}'
    shown = service.show_device("SN1")
    assert (shown["online"], shown["last_login_ip"], shown["last_login_at"]) == (
        True,
        "10.0.0.9",
        int(clock.now),
    )


def test_report_is_stored_even_unasked(service: Service, device: Twin) -> None:
    assert device.send(version_report("0.0"), "ota") == []
    assert service.show_device("SN1")["version"] == "0.0"


def test_one_firmware_from_task_to_done(service: Service, device: Twin, tmp_path: Path) -> None:
    task = service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )["id"]
    assert state_of(service, task) == "waiting"
    assert device.boot("0.0") == [1012, 1010]
    assert state_of(service, task) == "sent"
    assert device.send(version_report("0.0"), "ota") == []  # once per connection
    assert device.boot("1.1") == []
    assert state_of(service, task) == "done"
    assert device.boot("1.1") == []


def test_task_message_is_the_documented_one(
    service: Service, product: ProductInfo, device: Twin, tmp_path: Path, clock: Any
) -> None:
    ids = [upload(service, tmp_path), upload(service, tmp_path, "filesystem", "0.1")]
    service.create_task(
        "lamp", firmware_ids=ids, selection=Selection(("SN1",)), version="1.1", mode=UpgradeMode.SILENT
    )
    device.boot("0.0")
    payload = device.answers[0].payload.decode()
    urls = [row["file_url"] for row in task_value(device)["firmwares"]]
    sizes = [row["file_size"] for row in service.list_firmware()]
    assert payload == (
        '{"data":[{"DP":1012,"value":{"createdTime":1539684200,"version":"1.1","firmwares":['
        f'{{"type":"app","file_version":"2.0.0","file_url":"{urls[0]}","upgrade_mode":3,"file_size":{sizes[0]},"index":1}},'
        f'{{"type":"filesystem","file_version":"0.1","file_url":"{urls[1]}","upgrade_mode":3,"file_size":{sizes[1]},"index":2}}'
        "]}}]}"
    )
    assert urls[0].startswith("http://127.0.0.1:8090/fw/")
    assert urls[0].endswith("/app.rbl")
    assert product["product_key"] not in payload


def test_two_firmwares_are_sent_again_after_each_restart(
    service: Service, device: Twin, tmp_path: Path
) -> None:
    ids = [upload(service, tmp_path), upload(service, tmp_path, "filesystem", "0.1")]
    task = service.create_task("lamp", firmware_ids=ids, selection=Selection(("SN1",)), version="1.1")["id"]
    assert device.boot("0.0") == [1012, 1010]
    assert device.boot("0.0") == [1012, 1010]  # restarted after the first firmware (3.2)
    assert [row["type"] for row in task_value(device)["firmwares"]] == ["app", "filesystem"]
    assert device.boot("1.1") == []
    assert state_of(service, task) == "done"


def test_device_that_has_everything_is_asked_and_done(service: Service, device: Twin, tmp_path: Path) -> None:
    task = service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )["id"]
    assert device.boot("0.0") == [1012, 1010]  # it stores the version in silence; the 1010 makes it tell
    assert device.send(version_report("1.1"), "ota") == []
    assert state_of(service, task) == "done"


def test_second_task_follows_the_first(service: Service, device: Twin, tmp_path: Path) -> None:
    firmware = upload(service, tmp_path)
    first = service.create_task(
        "lamp", firmware_ids=[firmware], selection=Selection(("SN1",)), version="1.1"
    )["id"]
    second = service.create_task(
        "lamp", firmware_ids=[firmware], selection=Selection(("SN1",)), version="1.2"
    )["id"]
    assert device.boot("0.0") == [1012, 1010]
    assert task_value(device)["version"] == "1.1"
    assert device.send(version_report("1.1"), "ota") == [1012, 1010]
    assert task_value(device)["version"] == "1.2"
    assert (state_of(service, first), state_of(service, second)) == ("done", "sent")


def test_offline_device_gets_its_task_when_it_comes(service: Service, device: Twin, tmp_path: Path) -> None:
    device.boot("0.0")
    device.send(online(False))
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )
    assert service.due().messages == []
    assert device.boot("0.0") == [1012, 1010]


def test_online_device_is_asked_when_a_task_is_created(
    service: Service, device: Twin, tmp_path: Path
) -> None:
    device.boot("0.0")
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )
    [query] = service.due().messages
    assert query.payload == b'{"data":[{"DP":1010}]}'
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]


def test_task_is_for_its_devices_only(
    service: Service, product: ProductInfo, device: Twin, tmp_path: Path
) -> None:
    other = twin(service, product, "SN2")
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )
    assert other.boot("0.0") == []
    assert device.boot("0.0") == [1012, 1010]


def test_urls_differ_per_device(service: Service, product: ProductInfo, device: Twin, tmp_path: Path) -> None:
    other = twin(service, product, "SN2")
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1", "SN2")), version="1.1"
    )
    device.boot("0.0")
    other.boot("0.0")
    assert task_value(device)["firmwares"][0]["file_url"] != task_value(other)["firmwares"][0]["file_url"]


def test_cancelled_task_is_not_sent(service: Service, device: Twin, tmp_path: Path) -> None:
    task = service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )["id"]
    service.cancel_task(task)
    assert device.boot("0.0") == []
    assert state_of(service, task) == "cancelled"


def test_cancelling_leaves_done_devices_done(service: Service, device: Twin, tmp_path: Path) -> None:
    task = service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )["id"]
    device.boot("0.0")
    device.boot("1.1")
    service.cancel_task(task)
    assert state_of(service, task) == "done"


def test_default_version_is_free(service: Service, device: Twin, tmp_path: Path) -> None:
    firmware = upload(service, tmp_path)
    assert (
        service.create_task("lamp", firmware_ids=[firmware], selection=Selection(("SN1",)))["version"]
        == "1.0"
    )
    device.boot("1.1")
    assert (
        service.create_task("lamp", firmware_ids=[firmware], selection=Selection(("SN1",)))["version"]
        == "1.2"
    )


def test_will_of_a_replaced_connection_is_void(service: Service, device: Twin) -> None:
    device.boot("0.0")
    device.send(online(False), stale_will=True)
    assert service.show_device("SN1")["online"] is True
    device.send(online(False))
    assert service.show_device("SN1")["online"] is False


def test_end_of_a_connection_without_will_is_offline(service: Service, device: Twin) -> None:
    device.boot("0.0")
    service.device_disconnected(device.device_id)
    assert service.show_device("SN1")["online"] is False


def test_a_new_server_run_starts_with_everyone_offline(
    service: Service, device: Twin, tmp_path: Path
) -> None:
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )
    device.boot("0.0")
    service.begin("http://10.0.0.5:8090")
    assert service.show_device("SN1")["online"] is False
    assert device.boot("0.0") == [1012, 1010]
    assert task_value(device)["firmwares"][0]["file_url"].startswith("http://10.0.0.5:8090/fw/")


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"data":1}',
    b'{"data":[1,null,"x",[]]}',
    b'{"data":[{"DP":"1011","value":{"version":"9"}}]}',
    b'{"data":[{"DP":1e999,"value":{"version":"9"}}]}',
    b'{"data":[{"DP":1011}]}',
    b'{"data":[{"DP":1011,"value":{"version":9}}]}',
    b'{"data":[{"DP":1011,"value":{"version":"a\\u001b[31m"}}]}',
    b'{"data":[{"DP":1011,"value":{"version":"\\ud800"}}]}',
    b'{"data":[{"DP":1011,"value":{"version":"' + b"9" * 64 + b'"}}]}',
    b'{"data":[{"DP":1000,"value":1}]}',
    b'{"data":[{"DP":1000,"value":"true"}]}',
    b'{"data":[{"DP":1012,"value":{}}]}',
    b'{"data":[' + b",".join([b'{"DP":1000,"value":true}'] * 17) + b"]}",
    b'{"data":[{"DP":1000,"value":true}]}' + b" " * MAX_PAYLOAD,
    b"[" * MAX_PAYLOAD,
    b'{"a":' * (MAX_PAYLOAD // 5),
]


def test_hostile_payloads_change_nothing(service: Service, device: Twin) -> None:
    before = service.show_device("SN1")
    for payload in HOSTILE:
        assert device.send(payload, "ota") == [], payload
        assert service.show_device("SN1") == before, payload


def test_only_own_topics_count(service: Service, product: ProductInfo, device: Twin) -> None:
    other = service.create_product("other")
    for topic in (
        f"/cloud/{other['product_id']}/{device.device_id}/system",
        f"/cloud/{product['product_id']}/{device.device_id}",
        f"/device/{product['product_id']}/{device.device_id}/system",
        "/cloud//",
    ):
        assert service.device_message(device.device_id, topic, online(True)) == []
    assert (
        service.device_message("0" * 16, f"/cloud/{product['product_id']}/{'0' * 16}/system", online(True))
        == []
    )
    assert service.show_device("SN1")["online"] is False


# Tasks that are refused when created


def refused(service: Service, ids: list[int], sns: list[str], version: str | None = "1.1") -> str:
    with pytest.raises(CloudSdkError) as error:
        service.create_task("lamp", firmware_ids=ids, selection=Selection(tuple(sns)), version=version)
    assert service.list_tasks() == []
    return f"{error.value.code}: {error.value}"


def test_task_message_over_2047_bytes_is_refused(service: Service, device: Twin, tmp_path: Path) -> None:
    ids = [upload(service, tmp_path, f"part{index}") for index in range(16)]
    assert "cloud.task-too-large" in refused(service, ids, ["SN1"])
    largest = next(count for count in range(len(ids), 0, -1) if _accepted(service, ids[:count]))
    assert device.boot("0.0") == [1012, 1010]
    size = device.answers[0].packet_size
    per_firmware = size // largest
    assert MAX_PACKET - per_firmware < size <= MAX_PACKET


def _accepted(service: Service, ids: list[int]) -> bool:
    try:
        service.create_task("lamp", firmware_ids=ids, selection=Selection(("SN1",)), version="1.1")
    except CloudSdkError:
        return False
    return True


def test_packet_size_counts_the_whole_publish() -> None:
    for length in (0, 1, 60, 124, 125, 126, 127, 128, 2000, 16_380, 16_381):
        message = Outgoing("/device/a/b/ota", b"x" * length)
        assert message.packet_size == len(encode(Publish(message.topic, message.payload)))


def test_url_longer_than_the_device_takes_is_refused(service: Service, device: Twin, tmp_path: Path) -> None:
    firmware = upload(service, tmp_path)
    service.begin("http://" + "h" * 220)
    assert "cloud.task-too-large" in refused(service, [firmware], ["SN1"])


def test_url_grown_too_long_later_is_not_sent(
    service: Service, device: Twin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.create_task(
        "lamp", firmware_ids=[upload(service, tmp_path)], selection=Selection(("SN1",)), version="1.1"
    )
    service.begin("http://" + "h" * 220)
    with caplog.at_level(logging.ERROR):
        assert device.boot("0.0") == []
    assert "cannot be sent" in caplog.text
    assert service.show_device("SN1")["version"] == "0.0"


def test_refusals(service: Service, device: Twin, tmp_path: Path) -> None:
    firmware = upload(service, tmp_path)
    again = upload(service, tmp_path, "app", "2.0.1")
    long_version = upload(service, tmp_path, "app", "2" * 24)
    service.create_product("other")
    foreign = service.upload_firmware(write_package(tmp_path, "app", "9"), "other")["id"]
    device.boot("1.0")
    assert "cloud.task-refused" in refused(service, [], ["SN1"])
    assert "cloud.task-refused" in refused(service, [firmware], [])
    assert "two firmwares" in refused(service, [firmware, again], ["SN1"])
    assert "23 characters" in refused(service, [long_version], ["SN1"])
    assert "another product" in refused(service, [foreign], ["SN1"])
    assert "already" in refused(service, [firmware], ["SN1"], "1.0")
    assert "cloud.bad-request" in refused(service, [firmware], ["SN1"], "v" * 24)
    assert "cloud.bad-request" in refused(service, [firmware], ["SN1"], "")
    assert "cloud.bad-request" in refused(service, [firmware], ["SN1"], "v\u00e9")
    assert "cloud.unknown-firmware" in refused(service, [firmware, 4711], ["SN1"])
    assert "cloud.unknown-device" in refused(service, [firmware], ["SN1", "nobody"])
    assert "cloud.task-refused" in refused(service, [firmware] * 65, ["SN1"])
    assert "cloud.bad-request" in refused(service, [10**30], ["SN1"])


def test_same_version_cannot_be_pending_twice(service: Service, device: Twin, tmp_path: Path) -> None:
    firmware = upload(service, tmp_path)
    service.create_task("lamp", firmware_ids=[firmware], selection=Selection(("SN1",)), version="1.1")
    with pytest.raises(CloudSdkError) as error:
        service.create_task("lamp", firmware_ids=[firmware], selection=Selection(("SN1",)), version="1.1")
    assert error.value.code == "cloud.task-refused"
