"""Traps of CloudSDK 2.0.0 that no other test holds the device to: docs/traps.md."""

import queue
import socket
from dataclasses import replace

import pytest
from device_rig import (
    ACTIVATED_ENV,
    DEVICE_ID,
    SN,
    Bench,
    MemoryEnv,
    TestPort,
    application,
    bench,
    package,
    task,
)
from recorded_cloud import Listener

from cloudsdk import console
from cloudsdk import events as ev
from cloudsdk.events import Event, MqttConnect, MqttConnected
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.port import MqttAddress
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.route import direct

BOTH = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
APP = package("app", "2.0.0", application("2.0.0", 3000))
INSTALLED = APP.element(file_version="1.0.0")
FOR_EVER = 50  # attempts; pauses that grow have grown long before
PATIENCE = 10.0  # seconds


def device(profile: Profile) -> Bench:
    found = bench(profile=profile)
    found.driver.online()
    return found


# --- activation (1) -------------------------------------------------------------------------------------


def test_v2_0_0_activates_every_ten_seconds_for_ever() -> None:
    driver = bench(profile=V2_0_0, env=MemoryEnv({})).driver
    driver.handle(ev.Started())
    for _ in range(FOR_EVER):
        driver.handle(ev.HttpOpened("activation", 400, {}))
        assert driver.timers == {"activation-retry": 10.0}
        assert not driver.has(ev.GiveUp)
        driver.fire("activation-retry")
        assert driver.has(ev.HttpRequest)


@BOTH
def test_another_product_alone_does_not_activate_again(profile: Profile) -> None:
    port = TestPort()
    port.product_id, port.product_key = "another product.", "another key"
    driver = bench(profile=profile, port=port).driver
    driver.handle(ev.Started())
    assert driver.has(ev.MqttConnect)
    assert not driver.has(ev.HttpRequest)


def test_old_task_version_survives_another_activation() -> None:
    old = {"cld_ota_name": "app", "cld_ota_sver": "1.0.0", "cld_ota_mver": "1.1"}
    driver = bench(port=TestPort("another"), env=MemoryEnv(ACTIVATED_ENV | old), profile=V2_0_0).driver
    driver.handle(ev.Started())
    answer = f'{{"DeviceId":"{DEVICE_ID}","DeviceKey":"{SN.ljust(32, "0")}"}}'.encode()
    for event in (
        ev.HttpOpened("activation", 200, {}),
        ev.HttpData("activation", answer),
        ev.HttpEnded("activation"),
        ev.MqttConnected(),
        ev.MqttSubscribed(),
    ):
        driver.handle(event)
    driver.message(b'{"data":[{"DP":1010}]}')
    assert driver.published() == [(1011, {"version": "1.1"})]


# --- MQTT (2) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("constant", "ids"), [(True, (1, 1, 1)), (False, (1, 2, 3))])
def test_constant_packet_id(constant: bool, ids: tuple[int, ...]) -> None:
    frames = b"".join(b"\x32\x06\x00\x01t" + bytes((0, number)) + b"x" for number in ids)
    heard: queue.Queue[bytes] = queue.Queue()

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x20\x02\x00\x00")
        sent = b""
        while len(sent) < len(frames):
            sent += connection.recv(4096)
        heard.put(sent)

    listener = Listener(serve)
    events: queue.Queue[Event] = queue.Queue()
    effect = MqttConnect(MqttAddress("127.0.0.1", listener.port), "d", "d", "secret", "w", b"", 30)
    with IoLoop() as loop:
        connection = MqttConnection(effect, loop, constant_packet_id=constant, post=events.put, route=direct)
        connection.start()
        assert events.get(timeout=PATIENCE) == MqttConnected()
        for _ in ids:
            connection.publish("t", b"x")
        assert heard.get(timeout=PATIENCE) == frames
        connection.drop()
        assert connection.closed.wait(PATIENCE)
    listener.close()


