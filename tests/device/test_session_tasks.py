"""OTA tasks: what is downloaded, left alone, stored and reported (cloudsdk-protocol 3.1, 3.2, 3.6)."""

import json
from dataclasses import replace

import pytest
from device_rig import IOT_BOARD, PIECE, Bench, Package, application, bench, package, task

from cloudsdk import events as ev
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from sim.board import make_board
from sim.flash.power import CutMoment, PowerCut

APP = package("app", "2.0.0", application("2.0.0", 3000))
FILES = package("filesystem", "0.1", bytes(range(250)) * 8)
INSTALLED = APP.element(file_version="1.0.0")
STARTUP = "[I/cld.ota] Firmware download startup."
PROFILES = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)


@pytest.fixture
def device() -> Bench:
    device = bench()
    device.driver.online()
    return device


def serve(device: Bench, wanted: Package) -> None:
    """Answer the request that is open with the whole package."""
    driver, request = device.driver, device.driver.request
    assert request.url == wanted.url
    driver.handle(ev.HttpOpened(request.request, 200, {}))
    feed(device, request, wanted.body)


def feed(device: Bench, request: ev.HttpRequest, body: bytes) -> None:
    for offset in range(0, len(body), PIECE):
        device.driver.handle(ev.HttpData(request.request, body[offset : offset + PIECE]))


@pytest.mark.parametrize("version", ["2.0.0", "0.9.0", "1.0.0 ", "1.0"])
def test_any_other_version_is_downloaded(device: Bench, version: str) -> None:
    device.driver.message(task(APP.element(file_version=version)))
    assert device.driver.request.url == APP.url
    assert device.port.hooks == ["start"]
    assert STARTUP in device.driver.lines()


def test_first_firmware_that_differs_is_downloaded_and_no_other(device: Bench) -> None:
    device.driver.message(task(INSTALLED, FILES.element(), APP.element()))
    assert device.driver.request.url == FILES.url


@pytest.mark.parametrize("partition", ["nosuch", "filesystem"], ids=["unknown", "empty"])
def test_partition_without_firmware_counts_as_version_0_0(device: Bench, partition: str) -> None:
    device.driver.message(task(FILES.element(type=partition, file_version="0.0")))
    assert not device.driver.has(ev.HttpRequest)
    device.driver.message(task(FILES.element(type=partition)))
    assert device.driver.has(ev.HttpRequest)


def test_unknown_upgrade_mode_is_told_and_upgrades_all_the_same(device: Bench) -> None:
    for mode in (0, 4, -1, 1e300):
        device = bench()
        device.driver.online()
        device.driver.message(task(APP.element(upgrade_mode=mode)))
        assert device.driver.has(ev.HttpRequest)
        assert device.driver.lines()[0].startswith("[E/cld.mqtt] Input upgrade mode(")


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_known_upgrade_modes_are_silent(device: Bench, mode: int) -> None:
    device.driver.message(task(APP.element(upgrade_mode=mode)))
    assert not any("upgrade mode" in line for line in device.driver.lines())


@pytest.mark.parametrize(
    ("profile", "stale", "after_reboot"),
    [(MANUAL, False, "1.1"), (MANUAL, True, "1.1"), (V2_0_0, False, "1.1"), (V2_0_0, True, "1.0")],
)
def test_complete_set_is_stored_and_reported_when_asked(
    profile: Profile, stale: bool, after_reboot: str
) -> None:
    device = bench(profile=profile)
    if stale:
        device.env.values.update({"cld_ota_name": "app", "cld_ota_sver": "1.0.0", "cld_ota_mver": "1.0"})
    device.driver.online()
    device.driver.message(task(INSTALLED))
    assert device.driver.published() == []
    assert device.env.saved["cld_dev_mver"] == "1.1"
    device.driver.message(b'{"data":[{"DP":1010}]}')
    assert device.driver.published() == [(1011, {"version": "1.1"})]
    rebooted = bench(profile=profile, env=device.env)
    rebooted.driver.online()
    rebooted.driver.message(b'{"data":[{"DP":1010}]}')
    assert rebooted.driver.published() == [(1011, {"version": after_reboot})]


def test_complete_set_that_cannot_be_stored_is_told(device: Bench) -> None:
    device.env.full = True
    device.driver.message(task(INSTALLED))
    assert device.driver.lines() == [
        "[E/cld.mqtt] Device OTA task failed! Set and save major version(1.1) error !",
        "[E/cld.mqtt] MQTT callback failed ! data handler DP : 1012 .",
    ]


