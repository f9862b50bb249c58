"""MQTT of one fleet device: the sans-IO codec on an event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

from cloudsdk import console
from cloudsdk import events as ev
from cloudsdk.errors import CloudSdkError
from cloudsdk.mqtt import packets as mq
from cloudsdk.mqtt.errors import MqttError
from cloudsdk.tls_context import tls_failure
from sim.fleet.sockets import Sockets

MAX_PACKET: Final = 256 * 1024  # bytes of one packet from the broker
SUBSCRIBE_ID: Final = 1  # packet id (cloudsdk-protocol 2.1)
_PUBLISH_QOS: Final = 1
_WILL_QOS: Final = 1
_PING: Final = mq.encode(mq.PingReq())
_BUFFER: Final = memoryview(bytearray(64 * 1024))  # of whichever connection reads; nothing stays in it
_LAST_ID: Final = 0xFFFF


class MqttOwner(Protocol):
    """The device."""

    def mqtt_event(self, link: "MqttLink", event: ev.Event, /) -> None: ...

    def mqtt_acknowledged(self, seconds: float, /) -> None: ...


class MqttLink(asyncio.BufferedProtocol):
    """One connection from CONNECT to its end; `owner` hears of it until `drop`."""

    __slots__ = (
        "_constant_id",
        "_decoder",
        "_loop",
        "_owner",
        "_packet_id",
        "_pending",
        "_sent",
        "_sent_id",
        "_task",
        "_transport",
    )

    def __init__(
        self, owner: MqttOwner, effect: ev.MqttConnect, sockets: Sockets, *, constant_id: bool
    ) -> None:
        self._owner: MqttOwner | None = owner
        self._loop = asyncio.get_running_loop()
        self._constant_id = constant_id
        self._packet_id = SUBSCRIBE_ID
        self._sent = 0.0  # when the PUBLISH `_sent_id` was sent
        self._sent_id = 0
        self._decoder = mq.Decoder(MAX_PACKET)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = self._loop.create_task(self._open(effect, sockets))

    # --- called by the device -----------------------------------------------------------------------

    def subscribe(self, topic_filter: str) -> None:
        self._send(mq.encode(mq.Subscribe(SUBSCRIBE_ID, ((topic_filter, 0),))))

    def publish(self, topic: str, payload: bytes) -> None:
        if not self._constant_id:
            self._packet_id = self._packet_id % _LAST_ID + 1
        if not self._sent_id:
            self._sent, self._sent_id = self._loop.time(), self._packet_id
        self._send(mq.encode(mq.Publish(topic, payload, _PUBLISH_QOS, packet_id=self._packet_id)))

    def ping(self) -> None:
        self._send(_PING)

    def drop(self) -> None:
        """Close the TCP connection without DISCONNECT; no event follows."""
        self._owner = None
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def break_off(self, cause: str) -> None:
        """Lose the connection, or the attempt at one, as if the network had."""
        if self._task is None:
            self._end(ev.MqttLost(cause))
        else:
            self._task.cancel()
            self._end(ev.MqttUnreachable(cause))

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # --- the connection -----------------------------------------------------------------------------

    async def _open(self, effect: ev.MqttConnect, sockets: Sockets) -> None:
        address = effect.address
        try:
            transport = await sockets.open(self, address.host, address.port, tls=address.tls)
        except (OSError, CloudSdkError) as exc:
            refusal = str(exc) if isinstance(exc, CloudSdkError) else tls_failure(exc, address.host)
            if refusal is not None and self._owner is not None:
                self._owner.mqtt_event(self, ev.ConsoleOutput(console.error("tls", refusal)))
            self._end(ev.MqttUnreachable(refusal or str(exc)))
            return
        finally:
            self._task = None
        connect = mq.Connect(
            effect.client_id,
            keepalive=effect.keepalive,
            will=mq.Will(effect.will_topic, effect.will_payload, _WILL_QOS),
            username=effect.user,
            password=effect.password.encode(),
        )
        transport.write(mq.encode(connect))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def get_buffer(self, _size: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, count: int) -> None:
        try:
            packets = self._decoder.feed(bytes(_BUFFER[:count]))
        except MqttError as error:
            for packet in error.packets:
                self._take(packet)
            self._end(ev.MqttLost("malformed packet"))
            return
        for packet in packets:
            self._take(packet)

    def _take(self, packet: mq.Packet) -> None:
        owner = self._owner
        if owner is None:
            return
        taken = _TAKEN.get(type(packet))
        if taken is not None:
            taken(self, owner, packet)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._transport is not None:  # else it was closed on purpose, or never open
            self._end(ev.MqttLost("connection closed"))

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        """The broker does not read: what a device has to say must not pile up."""
        self._end(ev.MqttLost("the broker does not read"))

    def resume_writing(self) -> None:
        """It never waits."""

    def _end(self, event: ev.Event) -> None:
        owner = self._owner
        self._owner = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        if owner is not None:
            owner.mqtt_event(self, event)

    def _published(self, owner: MqttOwner, packet: mq.Publish) -> None:
        owner.mqtt_event(self, ev.MqttMessage(packet.topic, packet.payload))
        if packet.qos == 1:
            self._send(mq.encode(mq.PubAck(packet.packet_id)))
        elif packet.qos:
            self._send(mq.encode(mq.PubRec(packet.packet_id)))

    def _released(self, _owner: MqttOwner, packet: mq.PubRel) -> None:
        self._send(mq.encode(mq.PubComp(packet.packet_id)))

    def _acknowledged(self, owner: MqttOwner, packet: mq.PubAck) -> None:
        if packet.packet_id == self._sent_id:
            self._sent_id = 0
            owner.mqtt_acknowledged(self._loop.time() - self._sent)

    def _connected(self, owner: MqttOwner, packet: mq.ConnAck) -> None:
        code = packet.return_code
        owner.mqtt_event(self, ev.MqttRefused(code) if code else ev.MqttConnected())

    def _subscribed(self, owner: MqttOwner, _packet: mq.SubAck) -> None:
        owner.mqtt_event(self, ev.MqttSubscribed())

    def _pong(self, owner: MqttOwner, _packet: mq.PingResp) -> None:
        owner.mqtt_event(self, ev.MqttPong())


#: By type of packet; a client has no use for the others.
_TAKEN: Final[dict[type, Callable[..., None]]] = {
    mq.Publish: MqttLink._published,
    mq.PubRel: MqttLink._released,
    mq.PubAck: MqttLink._acknowledged,
    mq.ConnAck: MqttLink._connected,
    mq.SubAck: MqttLink._subscribed,
    mq.PingResp: MqttLink._pong,
}
