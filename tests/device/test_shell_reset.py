"""A shell server that resets its connection, over real sockets: a crash in v2.0.0, an end in manual."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import cast

import pytest
from device_rig import IOT_BOARD, PRODUCT_ID, PRODUCT_KEY, SN, fork, make_pages
from recorded_cloud import Broker, Listener

from cloudsdk import events as ev
from cloudsdk.client import CloudClient, Exit
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.session import Session
from sim.board import make_board
from sim.bootloader.outcome import BootResult
from sim.device import Device, Stopped
from sim.msh.faults import stack_overrun
from sim.msh.kernels import Activity, iot_board

PAGES = make_pages(IOT_BOARD)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST
PATIENCE = 10.0  # seconds


def reset(connection: socket.socket) -> None:
    """Take the key, then hang up the hard way."""
    connection.recv(48, socket.MSG_WAITALL)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.listener.close()


@pytest.fixture
def shell_server() -> Iterator[Listener]:
    listener = Listener(reset)
    yield listener
    listener.close()


def comes_online(broker: Broker) -> None:
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)


@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
def test_reset_of_the_shell_connection(profile: Profile, broker: Broker, shell_server: Listener) -> None:
    console: list[str] = []
    boots: list[BootResult] = []
    booted_again, closed = threading.Event(), threading.Event()

    def print_(text: str) -> None:
        console.append(text)
        if "Web Shell is closed." in text:
            closed.set()

    def after_boot(result: BootResult) -> bool:
        boots.append(result)
        if len(boots) > 1:
            booted_again.set()
        return True

    port = Port(SN, PRODUCT_ID, PRODUCT_KEY, "http://127.0.0.1:9", f"mqtt://127.0.0.1:{broker.listener.port}")
    board = make_board(IOT_BOARD, dict(fork(PAGES)))
    device = Device(board, port, profile=profile, console=print_, after_boot=after_boot)
    ends: list[object] = []
    thread = threading.Thread(target=lambda: ends.append(device.run()), daemon=True)
    thread.start()
    comes_online(broker)
    value = {"host": "127.0.0.1", "port": shell_server.port}
    broker.publish("/device/x", json.dumps({"data": [{"DP": 1025, "value": value}]}).encode())
    if profile is V2_0_0:
        assert booted_again.wait(PATIENCE)
        comes_online(broker)
    else:
        assert closed.wait(PATIENCE)
    device.stop()
    thread.join(PATIENCE)
    assert ends == [Stopped()]
    dump = stack_overrun(iot_board(0, Activity(mqtt=True, web_shell=True)), "web_shell")
    assert "".join(console).count(dump) == (profile is V2_0_0)
    assert len(boots) == (2 if profile is V2_0_0 else 1)


class ScriptedSession:
    """Answers each event with what `effects` holds next, then with nothing."""

    def __init__(self, *effects: list[ev.Effect]) -> None:
        self._effects = list(effects)
        self.seen: list[ev.Event] = []

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        self.seen.append(event)
        return self._effects.pop(0) if self._effects else []


class OpensSession(ScriptedSession):
    """Ends with the first connection that fails."""

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        effects = super().handle(event)
        return [ev.Reset()] if isinstance(event, ev.TcpFailed) else effects


def client(session: ScriptedSession, limits: Limits | None = None) -> CloudClient:
    return CloudClient(
        cast(Session, session), profile=MANUAL, limits=limits or Limits(), console=lambda _text: None
    )


def test_one_connection_more_than_the_board_has_sockets(shell_server: Listener) -> None:
    opens: list[ev.Effect] = [
        ev.TcpOpen(f"webshell-{number}", "127.0.0.1", shell_server.port, b"key") for number in (1, 2, 3)
    ]
    session = OpensSession(opens)
    assert client(session, Limits(tcp_connections=2)).run() is Exit.RESET
    assert session.seen[-1] == ev.TcpFailed("webshell-3", ev.TcpStage.CREATE)


def test_crash_ends_the_run_and_names_the_thread() -> None:
    runtime = client(ScriptedSession([ev.Crash("web_log")]))
    assert (runtime.run(), runtime.crashed_thread) == (Exit.CRASHED, "web_log")


def test_typing_printing_and_reset_from_another_thread() -> None:
    session = ScriptedSession()
    runtime = client(session)
    ended: list[Exit] = []
    thread = threading.Thread(target=lambda: ended.append(runtime.run()))
    thread.start()
    runtime.type(b"hello\n")
    runtime.print("world\n")
    runtime.reset()
    thread.join(PATIENCE)
    assert ended == [Exit.RESET]
    assert session.seen == [ev.Started(), ev.ConsoleInput(b"hello\n"), ev.ConsoleOutput("world\n")]
