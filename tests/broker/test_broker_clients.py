"""The broker with the clients people use: paho-mqtt and the Mosquitto command line clients."""

import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from broker_harness import PATIENCE, RunningBroker, running
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode


@pytest.fixture
def server() -> Iterator[RunningBroker]:
    with running() as server:
        yield server


class PahoClient:
    """A paho client whose callbacks end up in queues."""

    def __init__(self, client_id: str, *, clean: bool = True, will: str | None = None) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        self.client.username_pw_set(client_id, "ok")
        if will is not None:
            self.client.will_set("wills", will, qos=1)
        self.answers: queue.Queue[Any] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes, int, bool]] = queue.Queue()
        self.lost = threading.Event()
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.answers.put((reason, flags))
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.answers.put(codes)
        self.client.on_message = lambda _c, _u, m: self.messages.put((m.topic, m.payload, m.qos, m.retain))
        self.client.on_disconnect = lambda *_: self.lost.set()

    def connect(self, port: int) -> tuple[ReasonCode, Any]:
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        return self.answers.get(timeout=PATIENCE)  # type: ignore[no-any-return]

    def subscribe(self, topic_filter: str, qos: int) -> list[ReasonCode]:
        self.client.subscribe(topic_filter, qos)
        return self.answers.get(timeout=PATIENCE)  # type: ignore[no-any-return]

    def message(self) -> tuple[str, bytes, int, bool]:
        return self.messages.get(timeout=PATIENCE)

    def publish(self, topic: str, payload: str, qos: int, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE)

    def cut(self) -> None:
        """End without DISCONNECT and without reconnecting."""
        connection = self.client.socket()
        assert connection is not None
        self.client.reconnect_delay_set(60, 60)
        connection.shutdown(socket.SHUT_RDWR)
        assert self.lost.wait(PATIENCE)


@contextmanager
def connected(server: RunningBroker, client_id: str, **options: Any) -> Iterator[PahoClient]:
    device = PahoClient(client_id, **options)
    try:
        reason, _ = device.connect(server.port)
        assert reason == ReasonCode(PacketTypes.CONNACK, "Success")
        yield device
    finally:
        device.client.disconnect()
        device.client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes_and_receives_at_each_qos(server: RunningBroker, qos: int) -> None:
    with connected(server, "sender") as sender, connected(server, "reader") as reader:
        assert [code.value for code in reader.subscribe("t/+", qos)] == [qos]
        for number in range(50):
            sender.publish("t/x", str(number), qos)
        assert [reader.message() for _ in range(50)] == [
            ("t/x", str(number).encode(), qos, False) for number in range(50)
        ]
    messages = [call for call in server.policy.of("sender") if call[0] == "message"]
    assert [int(call[3]) for call in messages] == list(range(50))


def test_paho_receives_more_than_the_inflight_window_from_the_cloud(server: RunningBroker) -> None:
    with connected(server, "reader") as reader:
        reader.subscribe("t", 2)

        async def burst() -> list[int]:
            return [await server.broker.publish("t", b"%d" % number, 2) for number in range(60)]

        assert server.run(burst()) == [1] * 60
        assert [int(reader.message()[1]) for _ in range(60)] == list(range(60))


def test_paho_will_is_published_after_an_abrupt_end_only(server: RunningBroker) -> None:
    with connected(server, "watcher") as watcher:
        watcher.subscribe("wills", 1)
        with connected(server, "polite", will="polite is gone"):
            pass
        server.policy.wait_for_call("disconnect", "polite")
        with connected(server, "abrupt", will="abrupt is gone") as abrupt:
            abrupt.cut()
            assert watcher.message() == ("wills", b"abrupt is gone", 1, False)
        server.policy.wait_for_call("will", "abrupt", "wills", b"abrupt is gone")
    assert not [call for call in server.policy.of("polite") if call[0] == "will"]


def test_paho_gets_retained_messages_but_none_under_the_cloud_prefix(server: RunningBroker) -> None:
    with connected(server, "sender") as sender, connected(server, "reader") as reader:
        sender.publish("/cloud/p/d/system", "garbage flag", 1, retain=True)
        sender.publish("kept", "value", 1, retain=True)
        reader.subscribe("#", 1)
        assert reader.message() == ("kept", b"value", 1, True)
        sender.publish("end", "", 1)
        assert reader.message()[0] == "end"


def test_paho_takeover_ends_the_first_client(server: RunningBroker) -> None:
    with connected(server, "d", will="first is gone") as first:
        first.client.reconnect_delay_set(60, 60)
        with connected(server, "d") as second:
            assert first.lost.wait(PATIENCE)
            second.publish("t", "from the second", 1)
            server.policy.wait_for_call("message", "d", "t", b"from the second")
    kinds = [call[0] for call in server.policy.of("d")][:5]
    assert kinds == ["connect", "will", "disconnect", "connect", "message"]


def test_paho_persistent_session_gets_what_it_missed(server: RunningBroker) -> None:
    with connected(server, "d", clean=False) as device:
        device.subscribe("t", 1)
    server.policy.wait_for_call("disconnect", "d")
    assert server.publish("t", b"missed", 1) == 1
    device = PahoClient("d", clean=False)
    try:
        _, flags = device.connect(server.port)
        assert flags.session_present
        assert device.message() == ("t", b"missed", 1, False)
    finally:
        device.client.disconnect()
        device.client.loop_stop()


def test_paho_is_refused_with_a_wrong_password_and_a_forbidden_filter(server: RunningBroker) -> None:
    stranger = PahoClient("stranger")
    stranger.client.username_pw_set("stranger", "wrong")
    try:
        reason, _ = stranger.connect(server.port)
        assert reason == ReasonCode(PacketTypes.CONNACK, "Not authorized")
    finally:
        stranger.client.disconnect()
        stranger.client.loop_stop()
    with connected(server, "d") as device:
        assert device.subscribe("forbidden/#", 1)[0].is_failure


def command(name: str, port: int, *arguments: str) -> list[str]:
    program = shutil.which(name)
    assert program is not None, f"{name} is missing: apt-get install mosquitto-clients"
    return [program, "-h", "127.0.0.1", "-p", str(port), "-V", "mqttv311", *arguments]


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquitto_clients_exchange_a_message(server: RunningBroker, qos: int) -> None:
    listen = command("mosquitto_sub", server.port, "-i", "reader", "-t", "t/#", "-q", qos, "-C", "1", "-v")
    send = command("mosquitto_pub", server.port, "-i", "sender", "-t", "t/x", "-m", "hello", "-q", qos)
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as reader:
        try:
            server.policy.wait_for_call("subscribe", "reader", "t/#")
            subprocess.run(send, check=True, timeout=PATIENCE)
            output, _ = reader.communicate(timeout=PATIENCE)
            assert output == "t/x hello\n"
        finally:
            reader.kill()
    server.policy.wait_for_call("message", "sender", "t/x", b"hello")


def test_mosquitto_pub_reports_refused_credentials(server: RunningBroker) -> None:
    send = command("mosquitto_pub", server.port, "-i", "d", "-u", "d", "-P", "wrong", "-t", "t", "-m", "x")
    result = subprocess.run(send, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 5
    assert "not authorised" in result.stderr
    assert server.policy.calls == []


def test_mosquitto_pub_of_mqtt_5_is_told_the_version_is_wrong(server: RunningBroker) -> None:
    send = command("mosquitto_pub", server.port, "-V", "5", "-t", "t", "-m", "x")
    result = subprocess.run(send, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode != 0
    assert server.policy.calls == []
