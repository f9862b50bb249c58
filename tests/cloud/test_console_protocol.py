"""The pure parts of the console gateways: decoders, a connection's life, the order of a log's messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsdk.datapoints import Topics
from cloudsdk.shell.web_log import LineFrames, frame
from sim.cloud.gateways.decoders import GarbageError, LogDecoder, ShellDecoder, text_lines
from sim.cloud.gateways.greeting import Key, parse_key
from sim.cloud.gateways.intake import End, Expiry, Intake, Phase
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.log_control import Action, LogControl, LogState
from sim.cloud.messages import (
    MAX_PACKET,
    Outgoing,
    ServerAddress,
    log_server,
    log_switch,
    shell_server,
)

KEY = b"9017444f3bec4453d32a11a42d956d347d9863510e024f19"
TOPICS = Topics("8fa1b2c3d4e5f607", "9017444f3bec4453")
LIMITS = ConsoleLimits()
DEVICE = Key("9017444f3bec4453", b"d32a11a42d956d347d9863510e024f19")


# --- messages --------------------------------------------------------------------------------------------


def point(message: Outgoing) -> object:
    (found,) = json.loads(message.payload)["data"]
    return found


def test_messages_are_those_of_the_protocol() -> None:
    assert log_switch(TOPICS, on=True).payload == b'{"data":[{"DP":1020,"value":true}]}'
    assert point(log_switch(TOPICS, on=False)) == {"DP": 1020, "value": False}
    shell = shell_server(TOPICS, ServerAddress("10.0.0.5", 23901))
    assert shell.payload == b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":23901}}]}'
    log = log_server(TOPICS, ServerAddress("255.255.255.255", 65535))
    assert point(log) == {"DP": 1022, "value": {"host": "255.255.255.255", "port": 65535}}
    for message in (shell, log):
        assert message.topic.startswith("/device/8fa1b2c3d4e5f607/9017444f3bec4453/")
        assert message.packet_size <= MAX_PACKET


# --- keys and decoders -----------------------------------------------------------------------------------


def test_a_key_is_48_letters_and_digits_and_hides_its_password() -> None:
    assert parse_key(KEY) == DEVICE
    assert "d32a11" not in repr(DEVICE)
    for bad in (b"", KEY[:-1], KEY + b"0", KEY[:-1] + b"\n", KEY[:-1] + b"\xff", b" " * 48):
        assert parse_key(bad) is None


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_a_shell_is_its_key_and_then_its_bytes_however_they_are_cut(pieces: list[bytes]) -> None:
    stream = KEY + b"".join(pieces)
    decoder = ShellDecoder()
    items: list[bytes] = []
    position = 0
    for piece in [*pieces, b"x" * 60]:
        part = stream[position : position + len(piece)]
        position += len(part)
        if part:
            items += decoder.feed(part)
    if items:
        assert items[0] == KEY
        assert b"".join(items) == stream[:position]
    else:
        assert position < len(KEY)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 64))
def test_a_log_is_its_frames_however_they_are_cut(payloads: list[bytes], size: int) -> None:
    stream = b"".join(frame(each) for each in (KEY, *payloads))
    decoder = LogDecoder()
    cut = (stream[start : start + size] for start in range(0, len(stream), size))
    assert [item for piece in cut for item in decoder.feed(piece)] == [KEY, *payloads]


def test_what_a_device_frames_is_what_is_decoded() -> None:
    frames = LineFrames(stops=False).feed(b"one\n\ntwo\n" + b"x" * 3000 + b"\n")
    decoder = LogDecoder()
    assert decoder.feed(frame(KEY)) == [KEY]
    assert decoder.feed(b"".join(frames)) == [b"one", b"two", b"x" * 1020, b"x" * 1020, b"x" * 960]


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n", b"\x01\x01\0\x30", b"\x01\0\0\x31", b"\x01\0\0\0", KEY, bytes(10)]
)
def test_what_is_not_the_frame_of_a_key_is_garbage(garbage: bytes) -> None:
    with pytest.raises(GarbageError):
        LogDecoder().feed(garbage)


def test_text_is_bounded_and_keeps_what_is_hostile() -> None:
    assert text_lines(b"<script>\x1b[2J\r\xff\0", 100) == ["<script>\x1b[2J\r\ufffd\ufffd"]
    assert text_lines("é".encode() * 5, 2) == ["éé", "éé", "é"]
    assert text_lines(b"", 2) == []


# --- the life of a connection ----------------------------------------------------------------------------


def intake(idle: float = 300.0) -> Intake:
    return Intake(ShellDecoder(), LIMITS, idle=idle, now=100.0)


def test_a_device_is_known_once_it_is_admitted() -> None:
    connection = intake()
    assert connection.received(KEY[:20], 101.0) == []
    assert connection.received(KEY[20:] + b"banner", 102.0) == [DEVICE, b"banner"]
    assert (connection.phase, connection.deadline) == (Phase.CHECKING, None)
    connection.admit(103.0)
    assert connection.received(b"more", 150.0) == [b"more"]
    assert connection.deadline == 450.0
    assert connection.expired(449.0) is None
    assert connection.expired(450.0) is Expiry.IDLE
    assert connection.deadline == 750.0  # told again only then
    connection.touch(500.0)
    assert connection.deadline == 800.0


def test_bytes_that_drip_do_not_move_the_deadline_of_the_key() -> None:
    connection = intake()
    for second in range(9):
        assert connection.received(b"0", 100.5 + second) == []
    assert connection.deadline == 100.0 + LIMITS.key_timeout
    assert connection.expired(110.0) is Expiry.NO_KEY


def test_a_stranger_is_cut_off_when_it_stays_or_keeps_talking() -> None:
    quiet, loud = intake(), intake()
    for connection in (quiet, loud):
        assert connection.received(b"\xff" * 48, 101.0) == []
        assert (connection.phase, connection.end, connection.is_over) == (Phase.CLOSING, End.BAD_KEY, False)
    assert quiet.expired(101.0 + LIMITS.close_patience) is Expiry.STAYS
    assert quiet.is_over
    loud.received(bytes(LIMITS.stranger_drain + 1), 102.0)
    assert loud.is_over


def test_a_device_is_never_cut_off() -> None:
    connection = intake()
    connection.received(KEY, 101.0)
    connection.admit(101.0)
    assert connection.finish(End.CLOSED, 102.0)
    assert not connection.finish(End.IDLE, 103.0)
    assert connection.received(bytes(10 * LIMITS.stranger_drain), 103.0) == []
    assert connection.expired(200.0) is Expiry.STAYS
    assert (connection.deadline, connection.is_over, connection.end) == (None, False, End.CLOSED)


# --- the order of 1020, 1021, 1022 and FIN ---------------------------------------------------------------


class Log:
    """A device's log under control, with a clock that is moved to the next deadline."""

    def __init__(self, *, online: bool = True) -> None:
        self.now = 1000.0
        self.control = LogControl(LIMITS, online=online)

    def on(self) -> list[Action]:
        return self.control.switch(self.now, on=True)

    def off(self) -> list[Action]:
        return self.control.switch(self.now, on=False)

    def says(self, on: bool) -> list[Action]:
        return self.control.reported(self.now, on=on)

    def online(self) -> list[Action]:
        return self.control.came_online(self.now)

    def arrives(self) -> None:
        assert self.control.expects
        self.control.arrived(self.now)

    def leaves(self) -> list[Action]:
        return self.control.left(self.now)

    def later(self) -> list[Action]:
        assert self.control.deadline is not None
        assert self.control.expired(self.control.deadline - 0.001) == []
        self.now = self.control.deadline
        return self.control.expired(self.now)

    def started(self) -> "Log":
        assert self.on() == [Action.SWITCH_ON]
        assert self.says(True) == [Action.CALL]
        self.arrives()
        assert self.control.state is LogState.ON
        return self


