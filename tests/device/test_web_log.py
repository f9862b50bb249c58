"""Web Log: frames, and what the device does on DP 1020 and 1022 (cloudsdk-protocol 5)."""

import struct

import pytest
from console_bench import KEY, LOG, OFF, ConsoleBench, having

from cloudsdk import events as ev
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.shell.web_log import LineFrames

BAD_DP = "[E/cld.mqtt] MQTT callback failed ! data handler DP : 1022 ."
STARTED = "[I/cld.log] Web Log : start up success."
CLOSED = "[I/cld.log] Web Log is closed. Console resume to local console(uart1)."
NO_CONNECTION = "[E/cld.log] Web Log entry failed! Web log socket connect error, return : -1!"
NOT_REPORTED = "[E/cld.log] Web Log close failed! Device log upgrade state error!"
BOTH = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)


def payloads(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        kind, zero, length = struct.unpack_from(">BBH", stream)
        assert (kind, zero) == (1, 0)
        found.append(stream[4 : 4 + length])
        assert len(found[-1]) == length
        stream = stream[4 + length :]
    return found


def test_connects_with_the_framed_key_and_keepalive() -> None:
    device = ConsoleBench()
    device.message(LOG)
    assert device.lines() == [STARTED]
    framed = bytes.fromhex("01000030") + KEY
    assert device.opens == [
        ev.TcpOpen("weblog-1", "10.0.0.6", 23902, framed, ev.KeepAlive(30, 30, 3), no_delay=True)
    ]


def test_lines_are_copied_without_their_end() -> None:
    device = ConsoleBench()
    name = device.opened(LOG)
    device.lines()
    device.print("one\n\ntwo\r\nmsh />")
    device.print("abc\n\x1b[0m\n")
    assert payloads(device.received(name)) == [b"one", b"two\r", b"msh />abc", b"\x1b[0m"]
    assert device.driver.console == "one\n\ntwo\r\nmsh />abc\n\x1b[0m\n"


def test_typing_on_the_serial_port_still_works() -> None:
    device = ConsoleBench()
    name = device.opened(LOG)
    device.lines()
    device.handle(ev.ConsoleInput(b"hello\n"))
    assert device.lines() == ["hello", "Hello RT-Thread!", "msh />"]
    assert payloads(device.received(name)) == [b"hello", b"Hello RT-Thread!"]


def test_what_the_server_sends_is_discarded() -> None:
    device = ConsoleBench()
    name = device.opened(LOG)
    assert device.handle(ev.TcpData(name, b"hello\n")) == []
    assert device.shell.commands == []


@BOTH
def test_switching_off_leaves_the_connection_to_the_server(profile: Profile) -> None:
    device = ConsoleBench(profile)
    name = device.opened(LOG)
    device.message(OFF)
    assert device.driver.published() == [(1021, False)]
    assert not device.all(ev.TcpClose)
    device.lines()
    device.handle(ev.TcpClosed(name, ev.TcpEnd.ORDERLY))
    assert [type(effect) for effect in device.effects] == [ev.TcpClose, ev.MqttPublish, ev.ConsoleText]
    assert device.driver.published() == [(1021, False)]
    assert device.lines() == [CLOSED]
    device.opened(LOG)
    assert len(device.opens) == 2


def test_state_that_cannot_be_published_is_told() -> None:
    device = ConsoleBench()
    name = device.opened(LOG)
    device.handle(ev.MqttLost("gone"))
    device.lines()
    device.handle(ev.TcpClosed(name, ev.TcpEnd.ORDERLY))
    assert device.driver.published() == []
    assert device.lines() == [NOT_REPORTED, CLOSED]


@BOTH
def test_1022_while_the_log_is_open_is_ignored(profile: Profile) -> None:
    device = ConsoleBench(profile)
    device.message(LOG)
    device.message(LOG)
    device.handle(ev.TcpOpened("weblog-1"))
    device.message(LOG)
    assert len(device.opens) == 1
    assert device.lines() == [STARTED]


def test_1022_without_value() -> None:
    device = ConsoleBench()
    device.message(b'{"data":[{"DP":1022}]}')
    assert device.lines() == [
        "[E/cld.mqtt] Device log get information failed! cJSON get object item(value) error !",
        BAD_DP,
    ]
    device.message(b'{"data":[{"DP":1022,"value":{"host":"","port":1}}]}')
    assert device.lines() == []


def test_log_thread_runs_first() -> None:
    device = ConsoleBench(having(log_thread_runs_first=True))
    name = device.opened(LOG)
    assert payloads(device.received(name)) == [f"\x1b[32m{STARTED}\x1b[0m".encode()]

    device = ConsoleBench()
    name = device.opened(LOG)
    assert device.received(name) == b""
    assert device.lines() == [STARTED]


def test_log_failure_is_sticky() -> None:
    device = ConsoleBench(having(log_failure_is_sticky=True))
    device.message(LOG)
    device.handle(ev.TcpFailed("weblog-1", ev.TcpStage.CONNECT))
    assert device.lines() == [STARTED, NO_CONNECTION]
    device.message(LOG)
    assert (device.lines(), len(device.opens)) == ([], 1)
    assert device.driver.session.threads == ("MQTT", "web_log_read")

    device = ConsoleBench()
    device.message(LOG)
    device.handle(ev.TcpFailed("weblog-1", ev.TcpStage.CONNECT))
    assert device.driver.session.threads == ("MQTT",)
    device.opened(LOG)
    assert device.driver.session.threads == ("MQTT", "web_log", "web_log_read")


@pytest.mark.parametrize(
    ("end", "crashes"),
    [(ev.TcpEnd.ORDERLY, False), (ev.TcpEnd.RESET, False), (ev.TcpEnd.SEND_FAILED, True)],
)
def test_reset_crashes_a_log_that_is_sending(end: ev.TcpEnd, crashes: bool) -> None:
    for profile in (having(reset_crashes=True), MANUAL):
        device = ConsoleBench(profile)
        device.handle(ev.TcpClosed(device.opened(LOG), end))
        wanted = "web_log" if crashes and profile.reset_crashes else ""
        assert device.crashed == wanted
        assert (device.lines()[-1] == CLOSED) is not bool(wanted)


def test_long_line_stops_log() -> None:
    device = ConsoleBench(having(long_line_stops_log=True))
    name = device.opened(LOG)
    device.print("x" * 1024 + "\n")
    assert payloads(device.received(name)) == [b"x" * 1024]
    device.print("x" * 5000)
    device.print("\nnever seen\n")
    assert device.received(name) == b""
    device.handle(ev.TcpClosed(name, ev.TcpEnd.ORDERLY))
    device.print("still on the serial port\n")
    assert device.lines()[-1] == "still on the serial port"
    name = device.opened(LOG)
    device.print("nor in the next session\n")
    assert device.received(name) == b""

    device = ConsoleBench()
    name = device.opened(LOG)
    device.print("x" * 2041)
    device.print("y\nafter\n")
    assert payloads(device.received(name)) == [b"x" * 1020, b"x" * 1020, b"xy", b"after"]


@pytest.mark.parametrize("stops", [False, True])
def test_line_without_end_is_not_kept(stops: bool) -> None:
    frames = LineFrames(stops=stops)
    kept = sum(len(frame) for _ in range(1000) for frame in frames.feed(b"x" * 1000))
    assert kept == (0 if stops else 980 * 1024)
    assert len(frames._line) <= 1025
