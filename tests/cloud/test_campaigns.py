"""OTA tasks from creation to their end, with a clock that stands still (platform 9, docs/cloud-tasks.md)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_helpers import Twin, activate, online, twin, version_report, write_package
from sqlalchemy import event, insert

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.ota.transport import rounded
from sim.cloud.datadir import DataDir
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.model.keys import sealed_device_key
from sim.cloud.model.tables import AuditEntry, Device, DeviceTag
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.rollout import Rollout, Selection
from sim.cloud.service import Service
from sim.cloud.shapes import Outcome, ProductInfo, TaskInfo

RAW = bytes(1000)


@pytest.fixture
def device(service: Service, product: ProductInfo) -> Twin:
    return twin(service, product, "SN1")


@pytest.fixture
def app(service: Service, product: ProductInfo, tmp_path: Path) -> int:
    return upload(service, tmp_path, "app", "2.0.0")


@pytest.fixture
def filesystem(service: Service, product: ProductInfo, tmp_path: Path) -> int:
    return upload(service, tmp_path, "filesystem", "0.1")


def upload(service: Service, directory: Path, name: str, version: str) -> int:
    return service.upload_firmware(write_package(directory, name, version, RAW), "lamp")["id"]


def fleet(service: Service, product: ProductInfo, count: int) -> list[Twin]:
    return [twin(service, product, f"SN{number}") for number in range(1, count + 1)]


def create(service: Service, firmware: int | list[int], *sns: str, **more: Any) -> int:
    ids = [firmware] if isinstance(firmware, int) else firmware
    selection = more.pop("selection", None) or Selection(sns or ("SN1",))
    more.setdefault("version", "1.1")
    return service.create_task("lamp", firmware_ids=ids, selection=selection, **more)["id"]


def row(service: Service, task: int, sn: str = "SN1") -> Any:
    return next(row for row in service.show_task(task)["devices"] if row["sn"] == sn)


def state(service: Service, task: int, sn: str = "SN1") -> str:
    return str(row(service, task, sn)["state"])


def counts(service: Service, task: int) -> dict[str, int]:
    return {name: count for name, count in service.show_task(task)["counts"].items() if count}


def urls(device: Twin) -> dict[str, str]:
    """Download token by firmware name of the task message that the device got."""
    value = json.loads(device.answers[0].payload)["data"][0]["value"]
    return {item["type"]: item["file_url"].split("/")[-2] for item in value["firmwares"]}


def fetch(
    service: Service,
    token: str,
    *,
    first: int = 0,
    upto: int | None = None,
    live: Callable[[], None] | None = None,
) -> None:
    """Download from byte `first`, and break off at `upto`."""
    wanted = FirmwareRequest("GET", f"bytes={first}-" if first else None)
    download = service.open_download(token, wanted)
    end = download.plan.end if upto is None else upto
    service.core.live.advance(download.transfer, end - first)
    if live is not None:
        live()
    outcome = Outcome.COMPLETE if upto is None else Outcome.ABORTED
    service.finish_transfer(download.transfer, end - first, outcome)


def upgrade(service: Service, device: Twin, version: str = "1.1", before: str = "0.0") -> None:
    """One firmware from the boot on which it is sent to the report that it is there."""
    assert device.boot(before) == [1012, 1010]
    for token in urls(device).values():
        fetch(service, token)
    device.boot(version)


def fail(service: Service, device: Twin, attempts: int = 3, before: str = "0.0") -> None:
    """Fetch the firmware that often, and never come back with it."""
    for _ in range(attempts):
        assert device.boot(before)[:1] == [1012]
        fetch(service, next(iter(urls(device).values())))
    assert device.boot(before) == []


def code_of(call: Callable[..., object], *arguments: Any, **more: Any) -> str:
    with pytest.raises(CloudSdkError) as error:
        call(*arguments, **more)
    return error.value.code


# 9.1 to 9.5: what a task is


def test_several_firmwares_in_the_order_given(
    service: Service, device: Twin, app: int, filesystem: int
) -> None:
    task = create(service, [filesystem, app])
    assert [item["name"] for item in service.show_task(task)["firmware"]] == ["filesystem", "app"]
    device.boot("0.0")
    assert list(urls(device)) == ["filesystem", "app"]
    fetch(service, urls(device)["filesystem"])
    assert (row(service, task)["firmware"], state(service, task)) == (1, "installing")
    assert device.boot("0.0") == [1012, 1010]  # it restarts after each firmware (9.5)
    fetch(service, urls(device)["app"])
    assert (row(service, task)["firmware"], row(service, task)["attempts"]) == (2, 1)
    device.boot("1.1")
    assert state(service, task) == "done"
    service.due()
    assert service.show_task(task)["state"] == "done"


@pytest.mark.parametrize(("mode", "number"), [("FORCED", 1), ("OPTIONAL", 2), ("SILENT", 3)])
def test_mode_goes_to_the_device(service: Service, device: Twin, app: int, mode: str, number: int) -> None:
    task = create(service, app, mode=UpgradeMode[mode])
    assert service.show_task(task)["mode"] == mode.lower()
    device.boot("0.0")
    assert f'"upgrade_mode":{number}'.encode() in device.answers[0].payload


def test_back_to_back_tasks_follow_one_another(service: Service, device: Twin, app: int) -> None:
    first, second = create(service, app), create(service, app, version="1.2")
    upgrade(service, device)
    assert (state(service, first), state(service, second)) == ("done", "sent")
    device.boot("1.2")
    service.due()
    assert service.show_task(second)["state"] == "done"


def test_same_version_is_refused(service: Service, device: Twin, app: int) -> None:
    device.boot("1.1")
    assert code_of(create, service, app) == "cloud.task-refused"


def test_previous_version_is_sent_like_any_other(service: Service, device: Twin, app: int) -> None:
    create(service, app, version="1.0")
    assert device.boot("1.1") == [1012, 1010]


# 9.3: for whom


def test_devices_by_tag_version_and_both(service: Service, product: ProductInfo, app: int) -> None:
    devices = fleet(service, product, 4)
    for device, version in zip(devices, ("1.0", "1.0", "0.9", "0.9"), strict=True):
        device.boot(version)
    with service.core.work(OPERATOR_CALLER) as work:
        rows = {row.sn: row.id for row in work.session.query(Device)}
        tagged = [{"device_ref": rows[sn], "tag": "lab"} for sn in ("SN1", "SN3")]
        work.session.execute(insert(DeviceTag), tagged)

    def chosen(version: str, selection: Selection) -> list[str]:
        task = create(service, app, selection=selection, version=version)
        return [row["sn"] for row in service.show_task(task)["devices"]]

    assert chosen("2", Selection(tags=("lab",))) == ["SN1", "SN3"]
    assert chosen("3", Selection(versions=("0.9",))) == ["SN3", "SN4"]
    assert chosen("4", Selection(tags=("lab", "other"), versions=("1.0",))) == ["SN1"]
    assert chosen("5", Selection(everyone=True)) == ["SN1", "SN2", "SN3", "SN4"]
    assert chosen("6", Selection(("SN4", devices[0].device_id, "SN4"))) == ["SN1", "SN4"]
    assert len(chosen("7", Selection(percent=50))) == 2
    assert code_of(chosen, "8", Selection(tags=("nobody",))) == "cloud.task-refused"
    assert code_of(chosen, "8", Selection(("SN9",))) == "cloud.unknown-device"


def test_number_of_devices_to_choose_from_is_bounded(
    service: Service, product: ProductInfo, app: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet(service, product, 3)
    monkeypatch.setattr("sim.cloud.model.task_creation.MAX_TASK_DEVICES", 2)
    assert code_of(create, service, app, selection=Selection(percent=1)) == "cloud.task-refused"
    assert code_of(create, service, app, "SN1", "SN2", "SN3") == "cloud.task-refused"
    create(service, app, "SN1", "SN3")


def test_selection_is_shown_and_does_not_change_later(
    service: Service, product: ProductInfo, device: Twin, app: int
) -> None:
    task = create(service, app, selection=Selection(everyone=True))
    later = twin(service, product, "SN2")
    assert later.boot("0.0") == []
    info = service.show_task(task)
    assert (info["device_count"], info["selection"]["everyone"]) == (1, True)


def test_devices_of_other_products_are_unknown(service: Service, device: Twin, app: int) -> None:
    other = service.create_product("other")
    service.add_device(other["product_id"], "SN2")
    assert code_of(create, service, app, "SN2") == "cloud.unknown-device"


# 9.4, 9.6: progress


def test_progress_is_live_and_kept(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    size = service.show_firmware(app)["file_size"]
    seen: list[TaskInfo] = []
    device.boot("0.0")
    fetch(service, urls(device)["app"], upto=512, live=lambda: seen.append(service.show_task(task)))
    [during], after = seen, service.show_task(task)
    for info in (during, after):
        item = info["devices"][0]
        assert (item["state"], item["firmware"], item["offset"], item["file_size"]) == (
            "downloading",
            1,
            512,
            size,
        )
        assert info["bytes_sent"] == item["bytes_sent"] == 512
        assert info["percent"] == 100 * 512 // rounded(size)
    assert during["rate"] == 512
    assert during["eta"] == -(-(rounded(size) - 512) // 512)


def test_disconnect_and_resume_counts_each_byte_once(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    device.boot("0.0")
    fetch(service, urls(device)["app"], upto=512)
    device.send(online(False))
    device.boot("0.0")
    assert state(service, task) == "sent"
    fetch(service, urls(device)["app"], first=512)
    item = row(service, task)
    assert item["bytes_sent"] == rounded(item["file_size"])
    assert (item["state"], item["offset"]) == ("installing", item["file_size"])
    device.boot("1.1")
    service.due()
    assert service.show_task(task)["percent"] == 100


def test_rate_is_forgotten_when_nothing_moves(service: Service, device: Twin, app: int, clock: Any) -> None:
    task = create(service, app)
    device.boot("0.0")
    fetch(service, urls(device)["app"], upto=512)
    clock.now += 3600
    assert (service.show_task(task)["rate"], service.show_task(task)["eta"]) == (0, None)


# Failure


def test_image_refused_by_the_device_fails_after_three_downloads(
    service: Service, device: Twin, app: int
) -> None:
    task = create(service, app)
    fail(service, device)
    item = row(service, task)
    assert (item["state"], item["attempts"]) == ("failed", 3)
    assert "3 times" in item["reason"]
    service.due()
    info = service.show_task(task)
    assert (info["state"], counts(service, task)) == ("done", {"failed": 1})
    assert device.boot("0.0") == []  # not sent again


def test_number_of_attempts_is_chosen(service: Service, device: Twin, app: int, filesystem: int) -> None:
    task = create(service, app, rollout=Rollout(max_attempts=1))
    fail(service, device, 1)
    assert state(service, task) == "failed"
    both = create(service, [app, filesystem], version="1.2", rollout=Rollout(max_attempts=1))
    device.boot("0.0")
    fetch(service, urls(device)["app"])
    assert device.boot("0.0") == [1012, 1010]  # one return after each firmware is in order
    fetch(service, urls(device)["filesystem"])
    assert device.boot("0.0") == []
    assert state(service, both) == "failed"


def test_firmwares_that_replace_each_other_for_ever_fail(
    service: Service, device: Twin, app: int, filesystem: int
) -> None:
    task = create(service, [app, filesystem])
    for _ in range(3):
        for name in ("app", "filesystem"):
            assert device.boot("0.0") == [1012, 1010]
            fetch(service, urls(device)[name])
    assert device.boot("0.0") == []
    assert (state(service, task), row(service, task)["attempts"]) == ("failed", 6)


def test_resumed_download_is_no_failed_attempt(service: Service, device: Twin, app: int) -> None:
    """The last bytes were sent but did not arrive, as the next request shows."""
    task = create(service, app)
    for _ in range(10):
        assert device.boot("0.0") == [1012, 1010]
        fetch(service, urls(device)["app"], first=512)
    assert row(service, task)["attempts"] <= 1
    assert state(service, task) == "installing"


def test_reports_during_an_installation_are_no_failed_attempts(
    service: Service, device: Twin, app: int
) -> None:
    task = create(service, app)
    device.boot("0.0")
    fetch(service, urls(device)["app"])
    for _ in range(5):
        assert device.send(version_report("0.0"), "ota") == []
    assert (state(service, task), row(service, task)["attempts"]) == ("installing", 0)


def test_silence_after_the_download_is_a_failure(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    task = create(service, app, rollout=Rollout(report_deadline=100))
    device.boot("0.0")
    fetch(service, urls(device)["app"])
    device.send(online(False))
    clock.now += 99
    service.due()
    assert state(service, task) == "installing"
    clock.now += 1
    service.due()
    assert state(service, task) == "failed"
    assert "100 seconds" in row(service, task)["reason"]
    assert service.show_task(task)["state"] == "done"


def test_a_device_that_is_offline_and_waits_never_fails(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    task = create(service, app)
    clock.now += 10 * 366 * 86_400
    service.due()
    assert state(service, task) == "waiting"
    device.boot("0.0")
    clock.now += 10 * 366 * 86_400
    service.due()
    assert state(service, task) == "sent"


def test_success_after_a_failure_counts(service: Service, device: Twin, app: int, clock: Any) -> None:
    task = create(service, app, rollout=Rollout(report_deadline=100))
    device.boot("0.0")
    fetch(service, urls(device)["app"])
    clock.now += 100
    service.due()
    assert state(service, task) == "failed"
    device.boot("1.1")
    assert state(service, task) == "done"


def test_failed_devices_are_tried_again_on_request(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    assert code_of(service.retry_task, task) == "cloud.task-state"
    fail(service, device)
    service.due()
    assert service.retry_task(task)["state"] == "running"
    assert (state(service, task), row(service, task)["reason"]) == ("waiting", "")
    [query] = service.due().messages
    assert device.device_id in query.topic
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]
    device.boot("1.1")
    service.due()
    assert service.show_task(task)["state"] == "done"


def test_nothing_is_tried_again_when_the_time_is_over(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    task = create(service, app, ends_at=int(clock.now) + 100)
    fail(service, device)
    service.due()
    clock.now += 100
    assert code_of(service.retry_task, task) == "cloud.task-state"


def test_retry_does_not_resume_a_paused_task(service: Service, product: ProductInfo, app: int) -> None:
    failing, _waiting = fleet(service, product, 2)
    task = create(service, app, "SN1", "SN2")
    fail(service, failing)
    service.pause_task(task)
    assert service.retry_task(task)["state"] == "paused"
    assert counts(service, task) == {"waiting": 2}
    assert failing.boot("0.0") == []
    service.resume_task(task)
    assert failing.boot("0.0") == [1012, 1010]


# Staged rollout


def test_stages_open_one_after_the_other(service: Service, product: ProductInfo, app: int) -> None:
    devices = {device.device_id: device for device in fleet(service, product, 4)}
    task = create(service, app, selection=Selection(everyone=True), rollout=Rollout((25, 50, 100)))
    order = sorted(service.show_task(task)["devices"], key=lambda row: row["stage"])
    assert [row["stage"] for row in order] == [1, 2, 3, 3]
    for stage, item in enumerate(order[:3], start=1):
        assert service.show_task(task)["stage"] == stage
        for later in order:
            if later["stage"] > stage:
                assert devices[later["device_id"]].boot("0.0") == []
        upgrade(service, devices[item["device_id"]])
        service.due()
    upgrade(service, devices[order[3]["device_id"]])
    service.due()
    assert service.show_task(task)["state"] == "done"


def test_next_stage_waits_for_its_soak_time(
    service: Service, product: ProductInfo, app: int, clock: Any
) -> None:
    devices = {device.device_id: device for device in fleet(service, product, 2)}
    task = create(service, app, "SN1", "SN2", rollout=Rollout((50, 100), soak=300))
    first, second = sorted(service.show_task(task)["devices"], key=lambda row: row["stage"])
    devices[second["device_id"]].boot("0.0")
    upgrade(service, devices[first["device_id"]])
    due = service.due()
    assert (service.show_task(task)["stage"], due.messages) == (1, [])
    assert due.next_at is not None
    assert due.next_at <= clock.now + 300
    clock.now += 299
    service.due()
    assert service.show_task(task)["stage"] == 1
    clock.now += 1
    [query] = service.due().messages  # the second is online, so it is asked
    assert second["device_id"] in query.topic
    assert service.show_task(task)["stage"] == 2


def test_rollout_stops_by_itself_when_too_many_fail(service: Service, product: ProductInfo, app: int) -> None:
    devices = {device.device_id: device for device in fleet(service, product, 10)}
    task = create(
        service, app, selection=Selection(everyone=True), rollout=Rollout((20, 100), failure_limit=10)
    )
    items = service.show_task(task)["devices"]
    early = [row for row in items if row["stage"] == 1]
    late = next(row for row in items if row["stage"] == 2)
    upgrade(service, devices[early[0]["device_id"]])
    fail(service, devices[early[1]["device_id"]])
    service.due()
    info = service.show_task(task)
    assert (info["state"], info["stage"]) == ("stopped", 1)
    assert "50 %" in info["reason"]
    assert devices[late["device_id"]].boot("0.0") == []
    resumed = service.resume_task(task)
    assert (resumed["state"], resumed["reason"]) == ("running", "")
    service.due()
    assert service.show_task(task)["stage"] == 2  # what failed is not held against it
    assert devices[late["device_id"]].boot("0.0") == [1012, 1010]


def test_failures_beyond_the_minimum_stop_in_the_middle_of_a_stage(
    service: Service, product: ProductInfo, app: int
) -> None:
    devices = fleet(service, product, 6)
    rollout = Rollout(failure_limit=40, failure_minimum=2, max_attempts=1)
    task = create(service, app, selection=Selection(everyone=True), rollout=rollout)
    fail(service, devices[0], 1)
    service.due()
    assert service.show_task(task)["state"] == "running"
    fail(service, devices[1], 1)
    service.due()
    assert service.show_task(task)["state"] == "stopped"
    assert devices[2].boot("0.0") == []


# Schedule


def test_scheduled_task_starts_when_its_time_comes(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    device.boot("0.0")
    start = int(clock.now) + 100
    task = create(service, app, starts_at=start)
    assert service.show_task(task)["state"] == "scheduled"
    due = service.due()
    assert (due.messages, due.next_at) == ([], start)
    assert device.boot("0.0") == []
    clock.now += 100
    [query] = service.due().messages
    assert query.payload == b'{"data":[{"DP":1010}]}'
    info = service.show_task(task)
    assert (info["state"], info["started_at"]) == ("running", start)
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]


def test_waiting_devices_expire_at_the_end_and_others_go_on(
    service: Service, product: ProductInfo, app: int, clock: Any
) -> None:
    begun, waiting = fleet(service, product, 2)
    task = create(service, app, "SN1", "SN2", ends_at=int(clock.now) + 100)
    begun.boot("0.0")
    fetch(service, urls(begun)["app"], upto=512)
    clock.now += 100
    service.due()
    assert (state(service, task, "SN1"), state(service, task, "SN2")) == ("downloading", "expired")
    assert waiting.boot("0.0") == []
    assert begun.boot("0.0") == [1012, 1010]
    begun.boot("1.1")
    service.due()
    assert service.show_task(task)["state"] == "done"


def test_times_that_cannot_be(service: Service, device: Twin, app: int, clock: Any) -> None:
    now = int(clock.now)
    assert code_of(create, service, app, ends_at=now) == "cloud.task-refused"
    assert code_of(create, service, app, starts_at=now + 10, ends_at=now + 10) == "cloud.task-refused"
    for wrong in (-1, 2**60, True, "soon"):
        assert code_of(create, service, app, starts_at=wrong) == "cloud.bad-request"


def test_scheduled_task_does_not_hold_up_a_later_one(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    create(service, app, starts_at=int(clock.now) + 100)
    now = create(service, app, version="1.2")
    upgrade(service, device, "1.2")
    assert state(service, now) == "done"


# Pause, resume, cancel


def test_pause_in_the_middle_sends_nothing_new(service: Service, product: ProductInfo, app: int) -> None:
    begun, waiting = fleet(service, product, 2)
    task = create(service, app, "SN1", "SN2")
    begun.boot("0.0")
    assert service.pause_task(task)["state"] == "paused"
    fetch(service, urls(begun)["app"])  # what is under way goes on
    assert state(service, task, "SN1") == "installing"
    assert waiting.boot("0.0") == []
    begun.boot("1.1")
    assert state(service, task, "SN1") == "done"
    assert service.due().messages == []
    assert service.resume_task(task)["state"] == "running"
    [query] = service.due().messages
    assert waiting.device_id in query.topic
    assert waiting.send(version_report("0.0"), "ota") == [1012, 1010]


def test_set_that_is_paused_halfway_is_completed_after_it(
    service: Service, device: Twin, app: int, filesystem: int
) -> None:
    task = create(service, [app, filesystem])
    device.boot("0.0")
    fetch(service, urls(device)["app"])
    service.pause_task(task)
    assert device.boot("0.0") == []
    service.resume_task(task)
    assert len(service.due().messages) == 1
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]


def test_paused_before_its_time_is_scheduled_again(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    task = create(service, app, starts_at=int(clock.now) + 100)
    service.pause_task(task)
    clock.now += 50
    service.due()
    assert service.resume_task(task)["state"] == "scheduled"
    clock.now += 50
    service.due()
    assert service.show_task(task)["state"] == "running"


def test_cancel_then_update(service: Service, device: Twin, app: int) -> None:
    first = create(service, app)
    device.boot("0.0")
    info = service.cancel_task(first)
    assert (info["state"], state(service, first)) == ("cancelled", "cancelled")
    second = create(service, app, version="1.2")
    [query] = service.due().messages
    assert device.device_id in query.topic
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]
    device.boot("1.2")
    assert state(service, second) == "done"


def test_two_updates_cancel_the_first(service: Service, device: Twin, app: int) -> None:
    first = create(service, app)
    second = create(service, app, version="1.2")
    device.boot("0.0")
    service.cancel_task(first)
    [query] = service.due().messages  # now it is the second's turn
    assert device.device_id in query.topic
    assert device.send(version_report("0.0"), "ota") == [1012, 1010]
    assert state(service, second) == "sent"


def test_disconnect_and_cancel(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    device.boot("0.0")
    fetch(service, urls(device)["app"], upto=512)
    device.send(online(False))
    service.cancel_task(task)
    assert state(service, task) == "downloading"  # cannot be called back
    assert device.boot("0.0") == []
    assert state(service, task) == "cancelled"


def test_device_that_never_returns_does_not_keep_a_cancelled_task(
    service: Service, device: Twin, app: int, clock: Any
) -> None:
    task = create(service, app, rollout=Rollout(report_deadline=100))
    device.boot("0.0")
    fetch(service, urls(device)["app"], upto=512)
    clock.now += 99
    service.due()
    service.cancel_task(task)
    assert code_of(service.delete_firmware, app) == "cloud.firmware-in-use"
    clock.now += 99
    service.due()
    assert state(service, task) == "cancelled"
    service.delete_firmware(app)


def test_device_that_cannot_be_called_back_may_still_succeed(
    service: Service, product: ProductInfo, app: int
) -> None:
    fetching, told = fleet(service, product, 2)
    task = create(service, app, "SN1", "SN2")
    fetching.boot("0.0")
    fetch(service, urls(fetching)["app"])
    told.boot("0.0")
    service.cancel_task(task)
    for device in (fetching, told):  # the second had the message and acts on it all the same
        device.boot("1.1")
    assert counts(service, task) == {"done": 2}
    service.due()
    assert service.show_task(task)["state"] == "cancelled"


def test_what_can_be_done_with_a_task_depends_on_its_state(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    assert code_of(service.resume_task, task) == "cloud.task-state"
    service.pause_task(task)
    assert code_of(service.pause_task, task) == "cloud.task-state"
    service.cancel_task(task)
    for call in (service.pause_task, service.resume_task, service.cancel_task, service.retry_task):
        assert code_of(call, task) == "cloud.task-state"
        assert code_of(call, 4711) == "cloud.unknown-task"


# Restart


def test_everything_goes_on_after_a_restart_in_the_middle(
    service: Service, product: ProductInfo, app: int, clock: Any, tmp_path: Path
) -> None:
    devices = fleet(service, product, 3)
    task = create(
        service, app, "SN1", "SN2", "SN3", rollout=Rollout((34, 100), soak=100, report_deadline=500)
    )
    early = [row for row in service.show_task(task)["devices"] if row["stage"] == 1]
    later = create(service, app, "SN1", version="1.2", starts_at=int(clock.now) + 1000)
    by_id = {device.device_id: device for device in devices}
    upgrade(service, by_id[early[0]["device_id"]])
    upgrade(service, by_id[early[1]["device_id"]])
    service.due()
    last = next(device for device in devices if device.device_id not in {row["device_id"] for row in early})
    last.boot("0.0")
    again = Service(DataDir(tmp_path / "cloud"), clock)  # nothing was closed: the other one was killed
    try:
        again.begin("http://127.0.0.1:8090")
        for device in devices:
            device.service = again
        clock.now += 100
        assert again.due().messages == []  # nobody is online
        assert again.show_task(task)["stage"] == 2
        assert last.boot("0.0") == [1012, 1010]
        token = urls(last)["app"]
        fetch(again, token)
        clock.now += 500
        again.due()
        assert counts(again, task) == {"done": 2, "failed": 1}
        clock.now += 400
        again.due()
        assert again.show_task(later)["state"] == "running"
    finally:
        again.close()


# Pages, and the history of a device


def test_pages_of_tasks_and_of_their_devices(service: Service, product: ProductInfo, app: int) -> None:
    fleet(service, product, 5)
    tasks = [create(service, app, selection=Selection(everyone=True), version=f"3.{n}") for n in range(5)]
    service.pause_task(tasks[1])
    page = service.page_tasks("lamp", limit=3)
    assert [row["id"] for row in page["items"]] == tasks[:1:-1]
    assert all(row["devices"] == [] and row["device_count"] == 5 for row in page["items"])
    rest = service.page_tasks("lamp", after=page["next"] or 0, limit=3)
    assert ([row["id"] for row in rest["items"]], rest["next"]) == (tasks[1::-1], None)
    assert [row["id"] for row in service.page_tasks(None, "paused")["items"]] == [tasks[1]]
    devices = service.page_task_devices(tasks[0], limit=4)
    assert [row["sn"] for row in devices["items"]] == ["SN1", "SN2", "SN3", "SN4"]
    last = service.page_task_devices(tasks[0], "waiting", after=devices["next"] or 0)
    assert ([row["sn"] for row in last["items"]], last["next"]) == (["SN5"], None)
    assert service.page_task_devices(tasks[0], "done")["items"] == []
    assert code_of(service.page_tasks, None, "unheard") == "cloud.bad-request"
    assert code_of(service.page_task_devices, tasks[0], "running") == "cloud.bad-request"
    for limit in (0, 1001):
        assert code_of(service.page_tasks, limit=limit) == "cloud.bad-request"


def test_history_of_a_device(service: Service, device: Twin, app: int) -> None:
    first = create(service, app)
    upgrade(service, device)
    second = create(service, app, version="1.2")
    assert [(row["task_id"], row["state"]) for row in service.tasks_of_device("SN1")] == [
        (second, "waiting"),
        (first, "done"),
    ]


def test_every_step_of_an_operator_is_audited(service: Service, device: Twin, app: int) -> None:
    task = create(service, app)
    service.pause_task(task)
    service.resume_task(task)
    service.cancel_task(task)
    with service.core.work(OPERATOR_CALLER) as work:
        actions = [row.action for row in work.session.query(AuditEntry).filter_by(subject=str(task))]
    assert actions == ["task.create", "task.pause", "task.resume", "task.cancel"]


# Large tasks


@pytest.fixture
def statements(service: Service) -> Iterator[list[str]]:
    """Every SQL statement from now on; many rows of one statement count once."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    engine = service.core.store._engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_ten_thousand_devices_cost_a_bounded_number_of_statements(
    service: Service, app: int, product: ProductInfo, statements: list[str]
) -> None:
    count = 10_000
    service.add_device("lamp", "SN1")
    activate(service, product, "SN1")
    with service.core.work(OPERATOR_CALLER) as work:
        model = work.session.query(Device).one()
        fields = {name: getattr(model, name) for name in Device.__table__.columns.keys() if name != "id"}  # noqa: SIM118
        work.session.execute(
            insert(Device),
            [
                {
                    **fields,
                    "sn": f"SN{n}",
                    "device_id": f"{n:016x}",
                    "device_key": sealed_device_key(work, f"{n:016x}", f"{n:032x}"),
                    "online": True,
                }
                for n in range(2, count + 1)
            ],
        )
    statements.clear()
    task = create(service, app, selection=Selection(everyone=True))
    assert len(statements) < 60
    statements.clear()
    asked = 0
    while (due := service.due()).messages:
        assert len(due.messages) <= 100  # no burst
        asked += len(due.messages)
    assert asked == count - 1
    assert len(statements) < 30 * count / 100
    few = [Twin(service, product["product_id"], f"{n:016x}") for n in (2, 5000, 10_000)]
    for device in few:
        statements.clear()
        assert device.send(version_report("0.0"), "ota") == [1012, 1010]
        assert len(statements) < 20
        statements.clear()
        fetch(service, urls(device)["app"])
        assert len(statements) < 25
        statements.clear()
        device.boot("1.1")
        assert len(statements) < 25
    statements.clear()
    service.due()
    info = service.show_task(task)
    assert len(statements) < 25
    assert (info["counts"]["done"], info["device_count"], len(info["devices"])) == (3, count, 100)
    statements.clear()
    service.cancel_task(task)
    service.due()
    assert len(statements) < 40
    assert counts(service, task) == {"done": 3, "cancelled": count - 3}
