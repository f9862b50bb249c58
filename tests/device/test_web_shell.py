"""Web Shell: what the device does on DP 1025 and on what the shell's server does (cloudsdk-protocol 4)."""

import json

import pytest
from console_bench import KEY, LOG, SHELL, ConsoleBench, having
from console_stand_in import BANNER
from device_rig import ACTIVATED_ENV, MemoryEnv, bench

from cloudsdk import events as ev
from cloudsdk.profile import MANUAL, V2_0_0, Profile

GREETING = BANNER.replace(b"\n", b"\r\n") + b"msh />"
BAD_DP = "[E/cld.mqtt] MQTT callback failed ! data handler DP : {} ."
STARTED = "[I/cld.shell] Web Shell : start up success."
CLOSED = "[I/cld.shell] Web Shell is closed. Console resume to local console({})."
NO_CONNECTION = "[E/cld.shell] Web Shell entry failed! Web shell socket {} error, return : -1!"
BOTH = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)


def value(host: object, port: object, dp: int = 1025) -> bytes:
    return json.dumps({"data": [{"DP": dp, "value": {"host": host, "port": port}}]}).encode()


@BOTH
def test_connects_with_the_unframed_key_and_no_options(profile: Profile) -> None:
    device = ConsoleBench(profile)
    device.message(SHELL)
    assert device.lines() == [STARTED]
    assert device.opens == [ev.TcpOpen("webshell-1", "10.0.0.5", 23901, KEY)]
    assert "d32a11a4" not in repr(device.opens)


def test_key_is_48_bytes_whatever_is_stored() -> None:
    driver = bench(env=MemoryEnv({**ACTIVATED_ENV, "cld_pwd": "f" * 70_000})).driver
    driver.online()
    for message, length in ((SHELL, 48), (LOG, 52)):
        (opened,) = (effect for effect in driver.message(message) if isinstance(effect, ev.TcpOpen))
        assert len(opened.greeting) == length
        driver.handle(ev.TcpFailed(opened.connection, ev.TcpStage.CONNECT))


@BOTH
def test_console_is_handed_over_and_back(profile: Profile) -> None:
    device = ConsoleBench(profile)
    name = device.opened(SHELL)
    assert device.received(name) == GREETING
    assert device.shell.echoes == [False]
    device.handle(ev.TcpData(name, b"hello\n"))
    assert device.received(name) == b"Hello RT-Thread!\r\nmsh />"
    device.print("from a driver\n")
    assert device.received(name) == b"from a driver\r\n"
    device.message(b"not json")
    assert device.received(name).startswith(b"\x1b[31m[E/cld.mqtt] MQTT callback failed!")
    assert device.lines() == [STARTED]

    device.handle(ev.TcpClosed(name, ev.TcpEnd.ORDERLY))
    assert device.shell.echoes == [False, True]
    assert [type(effect) for effect in device.effects] == [ev.TcpClose, ev.ConsoleText]
    assert device.lines() == [CLOSED.format("uart1")]
    device.print("local again\n")
    assert device.lines() == ["local again"]
    assert device.sent == {}


def test_output_goes_out_in_pieces_of_256_bytes() -> None:
    device = ConsoleBench()
    name = device.opened(SHELL)
    device.received(name)
    device.print("x" * 300 + "\n")
    assert [len(data) for data in device.sent[name]] == [256, 46]


def test_serial_port_is_deaf_while_the_shell_is_open() -> None:
    device = ConsoleBench()
    device.handle(ev.ConsoleInput(b"hello\n"))
    assert device.shell.commands == ["hello"]
    device.opened(SHELL)
    device.handle(ev.ConsoleInput(b"hello\n"))
    assert device.shell.commands == ["hello", "version"]


@BOTH
def test_connection_that_cannot_be_made_is_one_line_and_the_next_1025_works(profile: Profile) -> None:
    device = ConsoleBench(profile)
    device.message(SHELL)
    device.handle(ev.TcpFailed("webshell-1", ev.TcpStage.CONNECT))
    assert device.lines() == [STARTED, NO_CONNECTION.format("connect")]
    assert device.received(device.opened(SHELL)) == GREETING


@pytest.mark.parametrize("host", ["localhost", "10.0.0", "::1", "10.0.0.5 ", "\ud800", "1.2.3.4\0"])
def test_host_that_is_not_dotted_ipv4_is_not_connected_to(host: str) -> None:
    device = ConsoleBench()
    device.message(value(host, 1))
    assert device.lines() == [STARTED, NO_CONNECTION.format("connect")]
    assert device.opens == []


@pytest.mark.parametrize(
    "payload",
    [
        value("", 1),
        value("x" * 128, 1),
        value(None, 1),
        value(7, 1),
        value("10.0.0.5", 0),
        value("10.0.0.5", "23901"),
        value("10.0.0.5", True),
        b'{"data":[{"DP":1025,"value":null}]}',
        b'{"data":[{"DP":1025,"value":[]}]}',
        b'{"data":[{"DP":1025,"value":{}}]}',
    ],
)
@BOTH
def test_1025_without_host_or_port_is_ignored_in_silence(profile: Profile, payload: bytes) -> None:
    device = ConsoleBench(profile)
    device.message(payload)
    assert (device.lines(), device.opens) == ([], [])


def test_1025_without_value_has_only_the_generic_line() -> None:
    device = ConsoleBench()
    device.message(b'{"data":[{"DP":1025}]}')
    assert (device.lines(), device.opens) == ([BAD_DP.format(1025)], [])


@pytest.mark.parametrize(("port", "used"), [(65535, 65535), (65536 + 80, 80), (-1, 65535), (8.9, 8)])
def test_port_keeps_its_low_16_bits(port: float, used: int) -> None:
    device = ConsoleBench()
    device.message(value("10.0.0.5", port))
    assert [each.port for each in device.opens] == [used]


