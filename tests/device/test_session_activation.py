"""Activation, driven by events only (cloudsdk-protocol 1)."""

import json

import pytest
from device_rig import (
    ACTIVATED_ENV,
    DEVICE_ID,
    DEVICE_KEY,
    IDENTITY,
    PASSWORD,
    PRODUCT_ID,
    SECRETS,
    SIGN,
    SN,
    Bench,
    MemoryEnv,
    TestPort,
    bench,
)

from cloudsdk import events as ev
from cloudsdk.limits import Limits
from cloudsdk.profile import MANUAL, V2_0_0, Profile

NOT_ACTIVATED = "[I/cld] The device has not been activated, now will activate!"
ACTIVATED = "[I/cld] The device has been activated successfully!"
REFUSED = "[E/cld] Device activate failed! HTTP response error !"
UNREADABLE = "[E/cld] Device activate failed! cJSON parse error return NULL !"
BODY = json.dumps(IDENTITY).encode()
REQUEST = "activation"


def answer(device: Bench, body: bytes, status: int = 200) -> None:
    for event in (
        ev.HttpOpened(REQUEST, status, {}),
        ev.HttpData(REQUEST, body[:30]),
        ev.HttpData(REQUEST, body[30:]),
        ev.HttpEnded(REQUEST),
    ):
        device.driver.handle(event)


def fresh(**options: object) -> Bench:
    device = bench(env=MemoryEnv({}), **options)  # type: ignore[arg-type]
    device.driver.handle(ev.Started())
    return device


