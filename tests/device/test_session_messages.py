"""Messages from the cloud: the well-formed, the malformed, and anything at all (cloudsdk-protocol 2.4)."""

import json
from typing import get_args

import pytest
from device_rig import SECRETS, Bench, bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudsdk import events as ev
from cloudsdk.profile import PROFILES

BAD_DP = "[E/cld.mqtt] MQTT callback failed ! data handler DP : {} ."
NOT_JSON = "[E/cld.mqtt] MQTT callback failed! cJSON parse error return NULL !"
NO_TASK = "[E/cld.mqtt] Device OTA task failed! cJSON get object item(value) error !"
NO_SWITCH = "[E/cld.mqtt] Device log control failed! cJSON get object item(value) error !"
CLOSING = "[I/cld.mqtt] Web Log is closing..."


@pytest.fixture
def device() -> Bench:
    device = bench()
    device.driver.online()
    return device


@pytest.mark.parametrize(
    ("payload", "published"),
    [
        (b'{"data":[{"DP":1010}]}', [1011]),
        (b'{"DATA":[{"dp":1010}]}', [1011]),
        (b' \r\n{"data":[{"DP":1010}]} trailing', [1011]),
        (b'{"device":1,"data":[{"DP":1010.9}]}', [1011]),
        (b'{"data":[{"DP":1010},{}]}', [1011, 1011]),
        (b'{"data":[7,{"DP":1010},"x"]}', [1011, 1011]),
        (b'{"data":[{"DP":1010,"DP":1020}]}', [1011]),
        (b'{"data":[{"DP":"1010"}]}', []),
        (b'{"data":[{"DP":true}]}', []),
        (b'{"data":[{"value":1}]}', []),
        (b'{"data":[{"DP":1e999}]}', []),
        (b'{"data":[{"DP":-1e999},{"DP":4711}]}', []),
        (b'{"data":{"DP":1010}}', []),
        (b'{"data":[]}', []),
        (b"{}", []),
        (b"[]", []),
        (b"1010", []),
        (b'"\\ud800"', []),
    ],
)
def test_dispatch_by_data_point_in_silence(device: Bench, payload: bytes, published: list[int]) -> None:
    device.driver.message(payload)
    assert [dp for dp, _ in device.driver.published()] == published
    assert device.driver.lines() == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b'{"data":[{"DP":1010}]', b"\xff\xfe", b"[" * 100_000, b'{"data":[{"DP":NaN}]}', b"9" * 5000],
)
def test_not_json_is_one_line(device: Bench, payload: bytes) -> None:
    device.driver.message(payload)
    assert device.driver.lines() == [NOT_JSON]
    assert device.driver.published() == []


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("true", True),
        ("1", True),
        ("1.0", True),
        ("false", False),
        ("0", False),
        ("2", False),
        ('"true"', False),
    ],
)
def test_log_switch(device: Bench, value: str, state: bool) -> None:
    device.driver.message(f'{{"data":[{{"DP":1020,"value":{value}}}]}}'.encode())
    assert device.driver.published() == [(1021, state)]
    assert device.driver.lines() == ([] if state else [CLOSING])


def test_a_failing_handler_is_told_and_the_next_element_still_handled(device: Bench) -> None:
    device.driver.message(b'{"data":[{"DP":1020},{"DP":1012},{"DP":1010}]}')
    assert device.driver.lines() == [NO_SWITCH, BAD_DP.format(1020), NO_TASK, BAD_DP.format(1012)]
    assert [dp for dp, _ in device.driver.published()] == [1011]


GOOD_TASK = {
    "version": "1.1",
    "firmwares": [
        {"type": "app", "file_version": "2.0.0", "file_url": "http://x/a", "upgrade_mode": 1, "file_size": 96}
    ],
}


@pytest.mark.parametrize("change", [None, "", 7, [], {}, "x" * 300, "\udc00", "a\nb", "\x1b[2J"])
@pytest.mark.parametrize("name", ["version", "type", "file_version", "file_url"])
def test_task_with_an_unusable_text_is_refused(device: Bench, name: str, change: object) -> None:
    task = json.loads(json.dumps(GOOD_TASK))
    (task if name == "version" else task["firmwares"][0])[name] = change
    device.driver.message(json.dumps({"data": [{"DP": 1012, "value": task}]}).encode())
    assert device.driver.lines() == [NO_TASK, BAD_DP.format(1012)]
    assert device.port.hooks == []


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "[]",
        "{}",
        '{"version":"1.1"}',
        '{"version":"1.1","firmwares":[]}',
        '{"version":"1.1","firmwares":{}}',
        '{"version":"1.1","firmwares":[null]}',
        json.dumps(GOOD_TASK).replace("96", "-1"),
        json.dumps(GOOD_TASK).replace("96", "1e999"),
        json.dumps(GOOD_TASK).replace("96", '"96"'),
        json.dumps(GOOD_TASK).replace('"upgrade_mode": 1', '"upgrade_mode": "1"'),
    ],
)
def test_task_without_what_it_needs_is_refused(device: Bench, value: str) -> None:
    device.driver.message(f'{{"data":[{{"DP":1012,"value":{value}}}]}}'.encode())
    assert device.driver.lines() == [NO_TASK, BAD_DP.format(1012)]
    assert not device.driver.has(ev.HttpRequest)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TEXT = (
    st.sampled_from(["app", "filesystem", "download", "1.0.0", "http://x/", "http://[", "//", "\ud800"])
    | SCALARS
)
FIRMWARE = st.fixed_dictionaries(
    {},
    optional={
        "type": TEXT,
        "file_version": TEXT,
        "file_url": TEXT,
        "upgrade_mode": SCALARS,
        "file_size": st.sampled_from([0, 1, 96, 4096, 1 << 20, 1 << 40]) | SCALARS,
    },
)
TASK = st.fixed_dictionaries(
    {}, optional={"version": TEXT, "firmwares": st.lists(FIRMWARE, max_size=3) | JSON}
)
ELEMENT = st.fixed_dictionaries(
    {},
    optional={
        "DP": st.sampled_from([1000, 1010, 1011, 1012, 1020, 1021, 1022, 1025]) | SCALARS,
        "value": TASK | JSON,
    },
)
MESSAGE = st.fixed_dictionaries({}, optional={"data": st.lists(ELEMENT) | JSON}) | JSON
ANYTHING = st.binary() | MESSAGE.map(lambda value: json.dumps(value).encode())
EFFECTS = get_args(ev.Effect)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_nothing_that_arrives_raises_or_tells_a_secret(profile: str) -> None:
    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(ANYTHING, min_size=1, max_size=4))
    def check(payloads: list[bytes]) -> None:
        driver = bench(profile=PROFILES[profile]).driver
        driver.online()
        for payload in payloads:
            effects = driver.message(payload)
            assert all(isinstance(effect, EFFECTS) for effect in effects)
            assert not any(secret in repr(effects) for secret in SECRETS)
            driver.message(b'{"data":[{"DP":1010}]}')
            assert driver.published() or driver.session.unfinished == []

    check()