@pytest.mark.parametrize("end", [ev.TcpEnd.RESET, ev.TcpEnd.SEND_FAILED])
def test_reset_crashes(end: ev.TcpEnd) -> None:
    device = ConsoleBench(having(reset_crashes=True))
    device.handle(ev.TcpClosed(device.opened(SHELL), end))
    assert device.crashed == "web_shell"
    assert device.lines() == [STARTED]
    assert device.handle(ev.ConsoleOutput("after death")) == []
    assert "web_shell" in device.driver.session.threads

    device = ConsoleBench()
    device.handle(ev.TcpClosed(device.opened(SHELL), end))
    assert not device.crashed
    assert device.lines() == [STARTED, CLOSED.format("uart1")]


def test_shell_key_retries_forever() -> None:
    device = ConsoleBench(having(shell_key_retries_forever=True))
    device.message(SHELL)
    for attempt in range(1, 6):
        device.handle(ev.TcpFailed(f"webshell-{attempt}", ev.TcpStage.SEND))
        assert device.lines()[-1] == NO_CONNECTION.format("send data")
        device.handle(ev.TimerFired("shell-key-retry"))
        assert device.opens[attempt].greeting == KEY
    device.handle(ev.TcpOpened("webshell-6"))
    assert device.received("webshell-6") == GREETING
    device.handle(ev.TimerFired("shell-key-retry"))
    assert len(device.opens) == 6

    device = ConsoleBench()
    device.message(SHELL)
    device.handle(ev.TcpFailed("webshell-1", ev.TcpStage.SEND))
    assert device.lines() == [STARTED, NO_CONNECTION.format("send data")]
    assert "shell-key-retry" not in device.driver.timers


def test_second_shell_takes_over() -> None:
    device = ConsoleBench(having(second_shell_takes_over=True))
    first = device.opened(SHELL)
    second = device.opened(SHELL)
    assert first != second
    assert not device.all(ev.TcpClose)
    device.handle(ev.TcpData(first, b"hello\n"))
    device.handle(ev.TcpClosed(first, ev.TcpEnd.ORDERLY))
    assert "hello" not in device.shell.commands
    device.received(second)
    device.handle(ev.TcpData(second, b"hello\n"))
    assert device.received(second) == b"Hello RT-Thread!\r\nmsh />"
    # Its previous console is itself: the closing line goes nowhere, and so does the error about that.
    device.handle(ev.TcpClosed(second, ev.TcpEnd.ORDERLY))
    assert device.crashed == "web_shell"

    device = ConsoleBench()
    first = device.opened(SHELL)
    device.received(first)
    device.message(SHELL)
    assert BAD_DP.format(1025).encode() in device.received(first)
    assert len(device.opens) == 1


def test_shell_and_log_together() -> None:
    device = ConsoleBench(having(shell_and_log_together=True))
    log, shell = device.opened(LOG), device.opened(SHELL)
    device.received(log)
    device.received(shell)
    device.print("shell only\n")
    assert (device.received(shell), device.received(log)) == (b"shell only\r\n", b"")
    device.handle(ev.TcpClosed(shell, ev.TcpEnd.ORDERLY))
    assert device.lines()[-1] == CLOSED.format("weblog")
    assert CLOSED.format("weblog").encode() in device.received(log)

    for one, other, dp in ((LOG, SHELL, 1025), (SHELL, LOG, 1022)):
        device = ConsoleBench()
        name = device.opened(one)
        device.received(name)
        device.message(other)
        assert len(device.opens) == 1
        assert BAD_DP.format(dp).encode() in device.received(name)


def test_log_that_ends_under_an_open_shell_takes_the_console_along() -> None:
    device = ConsoleBench(having(shell_and_log_together=True))
    log, shell = device.opened(LOG), device.opened(SHELL)
    device.handle(ev.TcpClosed(log, ev.TcpEnd.ORDERLY))
    device.received(shell)
    device.handle(ev.TcpData(shell, b"hello\n"))
    device.print("local\n")
    assert device.lines()[-1] == "local"
    device.handle(ev.TcpClosed(shell, ev.TcpEnd.ORDERLY))
    device.print("still there\n")
    assert device.lines()[-1] == "still there"
    assert shell not in device.sent
    assert "hello" not in device.shell.commands


def test_log_that_opens_again_while_it_is_the_console_does_not_copy_to_itself() -> None:
    device = ConsoleBench(having(shell_and_log_together=True))
    log, shell = device.opened(LOG), device.opened(SHELL)
    device.handle(ev.TcpClosed(log, ev.TcpEnd.ORDERLY))
    device.handle(ev.TcpClosed(shell, ev.TcpEnd.ORDERLY))
    log = device.opened(LOG)
    device.lines()
    device.print("once\n")
    assert device.lines() == ["once"]
    assert device.received(log) == b"\x01\x00\x00\x04once"


def test_events_of_a_former_connection_are_ignored() -> None:
    device = ConsoleBench()
    first = device.opened(SHELL)
    device.handle(ev.TcpClosed(first, ev.TcpEnd.ORDERLY))
    device.opened(SHELL)
    for event in (
        ev.TcpData(first, b"hello\n"),
        ev.TcpOpened(first),
        ev.TcpFailed(first, ev.TcpStage.CONNECT),
        ev.TcpClosed(first, ev.TcpEnd.RESET),
    ):
        assert device.handle(event) == []


def test_echoed_utf8_reaches_the_serial_port_whole() -> None:
    device = ConsoleBench()
    device.lines()
    for byte in "\u521d".encode():
        device.handle(ev.ConsoleInput(bytes([byte])))
    assert device.driver.console == "\u521d"
