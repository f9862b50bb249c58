"""Web Shell and Web Log under anything a cloud can do, in any order: no exception, bounded state."""

import json
from typing import get_args

import pytest
from console_bench import LOG, OFF, SHELL, ConsoleBench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudsdk import events as ev
from cloudsdk.profile import PROFILES
from cloudsdk.shell.web_log import BUFFER

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ADDRESS = st.fixed_dictionaries(
    {}, optional={"host": st.sampled_from(["10.0.0.5", "", "x", "\ud800"]) | SCALARS, "port": SCALARS}
)
MESSAGE = st.builds(
    lambda dp, value: json.dumps({"data": [{"DP": dp, "value": value}]}).encode(),
    st.sampled_from([1020, 1022, 1025]),
    ADDRESS | SCALARS | st.lists(SCALARS),
)
MESSAGES = (st.sampled_from([SHELL, LOG, OFF]) | MESSAGE | st.binary()).map(
    lambda payload: ev.MqttMessage("/device", payload)
)
BYTES = st.binary(max_size=3000) | st.sampled_from([b"hello\n", b"\r\n" * 50, b"\xff\x00\x1b[A", b"x" * 5000])
NAMES = st.sampled_from([0, 0, 0, 1, 2])
OPENED = st.sampled_from([SHELL, LOG])  # and connected
TCP = st.one_of(
    st.builds(lambda back: (ev.TcpOpened, back), NAMES),
    st.builds(lambda back, data: (ev.TcpData, back, data), NAMES, BYTES),
    st.builds(lambda back, stage: (ev.TcpFailed, back, stage), NAMES, st.sampled_from(ev.TcpStage)),
    st.builds(lambda back, end: (ev.TcpClosed, back, end), NAMES, st.sampled_from(ev.TcpEnd)),
)
OTHER = st.one_of(
    BYTES.map(ev.ConsoleInput),
    st.text().map(ev.ConsoleOutput),
    st.sampled_from([ev.TimerFired("shell-key-retry"), ev.MqttLost("gone")]),
)
EFFECTS = get_args(ev.Effect)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_no_order_of_events_raises_or_grows(profile: str) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.one_of(OPENED, TCP, MESSAGES, TCP, OTHER), min_size=8, max_size=30))
    def check(steps: list[object]) -> None:
        device = ConsoleBench(PROFILES[profile])
        for step in steps:
            event = step
            if isinstance(step, bytes):
                device.message(step)
                event = ev.TcpOpened(device.opens[-1].connection) if device.opens else ev.ConsoleOutput("")
            elif isinstance(step, tuple):  # of one of the connections opened last
                if len(device.opens) <= step[1]:
                    continue
                event = step[0](device.opens[-1 - step[1]].connection, *step[2:])
            effects = device.handle(event)  # type: ignore[arg-type]
            assert all(isinstance(effect, EFFECTS) for effect in effects)
            sent = {effect.connection for effect in effects if isinstance(effect, ev.TcpSend)}
            assert sent <= {each.connection for each in device.opens}
            if device.crashed:
                assert device.handle(ev.ConsoleOutput("x")) == []
                return
        assert len(device.driver.session._web_log._frames._line) <= BUFFER + 1
        assert profile == "v2.0.0" or not device.crashed

    check()
