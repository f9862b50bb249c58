"""MQTT for one device, on paho-mqtt; its loop is driven by an `IoLoop`, which many devices may share."""

import logging
import selectors
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
from cloudsdk.io_loop import Connection, IoLoop
from cloudsdk.route import Link, Route
from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.tls_context import client_context, tls_failure

_log = logging.getLogger(__name__)

WILL_QOS: Final = 1
PUBLISH_QOS: Final = 1
CONSTANT_PACKET_ID: Final = 1
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


class MqttConnection:
    """One MQTT connection from CONNECT to its end; `post` receives its events until `drop`.

    Connecting takes a thread of its own for as long as it lasts; after that everything runs in `loop`.
    """

    def __init__(
        self,
        effect: MqttConnect,
        loop: IoLoop,
        *,
        constant_packet_id: bool,
        post: Callable[[Event], None],
        route: Route,
        tls: TlsSettings | None = None,
    ) -> None:
        self.closed = threading.Event()  # the socket is
        self._effect = effect
        self._loop = loop
        self._constant_packet_id = constant_packet_id
        self._post_event = post
        self._route = route
        self._tls = tls
        self._peer = f"{effect.address.host}:{effect.address.port}"
        self._dropped = False
        self._socket: Connection | None = None  # while the loop watches it
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

    def start(self) -> None:
        threading.Thread(target=self._connect, name="mqtt-connect", daemon=True).start()

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
        self._command(lambda: None)

    def _command(self, command: Callable[[], object]) -> None:
        self._loop.call(lambda: self._do(command))

    # --- the connecting thread ----------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            self._open()
        except (OSError, ValueError, CloudSdkError) as exc:
            reason = self._tls_failed(exc)
            _log.debug("cannot reach the broker: %s", reason)
            self.closed.set()
            self._post(MqttUnreachable(reason))
            return
        connection = self._client.socket()
        if connection is None:
            self.closed.set()
            self._lost("connection closed")
        elif not self._loop.call(lambda: self._adopt(connection)):
            connection.close()
            self.closed.set()

    def _open(self) -> None:
        address = self._effect.address
        if address.tls:
            if self._tls is None:
                raise TlsUnsupportedError(f"no TLS with {self._peer}: this firmware has none")
            self._client.tls_set_context(client_context(self._tls, address.host))
        host, port = self._route(Link.MQTT, address.host, address.port)
        self._client.connect(host, port, keepalive=self._effect.keepalive)

    # --- the loop's thread --------------------------------------------------------------------------

    def ready(self, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            self._do(self._client.loop_read)
        if mask & selectors.EVENT_WRITE:
            self._do(self._client.loop_write)

    def tick(self) -> None:
        """The library's own keepalive."""
        self._do(self._check)

    def close(self) -> None:
        self._dropped = True
        self._do(lambda: None)

    def _adopt(self, connection: Connection) -> None:
        self._socket = connection
        self._do(lambda: None)

    def _check(self) -> None:
        if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._lost("connection lost")

    def _do(self, command: Callable[[], object]) -> None:
        """Run `command` if there still is a connection, then watch or end it as it wants."""
        connection = self._socket
        if connection is None:
            return
        if not self._dropped:
            try:
                command()
            except Exception as exc:  # whatever a malformed packet makes of paho-mqtt's parser
                _log.debug("connection ends on a malformed packet: %s", type(exc).__name__)
                self._lost("malformed packet")
        if self._client.socket() is None and not self._dropped:
            self._lost("connection closed")
        if self._dropped:
            self._socket = None
            self._loop.forget(connection)
            connection.close()
            self.closed.set()
            return
        wanted = selectors.EVENT_READ
        if self._client.want_write():
            wanted |= selectors.EVENT_WRITE
        self._loop.watch(connection, wanted, self)

    # --- either of the two --------------------------------------------------------------------------

    def _tls_failed(self, error: Exception) -> str:
        """Say on the console what TLS refused; returns the reason of any failure."""
        refusal = str(error) if isinstance(error, CloudSdkError) else tls_failure(error, self._peer)
        if refusal is None:
            return str(error)
        self._post(ConsoleOutput(console.error("tls", refusal)))
        return refusal

    def _post(self, event: Event) -> None:
        if not self._dropped:
            self._post_event(event)

    def _lost(self, reason: str) -> None:
        self._post(MqttLost(reason))
        self._dropped = True

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: Any, _props: object
    ) -> None:
        if reason.value == 0:
            self._post(MqttConnected())
        else:
            self._post(MqttRefused(_CONNACK.get(reason.value, reason.value)))