@PROFILES
def test_last_firmware_stores_the_task_and_resets(profile: Profile) -> None:
    device = bench(profile=profile)
    device.driver.online()
    device.driver.message(task(INSTALLED, FILES.element()))
    serve(device, FILES)
    assert isinstance(device.driver.effects[-1], ev.Reset)
    assert device.port.hooks == ["start", "end 0"]
    stored = {key: value for key, value in device.env.saved.items() if key.startswith("cld_ota")}
    assert stored == {"cld_ota_name": "filesystem", "cld_ota_sver": "0.1", "cld_ota_mver": "1.1"}
    assert device.board.partition("download").read(0, len(FILES.data)) == FILES.data


def test_any_other_firmware_resets_without_storing(device: Bench) -> None:
    device.driver.message(task(APP.element(), FILES.element()))
    serve(device, APP)
    assert isinstance(device.driver.effects[-1], ev.Reset)
    assert "cld_ota_mver" not in device.env.saved


def test_nothing_is_done_after_the_reset_was_asked_for(device: Bench) -> None:
    device.driver.message(task(APP.element()))
    serve(device, APP)
    package_on_flash = device.board.partition("download").read(0, len(APP.data))
    assert device.driver.message(task(APP.element(), version="1.2")) == []
    assert device.driver.handle(ev.MqttLost("late")) == []
    assert device.board.partition("download").read(0, len(APP.data)) == package_on_flash


@pytest.fixture
def complete() -> Bench:
    """Power was lost when every byte of APP was on flash, and none of them handed over."""
    device = bench()
    device.driver.online()
    device.driver.message(task(APP.element()))
    board = device.board
    download = board.partition("download")
    board.power.arm(lambda _index, each: CutMoment.BEFORE if each.offset == download.offset else None)
    request = device.driver.request
    device.driver.handle(ev.HttpOpened(request.request, 200, {"etag": '"a"'}))
    with pytest.raises(PowerCut):
        feed(device, request, APP.body)
    board.power.disarm()
    board.power.restore()
    again = bench(board=board)
    again.driver.online()
    return again


def test_server_confirms_a_complete_download_before_it_is_handed_over(complete: Bench) -> None:
    (element,) = json.loads(task(APP.element()))["data"]
    complete.driver.message(json.dumps({"data": [element, element]}).encode())
    request = complete.driver.request
    start = (len(APP.body) - 1) // PIECE * PIECE
    assert dict(request.headers)["Range"] == f"bytes={start}-"
    assert dict(request.headers)["If-Range"] == '"a"'
    size = len(APP.body)
    fields = {"etag": '"a"', "content-range": f"bytes {start}-{size - 1}/{size}"}
    complete.driver.handle(ev.HttpOpened(request.request, 206, fields))
    feed(complete, request, APP.body[start:])
    assert isinstance(complete.driver.effects[-1], ev.Reset)
    assert complete.board.partition("download").read(0, len(APP.data)) == APP.data


def test_other_build_of_the_same_version_replaces_a_complete_download(complete: Bench) -> None:
    raw = application("2.0.0", len(APP.data) - 96)
    other = package("app", "2.0.0", raw[:-4] + b"new!")
    assert len(other.data) == len(APP.data)
    complete.driver.message(task(APP.element()))
    request = complete.driver.request
    complete.driver.handle(ev.HttpOpened(request.request, 200, {"etag": '"b"'}))
    feed(complete, request, other.body)
    assert isinstance(complete.driver.effects[-1], ev.Reset)
    assert complete.board.partition("download").read(0, len(other.data)) == other.data


def test_task_sent_twice_starts_one_download(device: Bench) -> None:
    device.driver.message(task(APP.element()))
    request = device.driver.request
    device.driver.handle(ev.HttpOpened(request.request, 200, {}))
    feed(device, request, APP.body[: 2 * PIECE])
    device.driver.message(task(APP.element()))
    assert not device.driver.has(ev.HttpRequest)
    assert device.port.hooks == ["start"]
    feed(device, request, APP.body[2 * PIECE :])
    assert isinstance(device.driver.effects[-1], ev.Reset)


def test_corrected_url_is_taken_at_the_next_attempt_and_resumes(device: Bench) -> None:
    device.driver.message(task(APP.element(file_url="http://10.0.0.9/wrong")))
    first = device.driver.request
    device.driver.handle(ev.HttpOpened(first.request, 200, {}))
    feed(device, first, APP.body[:PIECE])
    device.driver.message(task(APP.element()))
    device.driver.handle(ev.HttpFailed(first.request, "timeout"))
    device.driver.fire("download-retry")
    second = device.driver.request
    assert second.url == APP.url
    assert ("Range", "bytes=1024-") in second.headers
    assert ("Host", "10.0.0.5") in second.headers