# --- OTA (3) --------------------------------------------------------------------------------------------


@BOTH
def test_index_is_not_read(profile: Profile) -> None:
    found = device(profile)
    files = replace(APP, url="http://10.0.0.5:8090/fw/fs.rbl").element(type="filesystem", index=1)
    found.driver.message(task(APP.element(index=2), files))
    assert found.driver.request.url == APP.url


@pytest.mark.parametrize("mode", [1, 2, 3])
def test_modes_make_no_difference_in_v2_0_0(mode: int) -> None:
    found = device(V2_0_0)
    found.driver.message(task(APP.element(upgrade_mode=mode)))
    assert found.driver.request.url == APP.url


@BOTH
def test_complete_set_clears_url(profile: Profile) -> None:
    found = device(profile)
    found.driver.message(task(APP.element()))
    request = found.driver.request
    found.driver.message(task(INSTALLED))
    for url in [""] * 3 if profile is V2_0_0 else [APP.url]:
        found.driver.handle(ev.HttpFailed(request.request, "no connection"))
        found.driver.fire("download-retry")
        request = found.driver.request
        assert request.url == url
    found.driver.message(task(APP.element()))
    found.driver.handle(ev.HttpFailed(request.request, "no connection"))
    found.driver.fire("download-retry")
    assert found.driver.request.url == APP.url


@BOTH
def test_failing_fresh_open_erases_on_every_attempt(profile: Profile) -> None:
    found = device(profile)
    found.driver.message(task(APP.element()))
    for _ in range(3):
        assert "[I/OTA] The partition 'download' erase success." in found.driver.lines()
        found.driver.handle(ev.HttpOpened(found.driver.request.request, 404, {}))
        found.driver.fire("download-retry")


def test_failed_verification_ends_the_download_and_the_next_task_starts() -> None:
    found = device(V2_0_0)
    found.driver.message(task(APP.element()))
    request = found.driver.request.request
    found.driver.handle(ev.HttpOpened(request, 200, {}))
    found.driver.handle(ev.HttpData(request, bytes(len(APP.body))))
    assert found.port.hooks == ["start", "end 1"]
    assert found.driver.timers.keys() == {"mqtt-silence"}
    found.driver.message(task(APP.element()))
    assert found.driver.has(ev.HttpRequest)


@pytest.mark.parametrize("forever", [False, True])
def test_installs_forever(forever: bool) -> None:
    found = device(replace(MANUAL, installs_forever=forever))
    asked = 0
    for _ in range(10):
        found.driver.message(task(APP.element()))
        if found.driver.has(ev.HttpRequest):
            asked += 1
            request = found.driver.request.request
            found.driver.handle(ev.HttpOpened(request, 200, {}))
            found.driver.handle(ev.HttpData(request, bytes(len(APP.body))))
    assert asked == (10 if forever else Limits().installations)


@pytest.mark.parametrize("ignores", [False, True])
def test_ignores_frozen_cloud(ignores: bool) -> None:
    found = device(replace(MANUAL, ignores_frozen_cloud=ignores))
    for _ in range(2 * Limits().frozen_after):
        found.driver.message(task(INSTALLED))
    assert sum("times unchanged" in line for line in found.driver.lines()) == (0 if ignores else 1)


def test_percentage_overflows_beyond_32_bits() -> None:
    total = 50_000_000
    assert console.percent(42_949_672, total) == 85
    assert console.percent(42_949_673, total) == 0


# --- console lines (6) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("caller_first", [False, True])
def test_init_caller_runs_first(caller_first: bool) -> None:
    driver = bench(profile=replace(MANUAL, init_caller_runs_first=caller_first)).driver
    driver.handle(ev.Started())
    told = [line for line in driver.lines() if "cld]" in line]
    lines = [
        "[I/cld] RT-Thread CloudSDK package(V2.0.0) initialize success.",
        "[I/cld] The device has been activated successfully!",
    ]
    assert told == (lines if caller_first else lines[::-1])
