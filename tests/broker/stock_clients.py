"""The clients people use, made fit for tests: paho-mqtt with queues, the Mosquitto command line programs."""

import queue
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from broker_harness import PATIENCE
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from cloudsdk.mqtt.packets import Will

Received = tuple[str, bytes, int, bool]  # topic, payload, QoS, retain flag


class PahoClient:
    """A paho client whose callbacks end up in queues."""

    def __init__(
        self,
        client_id: str,
        *,
        clean: bool = True,
        will: Will | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        if client_id:
            self.client.username_pw_set(client_id, "ok")
        if will is not None:
            self.client.will_set(will.topic, will.payload, will.qos, will.retain)
        if tls is not None:
            self.client.tls_set_context(tls)
        self.answers: queue.Queue[Any] = queue.Queue()
        self.messages: queue.Queue[Received] = queue.Queue()
        self.lost = threading.Event()
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.answers.put((reason, flags))
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.answers.put(codes)
        self.client.on_unsubscribe = lambda *_: self.answers.put("unsubscribed")
        self.client.on_message = lambda _c, _u, m: self.messages.put((m.topic, m.payload, m.qos, m.retain))
        self.client.on_disconnect = lambda *_: self.lost.set()

    def connect(self, port: int) -> tuple[ReasonCode, Any]:
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        return self.answers.get(timeout=PATIENCE)  # type: ignore[no-any-return]

    def subscribe(self, topic_filter: str, qos: int) -> list[ReasonCode]:
        self.client.subscribe(topic_filter, qos)
        return self.answers.get(timeout=PATIENCE)  # type: ignore[no-any-return]

    def unsubscribe(self, topic_filter: str) -> None:
        self.client.unsubscribe(topic_filter)
        assert self.answers.get(timeout=PATIENCE) == "unsubscribed"

    def message(self) -> Received:
        return self.messages.get(timeout=PATIENCE)

    def publish(self, topic: str, payload: str | bytes, qos: int, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE)

    def cut(self) -> None:
        """End without DISCONNECT and without reconnecting."""
        connection = self.client.socket()
        assert connection is not None
        self.stay_away()
        connection.shutdown(socket.SHUT_RDWR)
        assert self.lost.wait(PATIENCE)

    def stay_away(self) -> None:
        """Do not reconnect within the test."""
        self.client.reconnect_delay_set(60, 60)


@contextmanager
def connected(port: int, client_id: str, **options: Any) -> Iterator[PahoClient]:
    device = PahoClient(client_id, **options)
    try:
        reason, _ = device.connect(port)
        assert reason == ReasonCode(PacketTypes.CONNACK, "Success")
        yield device
    finally:
        device.client.disconnect()
        device.client.loop_stop()


@dataclass(frozen=True, slots=True)
class Program:
    """mosquitto_pub or mosquitto_sub for one broker; `options` come first in every command."""

    name: str
    port: int
    options: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        program = shutil.which(self.name)
        assert program is not None, f"{self.name} is missing: apt-get install mosquitto-clients"
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-V", "mqttv311")
        return [program, *address, *self.options, *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The finished process, whatever its exit code."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