@PROFILES
@pytest.mark.parametrize("size", [16, 1024, 1 << 19], ids=["smaller", "as far as it is", "larger"])
def test_task_for_another_package_does_not_disturb_the_running_attempt(profile: Profile, size: int) -> None:
    device = bench(profile=profile)
    device.driver.online()
    device.driver.message(task(APP.element()))
    request = device.driver.request
    device.driver.handle(ev.HttpOpened(request.request, 200, {}))
    feed(device, request, APP.body[:PIECE])
    device.driver.message(task(APP.element(file_version="3.0.0", file_size=size), version="3"))
    feed(device, request, APP.body[PIECE:])
    assert isinstance(device.driver.effects[-1], ev.Reset)
    assert device.board.partition("download").read(0, len(APP.data)) == APP.data
    assert "cld_ota_mver" not in device.env.saved


def test_task_for_another_package_starts_afresh_at_the_next_attempt(device: Bench) -> None:
    device.driver.message(task(APP.element()))
    first = device.driver.request
    device.driver.handle(ev.HttpOpened(first.request, 200, {}))
    feed(device, first, APP.body[: 2 * PIECE])
    device.driver.message(task(FILES.element()))
    device.driver.handle(ev.HttpEnded(first.request))
    device.driver.fire("download-retry")
    assert all(name != "Range" for name, _ in device.driver.request.headers)
    serve(device, FILES)
    assert device.board.partition("download").read(0, len(FILES.data)) == FILES.data
    assert device.env.saved["cld_ota_name"] == "filesystem"


@PROFILES
def test_result_that_cannot_be_stored_blocks_ota_until_the_reboot_in_v2_0_0(profile: Profile) -> None:
    device = bench(profile=profile)
    device.driver.online()
    device.driver.message(task(APP.element()))
    device.env.full = True
    serve(device, APP)
    assert device.driver.lines()[-1] == "[E/cld.ota] Firmware download retry failed! save environment error!"
    assert not device.driver.has(ev.Reset)
    device.env.full = False
    device.driver.message(task(APP.element()))
    assert device.driver.has(ev.HttpRequest) == (profile is MANUAL)
    if profile is MANUAL:  # the package is there already, its end has to be confirmed
        assert "Range" in dict(device.driver.request.headers)
        serve(device, APP)
    assert device.driver.has(ev.Reset) == (profile is MANUAL)
    assert device.port.hooks == (["start", "end 1", "start", "end 0"] if profile is MANUAL else ["start"])


def test_port_may_refuse_the_reset(device: Bench) -> None:
    device.port.resets = False
    device.driver.message(task(APP.element()))
    serve(device, APP)
    assert device.port.hooks == ["start", "end 0"]
    assert not device.driver.has(ev.Reset)
    device.driver.message(b'{"data":[{"DP":1010}]}')
    assert device.driver.published() == [(1011, {"version": "0.0"})]


def test_failed_download_leaves_room_for_the_next_task(device: Bench) -> None:
    device.driver.message(task(APP.element()))
    serve(device, Package(bytes(len(APP.data)), APP.url))
    assert device.port.hooks == ["start", "end 1"]
    assert device.driver.timers == {"mqtt-silence": 20.0}
    device.driver.message(task(APP.element()))
    serve(device, APP)
    assert device.port.hooks == ["start", "end 1", "start", "end 0"]


def test_download_goes_on_while_mqtt_is_away(device: Bench) -> None:
    device.driver.message(task(APP.element()))
    request = device.driver.request
    device.driver.handle(ev.HttpOpened(request.request, 200, {}))
    device.driver.handle(ev.MqttLost("reset"))
    feed(device, request, APP.body)
    assert isinstance(device.driver.effects[-1], ev.Reset)


def test_board_without_a_download_partition_says_so() -> None:
    partitions = tuple(each for each in IOT_BOARD.partitions if each.name != "download")
    device = bench(board=make_board(replace(IOT_BOARD, partitions=partitions)))
    device.driver.online()
    device.driver.message(task(APP.element()))
    assert "[E/cld.ota] Firmware download failed! Partition (download) find error!" in device.driver.lines()
    assert device.port.hooks == ["start", "end 1"]