def test_on_is_asked_answered_called_and_connected() -> None:
    log = Log()
    assert log.on() == [Action.SWITCH_ON]
    assert (log.control.state, log.control.expects) == (LogState.STARTING, False)
    assert log.says(False) == []  # of an earlier log
    assert log.says(True) == [Action.CALL]
    assert log.says(True) == []  # 1022 goes out once
    log.arrives()
    assert (log.control.state, log.control.expects, log.control.deadline) == (LogState.ON, False, None)
    assert log.on() == []


def test_off_is_asked_answered_and_closed_by_the_server() -> None:
    log = Log().started()
    assert log.off() == [Action.SWITCH_OFF]
    assert log.control.state is LogState.STOPPING
    assert log.says(False) == [Action.CLOSE]
    assert log.says(False) == []  # the device repeats it when its connection has ended
    assert log.leaves() == []
    assert log.control.state is LogState.OFF
    assert log.off() == []


def test_a_device_that_does_not_answer_off_is_closed_all_the_same() -> None:
    log = Log().started()
    log.off()
    assert log.later() == [Action.CLOSE]


def test_a_lost_answer_is_asked_for_again_and_then_the_device_is_silent() -> None:
    log = Log()
    asked = log.on()
    for _ in range(LIMITS.log_attempts):
        assert asked == [Action.SWITCH_ON]
        asked = log.later()
    assert asked == []
    assert log.control.state is LogState.SILENT
    log.online()
    assert log.later() == [Action.SWITCH_ON]


