"""Whatever a cloud sends, a device neither raises nor grows: one test per parser.

Elsewhere: DP messages and tasks in `test_session_messages.py`, shell and log in `test_console_fuzz.py`, the
MQTT codec in `test_mqtt_packets.py`.
"""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from device_rig import DEVICE_ID, DEVICE_KEY, SECRETS, MemoryEnv, TestPort, bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_download import APP, ETAG, TOTAL, Fetch
from test_port_file import KEY, PLAIN, SURROUNDINGS

from cloudsdk import events as ev
from cloudsdk.activation import DEVICE_ID_LENGTH, DEVICE_KEY_LENGTH, ActivationError, parse_response
from cloudsdk.cjson import Json
from cloudsdk.datapoints import DataPoint
from cloudsdk.errors import CloudSdkError
from cloudsdk.http_transport import HttpEvent, HttpExchange
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.mqtt import packets
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.ota.task import MAX_FILE_SIZE, MAX_TYPE, MAX_URL, MAX_VERSION, TaskError, parse_task
from cloudsdk.port import MqttAddress
from cloudsdk.port_file import load_port
from cloudsdk.profile import PROFILES
from cloudsdk.route import direct
from cloudsdk.shell.remote import MAX_HOST, parse_server

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def either(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from(values) | JSON


# --- activation response (1.3) --------------------------------------------------------------------------

IDENTITY = st.fixed_dictionaries(
    {},
    optional={
        "DeviceId": either(DEVICE_ID, DEVICE_ID + "more", "\ud800" * 16),
        "DeviceKey": either(DEVICE_KEY, DEVICE_KEY[1:]),
        "deviceid": JSON,
    },
)
RESPONSE = st.binary(max_size=200) | (IDENTITY | JSON).map(lambda value: json.dumps(value).encode())


@EXAMPLES
@given(RESPONSE)
def test_any_activation_response_is_an_identity_or_refused(body: bytes) -> None:
    try:
        found = parse_response(body)
    except ActivationError as error:
        found, text = None, str(error)
    if found is None:
        assert not any(secret in text for secret in SECRETS)
        return
    assert (len(found.device_id), len(found.device_key)) == (DEVICE_ID_LENGTH, DEVICE_KEY_LENGTH)


@EXAMPLES
@given(st.integers(0, 999), st.lists(RESPONSE, max_size=4))
def test_any_activation_answer_activates_or_is_tried_again(status: int, pieces: list[bytes]) -> None:
    driver = bench(env=MemoryEnv({}), port=TestPort()).driver
    driver.handle(ev.Started())
    driver.handle(ev.HttpOpened("activation", status, {}))
    for piece in pieces:
        driver.handle(ev.HttpData("activation", piece))
    driver.handle(ev.HttpEnded("activation"))
    assert driver.session.activated != ("activation-retry" in driver.timers)


# --- data points (2.4, 3.1, 4, 5) -----------------------------------------------------------------------

TASK = st.fixed_dictionaries(
    {},
    optional={
        "version": either("1.1", "x" * 24),
        "firmwares": JSON
        | st.lists(
            st.fixed_dictionaries(
                {
                    "type": either("app", "x" * 20),
                    "file_version": either("2.0.0"),
                    "file_url": either("http://10.0.0.5/", "u" * 256),
                    "upgrade_mode": either(1, 1e999),
                    "file_size": either(96, -1, 1 << 40),
                }
            ),
            max_size=3,
        ),
    },
)


@EXAMPLES
@given(TASK | JSON)
def test_any_task_is_within_its_limits_or_refused(value: Json) -> None:
    try:
        task = parse_task(value)
    except TaskError:
        return
    assert len(task.version) <= MAX_VERSION
    assert task.firmwares
    for each in task.firmwares:
        assert len(each.type) <= MAX_TYPE
        assert len(each.file_version) <= MAX_VERSION
        assert len(each.file_url) <= MAX_URL
        assert 0 <= each.file_size <= MAX_FILE_SIZE


@EXAMPLES
@given(JSON | st.fixed_dictionaries({"host": either("10.0.0.5", "x" * 128), "port": either(23901, 1e999)}))
def test_any_server_is_within_its_limits_or_ignored(value: Json) -> None:
    server = parse_server(value)
    assert server is None or (0 < len(server.host) <= MAX_HOST and 0 <= server.port <= 0xFFFF)


@pytest.mark.parametrize("dp", [DataPoint.LOG_SWITCH, DataPoint.LOG_SERVER, DataPoint.SHELL_SERVER])
def test_any_value_of_a_console_data_point_is_handled(dp: DataPoint) -> None:
    @EXAMPLES
    @given(JSON | st.fixed_dictionaries({"host": either("10.0.0.5"), "port": either(23901)}))
    def check(value: Json) -> None:
        for profile in PROFILES.values():
            driver = bench(profile=profile).driver
            driver.online()
            effects = driver.message(json.dumps({"data": [{"DP": dp, "value": value}]}).encode())
            assert sum(isinstance(effect, ev.TcpOpen) for effect in effects) <= 1
            driver.message(b'{"data":[{"DP":1010}]}')
            assert [found for found, _ in driver.published()] == [DataPoint.VERSION]

    check()


# --- HTTP (3.3) -----------------------------------------------------------------------------------------

RANGES = st.one_of(
    st.sampled_from([f"bytes 4096-{TOTAL - 1}/{TOTAL}", f"bytes {'9' * 5000}-1/2", "bytes \u0664096-1/2"]),
    st.from_regex(r"bytes [0-9]{1,6}-[0-9]{0,6}/([0-9]{1,6}|\*)", fullmatch=True),
    st.text("bytes 0123456789-/*", max_size=40),
    st.text(max_size=40),
)
TAGS = st.sampled_from([*ETAG.values(), 'W/"abc"', '"' * 500]) | st.text(max_size=300)
FIELDS = st.fixed_dictionaries({}, optional={"content-range": RANGES, "etag": TAGS, "content-length": RANGES})


@pytest.mark.parametrize("profile", list(PROFILES))
def test_any_header_of_a_resumed_answer_continues_restarts_or_is_tried_again(profile: str) -> None:
    @EXAMPLES
    @given(FIELDS, st.sampled_from([200, 206, 206, 206, 416, 302, 0, 999]), FIELDS)
    def check(first: dict[str, str], status: int, second: dict[str, str]) -> None:
        fetch = Fetch(PROFILES[profile])
        fetch.opened(200, first)
        fetch.data(0, 4096)
        fetch.cut()
        fetch.retry()
        assert fetch.start == 4096
        fetch.opened(status, second)
        fetch.data(4096)
        driver = fetch.driver
        if driver.has(ev.Reset):  # then it is the package that was asked for
            assert fetch.device.board.partition("download").read(0, len(APP.data)) == APP.data
        assert all("\n" not in value for _, value in fetch.request.headers)

    check()


HEAD = st.lists(
    st.binary(max_size=40)
    | st.builds(
        lambda name, value: name + b": " + value,
        st.sampled_from([b"Content-Length", b"Content-Range", b"ETag", b"Transfer-Encoding", b"Location"]),
        st.sampled_from([b"5", b"-1", b"9" * 5000, b"chunked", b"//", b"http://["]) | st.binary(max_size=30),
    ),
    max_size=5,
)


def test_any_answer_on_a_socket_has_one_end() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10.0)
    request = ev.HttpRequest(
        "download-1", "GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", (("Host", "127.0.0.1"),)
    )
    limits = Limits(http_timeout=2.0)

    @settings(EXAMPLES, max_examples=40)
    @given(
        st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 x\r\n", b"HTTP/9 1\r\n", b""]),
        HEAD,
        st.binary(max_size=40),
    )
    def check(status: bytes, fields: list[bytes], body: bytes) -> None:
        answer = status + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body
        events: list[HttpEvent] = []
        exchange = HttpExchange(request, limits, lambda found, event: (events.append(event), found.handled()))
        exchange.start()
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)
            with contextlib.suppress(OSError):  # the device may have closed already
                connection.shutdown(socket.SHUT_WR)
            exchange.join(10.0)
        assert not exchange.is_alive()
        assert sum(isinstance(event, ev.HttpEnded | ev.HttpFailed) for event in events) == 1
        assert sum(len(event.data) for event in events if isinstance(event, ev.HttpData)) <= len(answer)

    with listener:
        check()


