"""The parts of the bench by themselves."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudsdk.mqtt import packets as mqtt
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.profile import MANUAL
from cloudsdk.route import Link
from sim.faults.network import Closed, Direction, Opened
from sim.flash.layout import load_board
from sim.rig import artifacts, transcript
from sim.rig.boards import BoardMaker
from sim.rig.choice import DEFAULTS, ChoiceError, choose
from sim.rig.clock import WallClock
from sim.rig.errors import CloudAdminError, IdentitiesError, NotAvailableError
from sim.rig.identities import SerialNumbers, read_identities
from sim.rig.remote_cloud import CloudSite, RemoteCloud, load_admin
from sim.rig.secrets import Secrets
from sim.rig.traffic import MAX_LINES, TrafficLog
from sim.rig.transcript import ExpectationError, Transcript

UP, DOWN = Direction.UP, Direction.DOWN
SITE = CloudSite(
    "https://192.0.2.1/devices/active", "mqtts://192.0.2.1", "8fa1b2c3d4e5f607", "the-product-key"
)


def test_the_nearest_marker_counts() -> None:
    near: tuple[tuple[Any, ...], dict[str, Any]] = ((), {"board": "own.yaml"})
    far: tuple[tuple[Any, ...], dict[str, Any]] = ((), {"board": "x", "clock": "virtual"})
    choice = choose(DEFAULTS, [near, far], root=Path("/"))
    assert (choice.board, choice.clock, choice.profile) == ("/own.yaml", "virtual", "manual")
    with pytest.raises(ChoiceError):
        choose({**DEFAULTS, "broker": "x"}, [], root=Path("/"))


# --- serial numbers -------------------------------------------------------------------------------------


def test_workers_share_no_identity(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text("\ufeffsn,place\nA,hall\nB,roof\nC,hall\n")
    known = read_identities(path)
    first, second = SerialNumbers(0, 2, known), SerialNumbers(1, 2, known)
    assert [first.take(), second.take(), first.take()] == ["A", "B", "C"]
    with pytest.raises(IdentitiesError, match="all serial numbers"):
        first.take()
    first.give_back("A")
    assert first.take() == "A"
    assert len({SerialNumbers(worker).take() for worker in range(4)}) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'sn'"),
        (b"serial\nA\n", "no column 'sn'"),
        (b"sn\nA\nA\n", "same SN twice"),
        (b"sn\n" + b"A" * 33, "SN number 1 is not"),
        (b"place,sn\nhall\n", "SN number 1 is not"),
        (b"sn\n\xff\n", "no CSV file"),
        (b'sn\n"A', "no CSV file"),
    ],
)
def test_bad_identities_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "known.csv"
    path.write_bytes(content)
    with pytest.raises(IdentitiesError, match=message):
        read_identities(path)
    with pytest.raises(IdentitiesError, match="cannot read"):
        read_identities(tmp_path)


# --- a real cloud ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing", ":x", "no_such_module:x", "os:no_such", "builtins:id"])
def test_an_admin_that_cannot_be_used_is_told(name: str) -> None:
    with pytest.raises(CloudAdminError):
        load_admin(name, SITE)


def test_without_an_admin_a_real_cloud_says_what_is_missing() -> None:
    cloud = RemoteCloud(SITE, None, frozenset({"A"}))
    device = cloud.make_device(BoardMaker(load_board("iot-board"), "1.0.0")(), cloud.register("A"), MANUAL)
    assert not cloud.is_online(device)
    with pytest.raises(CloudAdminError, match="set cloudsim_cloud_admin"):
        cloud.start_upgrade([device], [], None, UpgradeMode.FORCED)
    with pytest.raises(CloudAdminError, match="the cloud may not know SN B"):
        cloud.register("B")
    with pytest.raises(NotAvailableError, match="its cloud is on another machine"):
        device.set_faults(None)  # type: ignore[arg-type]
    assert SITE.product_key not in repr(SITE) + repr(device)


def test_an_admin_may_say_only_what_is_known() -> None:
    said = iter(("done", "perhaps"))
    registered: list[str] = []
    admin: Any = SimpleNamespace(
        upgrade=None, register=registered.append, progress=lambda _task, _sn: next(said)
    )
    cloud = RemoteCloud(SITE, admin, frozenset())
    device: Any = SimpleNamespace(sn=cloud.register("A").sn)
    assert cloud.progress(1, device) == "done"
    with pytest.raises(CloudAdminError, match="'perhaps', not one of open, done, failed"):
        cloud.progress(1, device)
    assert registered == ["A"]


# --- consoles -------------------------------------------------------------------------------------------


def test_a_console_keeps_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MAX_TEXT", 100)
    console = Transcript("it", WallClock())
    with pytest.raises(ExpectationError, match="not switched on; the console is empty"):
        console.expect("anything")
    console.open()
    for number in range(40):
        console.write(f"\x1b[32mline {number}\r\n")
        console.expect(f"line {number}\n", 0)
    assert len(console.text) <= 100
    assert console.text.endswith("line 38\nline 39\n")
    with pytest.raises(ExpectationError, match="it: 'line 39' did not come"):
        console.expect("line 39", 0)
    console.close("the board is gone")
    with pytest.raises(ExpectationError, match="did not come: the board is gone; the console ends with\n"):
        console.expect(re.compile("x+"))


# --- traffic --------------------------------------------------------------------------------------------


def lines_of(log: TrafficLog) -> list[str]:
    return [re.sub(r"^ *[0-9.]+ ", "", line) for line in log.text.splitlines()]


def test_http_is_read_in_any_pieces() -> None:
    log = TrafficLog(Secrets("hush-hush"))
    log.event(Opened(Link.HTTP, 1, ()))
    up = (
        b"GET /fw/abcdefghij0123456789xyz/a.rbl HTTP/1.1\r\n"
        b"Host: a\r\nAuthorization: Bearer q\r\nX: hush-hush\r\n\r\n"
    )
    down = b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello"
    for _ in range(2):  # the connection is kept
        for data, direction in ((up, UP), (down, DOWN)):
            for byte in data:
                log.data(Link.HTTP, 1, direction, bytes([byte]))
    log.data(Link.HTTP, 1, UP, up)
    log.data(Link.HTTP, 1, DOWN, down[:-2])
    log.event(Closed(Link.HTTP, 1, 1, 2, reset=True))
    lines = lines_of(log)
    assert lines[:8] == [
        "http    1 open",
        "http    1 -> GET /fw/********/a.rbl",
        "http    1 ->   Host: a",
        "http    1 ->   Authorization: ********",
        "http    1 ->   X: ********",
        "http    1 <- 206 Partial",
        "http    1 <-   Content-Length: 5",
        "http    1 <- body of 5 bytes",
    ]
    assert lines.count("http    1 <- body of 5 bytes") == 2
    assert lines[-2:] == [
        "http    1 <- body of 3 bytes, incomplete",
        "http    1 reset after 1 bytes up, 2 bytes down",
    ]


def test_mqtt_is_read_and_its_password_is_hidden() -> None:
    log = TrafficLog(Secrets())
    log.event(Opened(Link.MQTT, 3, ("mqtt:latency=1s",)))
    log.data(Link.MQTT, 3, UP, mqtt.encode(mqtt.Connect("me", username="me", password=b"password1")))
    log.data(Link.MQTT, 3, DOWN, mqtt.encode(mqtt.ConnAck()) + mqtt.encode(mqtt.PingResp()))
    log.data(Link.MQTT, 3, UP, mqtt.encode(mqtt.Publish("a/b", b"password1 \x00\x1b\xff\n" + b"x" * 10000)))
    lines = lines_of(log)
    assert lines[:4] == [
        "mqtt    3 open mqtt:latency=1s",
        "mqtt    3 -> CONNECT client=me user=me keepalive=0 s",
        "mqtt    3 <- CONNACK accepted",
        "mqtt    3 <- PINGRESP",
    ]
    assert lines[4].startswith(r"mqtt    3 -> PUBLISH a/b qos=0 ******** \x00\x1b\xff\x0axxx")
    assert lines[4].endswith("xxx... (10014 bytes)")


@pytest.mark.parametrize("link", [Link.HTTP, Link.MQTT, Link.SHELL, None])
def test_rubbish_is_told_once_and_kept_bounded(link: Link | None) -> None:
    log = TrafficLog(Secrets())
    log.event(Opened(link, 1, ()))
    for _ in range(MAX_LINES + 10):
        for direction in Direction:
            log.data(link, 1, direction, b"\xff\x00\r\n\r\n")
    log.data(link, 2, UP, b"of a connection that was never opened")
    log.event(Closed(link, 1, 1, 1, reset=False))
    lines = lines_of(log)
    assert len(lines) <= (4 if link in (Link.HTTP, Link.MQTT) else MAX_LINES)
    if link in (Link.HTTP, Link.MQTT):
        assert f"not {link.upper()}" in lines[1]


# --- what is left ---------------------------------------------------------------------------------------


def test_directories_of_tests_are_safe_and_differ() -> None:
    names = [
        artifacts.directory_of(name) for name in ("a/b::c[../..]", "a/b::c[..//..]", "../../etc", "x" * 900)
    ]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_=-][\w.=-]{0,120}", name)


def test_a_section_has_the_last_lines() -> None:
    text = "".join(f"{number}\n" for number in range(1000))
    shown = artifacts.shortened(text).splitlines()
    assert shown[0] == "... 800 lines before"
    assert shown[-1] == "999"
    assert artifacts.shortened("a\n") == "a\n"