def test_a_device_that_does_not_connect_is_blocked_until_it_comes_online_again() -> None:
    log = Log()
    log.on()
    log.says(True)
    assert log.later() == []
    assert log.control.state is LogState.BLOCKED
    assert log.says(True) == []
    log.online()
    assert log.later() == [Action.SWITCH_ON]
    assert log.says(True) == [Action.CALL]


def test_a_blocked_device_that_connects_late_is_let_in() -> None:
    log = Log()
    log.on()
    log.says(True)
    log.later()
    log.arrives()
    assert log.control.state is LogState.ON


def test_an_offline_device_is_asked_when_it_comes_online_but_not_at_once() -> None:
    log = Log(online=False)
    assert log.on() == []
    assert log.control.state is LogState.WAITING
    assert log.online() == []  # a query of its version is on the way (2.3)
    assert log.later() == [Action.SWITCH_ON]


def test_a_reboot_is_followed_by_another_call_that_replaces_the_connection() -> None:
    log = Log().started()
    log.control.went_offline()
    assert log.control.state is LogState.ON  # its connection is still there
    log.online()
    assert log.later() == [Action.SWITCH_ON]
    assert log.says(True) == [Action.CALL]
    log.arrives()
    assert log.control.state is LogState.ON


def test_a_device_that_only_lost_its_broker_stays_on() -> None:
    log = Log().started()
    log.control.went_offline()
    log.online()
    log.later()
    log.says(True)  # 1022 is ignored: its log is open
    assert log.later() == []
    assert (log.control.state, log.control.expects) == (LogState.ON, False)


def test_a_connection_that_ends_by_itself_is_asked_for_again_ever_more_slowly() -> None:
    log = Log().started()
    pauses = []
    for _ in range(10):
        assert log.leaves() == []
        assert log.control.deadline is not None
        pauses.append(log.control.deadline - log.now)
        assert log.later() == [Action.SWITCH_ON]
        assert log.says(True) == [Action.CALL]
        log.arrives()
    assert pauses[:3] == [5.0, 10.0, 20.0]
    assert pauses[-1] == LIMITS.log_retry_longest
    log.now += LIMITS.log_retry_longest + 1
    log.leaves()
    assert log.control.deadline == log.now + LIMITS.log_retry


def test_off_while_it_starts_lets_nobody_in() -> None:
    log = Log()
    log.on()
    log.says(True)
    assert log.off() == [Action.SWITCH_OFF]
    assert (log.control.state, log.control.expects, log.control.deadline) == (LogState.OFF, False, None)


def test_off_while_the_device_is_offline_closes_at_once() -> None:
    log = Log().started()
    log.control.went_offline()
    assert log.off() == [Action.CLOSE]
    log = Log().started()
    log.off()
    assert log.control.went_offline() == [Action.CLOSE]


def test_silence_turns_the_log_of_a_device_off_unless_it_is_offline() -> None:
    log = Log().started()
    assert log.control.idle(log.now) == [Action.SWITCH_OFF]
    assert not log.control.wanted
    log = Log().started()
    log.control.went_offline()
    assert log.control.idle(log.now) == [Action.CLOSE]
    assert log.control.state is LogState.WAITING
    log.leaves()
    log.online()
    assert log.later() == [Action.SWITCH_ON]


def test_on_while_it_stops_starts_when_it_has_stopped() -> None:
    log = Log().started()
    log.off()
    assert log.on() == []
    assert log.control.state is LogState.STARTING
    assert log.says(False) == [Action.CLOSE]
    assert log.leaves() == []
    assert log.later() == [Action.SWITCH_ON]


events = st.lists(
    st.sampled_from(["on", "off", "yes", "no", "online", "offline", "arrive", "leave", "later"]), max_size=40
)


@given(events)
def test_whatever_happens_the_order_is_kept(happenings: list[str]) -> None:
    """1022 only after 1021 true, FIN only of a connection, and nothing for a device that is offline."""
    log = Log()
    is_online, asked = True, False
    for each in happenings:
        before = log.control.connected
        actions: list[Action] = []
        match each:
            case "on":
                actions = log.on()
            case "off":
                actions = log.off()
            case "yes" | "no":
                actions = log.says(each == "yes")
            case "online":
                is_online, actions = True, log.online()
            case "offline":
                is_online, actions = False, log.control.went_offline()
            case "arrive" if log.control.expects:
                log.arrives()
            case "leave" if before:
                actions = log.leaves()
            case "later" if log.control.deadline is not None:
                actions = log.later()
        for action in actions:
            assert is_online or action is Action.CLOSE
            if action is Action.CALL:
                assert asked
                assert each == "yes"
            if action is Action.CLOSE:
                assert before
            asked = action is Action.SWITCH_ON or (asked and action is not Action.CALL)
        assert (log.control.state is LogState.OFF) <= (not log.control.wanted)
        assert log.control.wanted or not log.control.expects
