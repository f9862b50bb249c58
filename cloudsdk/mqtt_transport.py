"""MQTT for one device, on paho-mqtt with its loop driven from here."""

import contextlib
import logging
import queue
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from cloudsdk import console
from cloudsdk.errors import CloudSdkError
from cloudsdk.events import (
    ConsoleOutput,
    Event,
    MqttConnect,
    MqttConnected,
    MqttLost,
    MqttMessage,
    MqttPong,
    MqttRefused,
    MqttSubscribed,
    MqttUnreachable,
)
from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.tls_context import client_context, tls_failure

_log = logging.getLogger(__name__)

WILL_QOS: Final = 1
PUBLISH_QOS: Final = 1
CONSTANT_PACKET_ID: Final = 1
_HOUSEKEEPING: Final = 1.0  # seconds between two looks at the library's own keepalive
_CONNACK: Final = {132: 1, 133: 2, 136: 3, 134: 4, 135: 5}  # MQTT 5 reason code -> 3.1.1 return code


class _Client(paho.Client):
    """What paho-mqtt has no public call for: three things that the original does on the wire, and TLS read in
    somebody else's loop.

    Tests hold the bytes of each against the recordings, so that a change inside paho-mqtt is noticed.
    """

    on_pong: Callable[[], None]
    on_tls_error: Callable[[ssl.SSLError], object]

    def publish_untracked(self, topic: str, payload: bytes) -> None:
        """PUBLISH with the constant packet id, neither tracked nor retransmitted (cloudsdk-protocol 2.3)."""
        self._send_publish(CONSTANT_PACKET_ID, topic.encode(), payload, PUBLISH_QOS)

    def ping(self) -> None:
        self._send_pingreq()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read on while TLS holds bytes that it has decrypted already: no selector announces them."""
        code = super().loop_read(max_packets)
        while code == MQTTErrorCode.MQTT_ERR_SUCCESS and self._decrypted():
            code = super().loop_read(max_packets)
        return code

    def _decrypted(self) -> int:
        connection = self.socket()
        return connection.pending() if isinstance(connection, ssl.SSLSocket) else 0

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as exc:
            self.on_tls_error(exc)
            raise

    def _handle_pingresp(self) -> MQTTErrorCode:
        code = super()._handle_pingresp()
        self.on_pong()
        return code


class MqttConnection(threading.Thread):
    """One MQTT connection from CONNECT to its end; `post` receives its events until `drop`."""

    def __init__(
        self,
        effect: MqttConnect,
        *,
        constant_packet_id: bool,
        post: Callable[[Event], None],
        tls: TlsSettings | None = None,
    ) -> None:
        super().__init__(name="mqtt", daemon=True)
        self._effect = effect
        self._constant_packet_id = constant_packet_id
        self._post_event = post
        self._tls = tls
        self._peer = f"{effect.address.host}:{effect.address.port}"
        self._dropped = False
        self._commands: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._client = self._make_client()

    def _make_client(self) -> _Client:
        effect = self._effect
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=effect.client_id,
            clean_session=True,
            protocol=paho.MQTTv311,
        )
        client.username_pw_set(effect.user, effect.password)
        client.will_set(effect.will_topic, effect.will_payload, qos=WILL_QOS)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._post(MqttSubscribed())
        client.on_message = lambda _client, _data, message: self._post(
            MqttMessage(message.topic, bytes(message.payload))
        )
        client.on_disconnect = lambda *_: self._lost("connection closed")
        client.on_pong = lambda: self._post(MqttPong())
        client.on_tls_error = self._tls_failed
        return client

    # --- called by the device's thread --------------------------------------------------------------

    def subscribe(self, topic_filter: str) -> None:
        self._command(lambda: self._client.subscribe(topic_filter, qos=0))

    def publish(self, topic: str, payload: bytes) -> None:
        if self._constant_packet_id:
            self._command(lambda: self._client.publish_untracked(topic, payload))
        else:
            self._command(lambda: self._client.publish(topic, payload, qos=PUBLISH_QOS))

    def ping(self) -> None:
        self._command(self._client.ping)

    def drop(self) -> None:
        """Close the TCP connection without DISCONNECT; no event follows."""
        self._dropped = True
        self._wake()

    def _command(self, command: Callable[[], Any]) -> None:
        self._commands.put(command)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the thread has ended, nobody is left to be woken
            self._wake_write.send(b"\0")

    # --- the connection's own thread ----------------------------------------------------------------

    def _post(self, event: Event) -> None:
        if not self._dropped:
            self._post_event(event)

    def _lost(self, reason: str) -> None:
        self._post(MqttLost(reason))
        self._dropped = True

    def _connect(self) -> None:
        address = self._effect.address
        if address.tls:
            if self._tls is None:
                raise TlsUnsupportedError(f"no TLS with {self._peer}: this firmware has none")
            self._client.tls_set_context(client_context(self._tls, address.host))
        self._client.connect(address.host, address.port, keepalive=self._effect.keepalive)

    def _tls_failed(self, error: Exception) -> str:
        """Say on the console what TLS refused; returns the reason of any failure."""
        refusal = str(error) if isinstance(error, CloudSdkError) else tls_failure(error, self._peer)
        if refusal is None:
            return str(error)
        self._post(ConsoleOutput(console.error("tls", refusal)))
        return refusal

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: Any, _props: object
    ) -> None:
        if reason.value == 0:
            self._post(MqttConnected())
        else:
            self._post(MqttRefused(_CONNACK.get(reason.value, reason.value)))

    def run(self) -> None:
        try:
            self._connect()
        except (OSError, ValueError, CloudSdkError) as exc:
            reason = self._tls_failed(exc)
            _log.debug("cannot reach the broker: %s", reason)
            self._post(MqttUnreachable(reason))
        else:
            self._run_loop()
        finally:
            self._wake_read.close()
            self._wake_write.close()

    def _run_loop(self) -> None:
        try:
            self._loop()
        except Exception as exc:  # whatever a malformed packet makes of paho-mqtt's parser
            _log.debug("connection ends on a malformed packet: %s", type(exc).__name__)
            self._lost("malformed packet")

    def _loop(self) -> None:
        connection = self._client.socket()
        if connection is None:
            self._lost("connection closed")
            return
        with contextlib.closing(connection), selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)
            while not self._dropped:
                wanted = selectors.EVENT_READ
                if self._client.want_write():
                    wanted |= selectors.EVENT_WRITE
                selector.modify(connection, wanted)
                for key, ready in selector.select(_HOUSEKEEPING):
                    if key.fileobj is self._wake_read:
                        self._run_commands()
                        continue
                    if ready & selectors.EVENT_READ:
                        self._client.loop_read()
                    if ready & selectors.EVENT_WRITE:
                        self._client.loop_write()
                if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._lost("connection lost")

    def _run_commands(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        while not self._dropped and not self._commands.empty():
            self._commands.get()()