# --- MQTT (2) -------------------------------------------------------------------------------------------


def test_any_packets_after_connack_end_the_connection_once() -> None:
    """The bytes go through paho-mqtt, after an honest CONNACK."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10.0)
    publish = packets.encode(packets.Publish("/device/p/d/x", b'{"data":[]}'))
    effect = ev.MqttConnect(
        MqttAddress("127.0.0.1", listener.getsockname()[1]), "d", "d", "secret", "w", b"", 30
    )

    @settings(EXAMPLES, max_examples=40)
    @given(
        st.lists(st.binary(max_size=40) | st.just(publish), max_size=4).map(b"".join),
        st.lists(st.tuples(st.integers(0, len(publish) - 1), st.integers(0, 255)), max_size=2),
    )
    def check(noise: bytes, flips: list[tuple[int, int]]) -> None:
        damaged = bytearray(publish)
        for position, value in flips:
            damaged[position] = value
        events: list[ev.Event] = []
        connection = MqttConnection(effect, loop, constant_packet_id=False, post=events.append, route=direct)
        connection.start()
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(10.0)
            peer.recv(4096)
            peer.sendall(b"\x20\x02\x00\x00" + bytes(damaged) + noise)
            with contextlib.suppress(OSError):  # the device may have closed already
                peer.shutdown(socket.SHUT_WR)
            assert connection.closed.wait(10.0)
            connection.drop()
        assert events[0] == ev.MqttConnected()
        assert sum(isinstance(event, ev.MqttLost) for event in events) == 1

    with listener, IoLoop() as loop:
        check()


# --- port file ------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [*PLAIN.splitlines(), "tls:", "  ca: x", "  minimum: 1.3", "upgrade: {forced: now}", "- &a [*a]"]
    )
    | st.text(max_size=40),
    max_size=10,
)


@EXAMPLES
@given(LINES.map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200))
def test_any_port_file_is_a_port_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "port.yaml"
    path.write_bytes(content)
    try:
        told = repr(load_port(path, SURROUNDINGS))
    except CloudSdkError as error:
        told = str(error)
    assert told
    assert "\n" not in told
    assert KEY not in told