def test_first_activation_asks_as_recorded_and_stores_the_identity() -> None:
    device = fresh()
    request = device.driver.request
    assert (request.method, request.url) == ("POST", "http://10.0.0.5:8090/devices/active")
    assert request.body == f'{{"Sign":"{SIGN}","SN":"{SN}","ProductId":"{PRODUCT_ID}"}}'.encode()
    assert request.headers == (
        ("Content-Length", "104"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Host", "10.0.0.5"),
        ("User-Agent", "RT-Thread HTTP Agent"),
        ("Accept", "*/*"),
    )
    assert device.env.saved == {"cld_act": "false"}

    for event in (ev.HttpOpened(REQUEST, 200, {}), ev.HttpData(REQUEST, BODY), ev.HttpEnded(REQUEST)):
        device.driver.handle(event)
    assert device.env.saved == ACTIVATED_ENV
    assert device.driver.session.activated
    connect = next(effect for effect in device.driver.effects if isinstance(effect, ev.MqttConnect))
    assert (connect.client_id, connect.user, connect.password) == (DEVICE_ID, DEVICE_ID, PASSWORD)
    assert (connect.address.host, connect.address.port, connect.keepalive) == ("10.0.0.5", 1883, 30)
    lines = device.driver.lines()
    assert [line for line in lines if "activated" in line] == [NOT_ACTIVATED, ACTIVATED]


def test_activated_device_asks_nothing() -> None:
    device = bench()
    device.driver.handle(ev.Started())
    assert not device.driver.has(ev.HttpRequest)
    assert device.driver.has(ev.MqttConnect)
    assert ACTIVATED in device.driver.lines()
    assert device.driver.handle(ev.Started()) == []


def test_another_sn_activates_again() -> None:
    device = bench(port=TestPort("another"))
    device.driver.handle(ev.Started())
    assert device.driver.request.body is not None
    assert b'"SN":"another"' in device.driver.request.body
    assert NOT_ACTIVATED in device.driver.lines()
    assert device.env.saved["cld_act"] == "false"


def test_interrupted_activation_goes_on_without_the_first_line() -> None:
    device = bench(env=MemoryEnv({**ACTIVATED_ENV, "cld_act": "false"}))
    device.driver.handle(ev.Started())
    assert device.driver.has(ev.HttpRequest)
    assert NOT_ACTIVATED not in device.driver.lines()


@pytest.mark.parametrize(
    ("profile", "activates"), [(MANUAL, True), (V2_0_0, False)], ids=["manual", "v2.0.0"]
)
@pytest.mark.parametrize(
    ("sn", "stored"),
    [
        (SN + "7", ACTIVATED_ENV),
        (SN, {**ACTIVATED_ENV, "cld_act": ""}),
        (SN, {**ACTIVATED_ENV, "cld_act": "tr"}),
    ],
    ids=["SN that begins with the stored one", "empty cld_act", "short cld_act"],
)
def test_comparison_over_the_stored_length(
    profile: Profile, activates: bool, sn: str, stored: dict[str, str]
) -> None:
    device = bench(profile=profile, port=TestPort(sn), env=MemoryEnv(stored))
    device.driver.handle(ev.Started())
    assert device.driver.has(ev.HttpRequest) == activates
    assert device.driver.has(ev.MqttConnect) != activates


@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
def test_lost_identity_goes_on_empty_and_survives_a_task(profile: Profile) -> None:
    """cloudsdk-protocol 1.4: missing variables do not stop the device; spoiled ones must not either."""
    for spoiled in ({}, {"cld_did": "\udc80\udcff", "cld_dkey": "\udc80", "cld_dev_mver": "\udcfe"}):
        stored = {"cld_sn": SN, "cld_act": "true", **spoiled}
        device = bench(profile=profile, env=MemoryEnv(stored))
        device.driver.online()
        assert device.driver.session.online
        device.driver.message(b'{"data":[{"DP":1010}]}')
        assert device.driver.published() == [(1011, {"version": ""})]
        device.driver.message(
            b'{"data":[{"DP":1012,"value":{"version":"1.1","firmwares":[{"type":"app","file_version":"2",'
            b'"file_url":"http://x/","upgrade_mode":1,"file_size":96}]}}]}'
        )
        request = device.driver.request.request
        device.driver.handle(ev.HttpOpened(request, 200, {}))
        device.driver.handle(ev.HttpData(request, bytes(96)))
        assert device.port.hooks == ["start", "end 1"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", UNREADABLE),
        (b"<html>", UNREADABLE),
        (b'{"DeviceId":"9017444f3bec4453"}', UNREADABLE),
        (b'{"error":"no such device"}', UNREADABLE),
        (b'{"DeviceId":"short","DeviceKey":"0a1b2c3d4e5f60718293a4b5c6d7e8f9"}', UNREADABLE),
        (b'{"DeviceId":"9017444f3bec4453","DeviceKey":"0a1b2c3d4e5f60718293a4b5c6d7e8f"}', UNREADABLE),
        (b'{"DeviceId":9017444, "DeviceKey":null}', UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
    ],
)
def test_unusable_answer_is_tried_again_in_ten_seconds(body: bytes, line: str) -> None:
    device = fresh()
    answer(device, body)
    assert line in device.driver.lines()
    assert device.driver.timers == {"activation-retry": 10.0}
    assert device.env.saved == {"cld_act": "false"}
    device.driver.fire("activation-retry")
    answer(device, BODY)
    assert device.env.saved == ACTIVATED_ENV


def test_member_names_in_any_case_and_longer_values_are_cut() -> None:
    device = fresh()
    answer(device, json.dumps({"deviceid": DEVICE_ID + "x", "DEVICEKEY": DEVICE_KEY + "y"}).encode())
    assert device.env.saved == ACTIVATED_ENV


@pytest.mark.parametrize("status", [400, 201, 204, 302, 500])
def test_every_status_but_200_is_a_failure_whatever_the_body(status: int) -> None:
    device = fresh()
    device.driver.handle(ev.HttpOpened(REQUEST, status, {}))
    assert device.driver.has(ev.HttpCancel)
    assert device.driver.lines()[-2:] == [f"[E/web] post failed, handle response({status}) error.", REFUSED]
    assert device.driver.session.last_activation_error == f"HTTP status {status}"
    assert device.driver.timers == {"activation-retry": 10.0}
    # What the cancelled request may still bring changes nothing.
    assert device.driver.handle(ev.HttpData(REQUEST, BODY)) == []
    assert device.driver.handle(ev.HttpEnded(REQUEST)) == []
    assert device.env.saved == {"cld_act": "false"}


def test_no_connection_is_a_failure() -> None:
    device = fresh()
    device.driver.handle(ev.HttpFailed(REQUEST, "no connection"))
    assert device.driver.lines()[-1] == REFUSED
    assert device.driver.timers == {"activation-retry": 10.0}


def test_endless_answer_is_read_up_to_its_limit() -> None:
    device = fresh()
    device.driver.handle(ev.HttpOpened(REQUEST, 200, {}))
    for _ in range(4):
        assert not device.driver.has(ev.HttpCancel)
        device.driver.handle(ev.HttpData(REQUEST, BODY.ljust(1024)))
    assert device.driver.has(ev.HttpCancel)
    # cJSON ignores what follows the object.
    assert device.env.saved == ACTIVATED_ENV


def test_dribbling_server_is_given_up_after_the_deadline() -> None:
    device = fresh()
    device.driver.handle(ev.HttpOpened(REQUEST, 200, {}))
    device.driver.handle(ev.HttpData(REQUEST, b"{"))
    assert device.driver.timers == {"activation-deadline": 60.0}
    device.driver.fire("activation-deadline")
    assert device.driver.has(ev.HttpCancel)
    assert device.driver.timers == {"activation-retry": 10.0}
    assert "activation-deadline" not in fresh(profile=V2_0_0).driver.timers


@pytest.mark.parametrize(
    "env", [MemoryEnv({}, full=True), MemoryEnv({}, fails_at=2)], ids=["full", "save fails"]
)
def test_env_that_cannot_keep_the_identity_is_a_failure(env: MemoryEnv) -> None:
    device = bench(env=env)
    device.driver.handle(ev.Started())
    answer(device, BODY)
    assert device.driver.lines()[-2:] == [
        "[E/cld] Set device information to easyflash failed! save environment error!",
        "[E/cld] Device activate failed! Set device information to easyflash!",
    ]
    assert device.driver.timers == {"activation-retry": 10.0}


def test_lost_activation_mark_is_told_but_does_not_stop_the_device() -> None:
    device = bench(env=MemoryEnv({}, fails_at=3))
    device.driver.handle(ev.Started())
    answer(device, BODY)
    assert (
        "[E/cld] Check device information failed! Set and save  devinfo_activated environment error!"
        in device.driver.lines()
    )
    assert device.driver.session.activated


def test_gives_up_after_the_configured_attempts() -> None:
    device = fresh(limits=Limits(activation_attempts=3))
    for attempt in range(3):
        assert not device.driver.has(ev.GiveUp), attempt
        if attempt:
            device.driver.fire("activation-retry")
        device.driver.handle(ev.HttpFailed(REQUEST, "timeout"))
    assert isinstance(device.driver.effects[-1], ev.GiveUp)
    assert device.driver.session.activation_failures == 3
    assert device.driver.timers == {}
    assert device.driver.handle(ev.TimerFired("activation-retry")) == []


def test_no_secret_is_printed_or_shown() -> None:
    device = fresh(limits=Limits(activation_attempts=9))
    shown = [repr(device.driver.effects), repr(device.port), repr(device.driver.session)]
    for body in (BODY[:-1], b'"' + BODY, BODY):
        event = ev.HttpData(REQUEST, body)
        for each in (ev.HttpOpened(REQUEST, 200, {}), event, ev.HttpEnded(REQUEST)):
            shown += [repr(each), repr(device.driver.handle(each))]
        shown.append(device.driver.session.last_activation_error)
        if body is not BODY:
            device.driver.fire("activation-retry")
    assert device.driver.session.activated
    shown.append(device.driver.console)
    assert [secret for secret in SECRETS for text in shown if secret in text] == []
