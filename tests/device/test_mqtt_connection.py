"""The MQTT connection against brokers that do not keep to the protocol."""

import queue
import socket
import threading
from collections.abc import Iterator

import pytest
from recorded_cloud import Listener

from cloudsdk.events import (
    Event,
    MqttConnect,
    MqttConnected,
    MqttLost,
    MqttRefused,
    MqttSubscribed,
    MqttUnreachable,
)
from cloudsdk.io_loop import IoLoop
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.port import MqttAddress
from cloudsdk.route import Link, direct

PATIENCE = 10.0  # seconds until an event that does not come fails the test
CONNACK = b"\x20\x02\x00\x00"


class Broker:
    """Answers the CONNECT with `answer`, then waits until the device closes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.closed = threading.Event()
        self.listener = Listener(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(self._answer)
        try:
            while connection.recv(4096):
                pass
        finally:
            self.closed.set()


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.ExceptHookArgs]]:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    yield seen
    assert seen == []


@pytest.fixture
def loop() -> Iterator[IoLoop]:
    with IoLoop() as running:
        yield running


def connect(loop: IoLoop, port: int) -> tuple[MqttConnection, "queue.Queue[Event]"]:
    events: queue.Queue[Event] = queue.Queue()
    effect = MqttConnect(MqttAddress("127.0.0.1", port), "id", "id", "secret", "/will", b"{}", 30)
    connection = MqttConnection(effect, loop, constant_packet_id=False, post=events.put, route=direct)
    connection.start()
    return connection, events


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\x01\x00",
        b"\x30\x04\xff\xff/a",
        b"\x30\x04\x00\x02\xff\xfe",
        b"\x30\x02\x00\x00",
        b"\x32\x04\x00\x02/a",
        b"\x90\x01\x00",
        b"\x90\x02\x00\x01",
        b"\xd0\x01\x00",
        b"\xf0\x00",
        b"\x00\x00",
        b"\x10\x00",
        b"\x30\x80\x80\x80\x80\x01",
        b"\x40\x01\x00",
    ],
)
@pytest.mark.usefixtures("crashes")
def test_malformed_packet_ends_the_connection_and_is_told_once(loop: IoLoop, packet: bytes) -> None:
    broker = Broker(CONNACK + packet + CONNACK)
    connection, events = connect(loop, broker.listener.port)
    assert events.get(timeout=PATIENCE) == MqttConnected()
    # Some of these paho-mqtt passes over; then the connection lives and ends with the drop.
    lived = not connection.closed.wait(0.3)
    connection.drop()
    assert connection.closed.wait(PATIENCE)
    assert broker.closed.wait(PATIENCE)
    told = [events.get_nowait() for _ in range(events.qsize())]
    assert sum(isinstance(event, MqttLost) for event in told) == (0 if lived else 1)
    broker.listener.close()


def test_refusal_is_told_with_its_code(loop: IoLoop) -> None:
    broker = Broker(b"\x20\x02\x00\x05")
    connection, events = connect(loop, broker.listener.port)
    assert events.get(timeout=PATIENCE) == MqttRefused(5)
    connection.drop()
    assert connection.closed.wait(PATIENCE)
    broker.listener.close()


def test_nobody_listens_and_no_such_host(loop: IoLoop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    _, events = connect(loop, port)
    assert isinstance(events.get(timeout=PATIENCE), MqttUnreachable)


def test_nothing_is_told_after_the_drop(loop: IoLoop) -> None:
    broker = Broker(CONNACK)
    connection, events = connect(loop, broker.listener.port)
    assert events.get(timeout=PATIENCE) == MqttConnected()
    connection.subscribe("/device/#")
    connection.drop()
    assert connection.closed.wait(PATIENCE)
    assert broker.closed.wait(PATIENCE)
    assert not any(isinstance(events.get_nowait(), MqttLost | MqttSubscribed) for _ in range(events.qsize()))
    broker.listener.close()


def test_no_route_is_unreachable(loop: IoLoop) -> None:
    def nowhere(_link: Link, _host: str, _port: int) -> tuple[str, int]:
        raise OSError("no way")

    events: queue.Queue[Event] = queue.Queue()
    effect = MqttConnect(MqttAddress("127.0.0.1", 1883), "id", "id", "secret", "/will", b"{}", 30)
    connection = MqttConnection(effect, loop, constant_packet_id=False, post=events.put, route=nowhere)
    connection.start()
    assert events.get(timeout=PATIENCE) == MqttUnreachable("no way")
    assert connection.closed.is_set()


def test_loop_that_ends_closes_its_connections_and_takes_no_more() -> None:
    broker = Broker(CONNACK)
    with IoLoop() as ending:
        connection, events = connect(ending, broker.listener.port)
        assert events.get(timeout=PATIENCE) == MqttConnected()
    assert connection.closed.is_set()
    assert broker.closed.wait(PATIENCE)
    assert not ending.call(lambda: None)
    late, _ = connect(ending, broker.listener.port)
    assert late.closed.wait(PATIENCE)
    assert events.empty()
    broker.listener.close()
