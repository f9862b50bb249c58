"""The asyncio shell around `BrokerCore`: sockets, time, and the calls into the cloud."""

import asyncio
import itertools
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from cloudsdk.mqtt.errors import MqttError
from cloudsdk.mqtt.packets import Decoder, Packet, ReturnCode, encode
from sim.cloud.broker.core import BrokerCore
from sim.cloud.broker.delivery import Deliveries
from sim.cloud.broker.effects import Authenticate, Close, Effect, Send
from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.broker.policy import BrokerPolicy

_log = logging.getLogger(__name__)

_LISTEN_BACKLOG = 1024  # connections the kernel holds while a fleet comes back at once
_READ_SIZE = 4096  # bytes per read; bounds how long one client is served in a row, and its held-back packets


def _random_client_id() -> str:
    return "auto-" + secrets.token_hex(8)


class EmbeddedBroker:
    """An MQTT 3.1.1 broker in the running event loop. All methods belong to the loop that started it.

    `clock` gives seconds and drives keepalive and the connect timeout.
    """

    def __init__(
        self,
        policy: BrokerPolicy,
        *,
        limits: BrokerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.port = 0
        self._policy = policy
        self._limits = limits if limits is not None else BrokerLimits()
        self._clock = clock
        self._core = BrokerCore(policy, self._limits, new_client_id=_random_client_id)
        self._deliveries = Deliveries(policy, room=self._limits.max_backlog // 2, on_room=self._release)
        self._numbers = itertools.count(1)
        self._connections: dict[int, _Connection] = {}
        self._authentications: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_closed = asyncio.Event()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen on an address, with TLS if given; port 0 takes any free one, `port` tells which.

        Raises OSError as it comes.
        """
        if self._server is not None:
            raise RuntimeError("the broker is already listening")
        loop = asyncio.get_running_loop()
        buffer = memoryview(bytearray(_READ_SIZE))
        self._server = await loop.create_server(
            lambda: _Connection(self, self._limits, buffer),
            host,
            port,
            backlog=_LISTEN_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self._limits.connect_timeout if tls is not None else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweep()

    async def stop(self) -> None:
        """Stop listening, end every connection (wills are published), and wait for the callbacks.

        Slow callbacks and slow clients get `BrokerLimits.close_timeout`, then they are cut off.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for task in self._authentications:
            task.cancel()
        for number in list(self._connections):
            self._apply(self._core.closed(number, "the broker stops"))
        await self._deliveries.finish(self._limits.close_timeout)
        if self._connections:
            self._all_closed.clear()
            await self._all_closed.wait()
        await server.wait_closed()

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> int:
        """Send a message to the subscribers of `topic`; returns how many were sent it or have it queued.

        Raises `InvalidTopicError`, `PacketTooLargeError`, and ValueError for a QoS other than 0, 1, 2.
        """
        receivers, effects = self._core.publish(topic, payload, qos)
        self._apply(effects)
        return receivers

    def drop(self, client_id: str, reason: str) -> None:
        """End the connection of a client, if it has one, and forget its session."""
        self._apply(self._core.dropped(client_id, reason))

    def is_connected(self, client_id: str) -> bool:
        """True between the client's CONNACK 0 and the end of its connection."""
        return self._core.is_connected(client_id)

    # Called by _Connection

    def _opened(self, connection: "_Connection", address: str) -> int:
        number = next(self._numbers)
        self._connections[number] = connection
        if self._server is None:
            connection.close()
        else:
            self._apply(self._core.opened(number, address, self._clock()))
        return number

    def _received(self, number: int, packet: Packet) -> None:
        self._apply(self._core.received(number, packet, self._clock()))

    def _failed(self, number: int, reason: str) -> None:
        self._apply(self._core.closed(number, reason))

    def _lost(self, number: int, reason: str) -> None:
        del self._connections[number]
        if not self._connections:
            self._all_closed.set()
        self._apply(self._core.closed(number, reason))

    # Carrying out effects

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    if (connection := self._connections.get(effect.connection)) is not None:
                        connection.send(encode(effect.packet))
                case Close():
                    if (connection := self._connections.get(effect.connection)) is not None:
                        connection.close()
                case Authenticate():
                    self._start_authentication(effect)
                case _:
                    if self._deliveries.put(effect) >= self._limits.max_backlog:
                        self._hold(effect.client_id)

    def _start_authentication(self, request: Authenticate) -> None:
        connection = self._connections[request.connection]
        connection.hold()
        if self._deliveries.backlog(request.client_id) >= self._limits.max_backlog:
            # Reconnecting must not get around the bound on unhandled messages.
            self._answer(request, ReturnCode.SERVER_UNAVAILABLE)
            return
        task = asyncio.get_running_loop().create_task(self._authenticate(connection, request))
        self._authentications.add(task)
        task.add_done_callback(self._authentications.discard)

    async def _authenticate(self, connection: "_Connection", request: Authenticate) -> None:
        try:
            known = await self._policy.authenticate(request.client_id, request.username, request.password)
            code = ReturnCode.ACCEPTED if known else ReturnCode.NOT_AUTHORIZED
        except Exception:
            _log.exception("authentication of client %r failed", request.client_id)
            code = ReturnCode.SERVER_UNAVAILABLE
        self._answer(request, code)
        if self._deliveries.backlog(request.client_id) < self._limits.max_backlog:
            self._resume(request.connection, connection)

    def _answer(self, request: Authenticate, code: ReturnCode) -> None:
        self._apply(self._core.authenticated(request.connection, code, self._clock()))

    def _hold(self, client_id: str) -> None:
        number = self._core.connection_of(client_id)
        if number is not None and (connection := self._connections.get(number)) is not None:
            self._core.paused(number)
            connection.hold()

    def _release(self, client_id: str) -> None:
        number = self._core.connection_of(client_id)
        if number is not None and (connection := self._connections.get(number)) is not None:
            self._resume(number, connection)

    def _resume(self, number: int, connection: "_Connection") -> None:
        self._core.resumed(number, self._clock())
        connection.release()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep_timer = loop.call_later(self._limits.sweep_interval, self._sweep)
        self._apply(self._core.tick(self._clock()))


class _Connection(asyncio.BufferedProtocol):
    """One socket: bytes to packets, and the bounds on both directions.

    All connections share one read buffer: a selector loop fills it and reports the bytes in one go.
    """

    __slots__ = (
        "_broker",
        "_buffer",
        "_closing",
        "_decoder",
        "_end_reason",
        "_fault",
        "_held",
        "_limits",
        "_number",
        "_packets",
        "_transport",
    )

    _transport: asyncio.Transport
    _number: int

    def __init__(self, broker: EmbeddedBroker, limits: BrokerLimits, buffer: memoryview) -> None:
        self._broker = broker
        self._buffer = buffer
        self._limits = limits
        self._decoder = Decoder(limits.max_packet_size)
        self._packets: deque[Packet] = deque()  # decoded, not yet handled
        self._fault: str | None = None  # what is wrong with the bytes after `_packets`
        self._held = False
        self._closing = False
        self._end_reason = "connection lost"

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.outbound_buffer)
        peer = transport.get_extra_info("peername")
        self._number = self._broker._opened(self, peer[0] if peer else "")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._packets.extend(self._decoder.feed(bytes(self._buffer[:nbytes])))
        except MqttError as error:
            self._packets.extend(error.packets)
            self._fault = str(error)
        self._process()

    def pause_writing(self) -> None:
        self._end_reason = "does not read what it is sent"
        self._closing = True
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._broker._lost(self._number, self._end_reason)

    # Called by EmbeddedBroker

    def send(self, data: bytes) -> None:
        if not self._closing:
            self._transport.write(data)

    def close(self) -> None:
        """Flush and close; what the client sent and nobody handled yet is dropped."""
        if self._closing:
            return
        self._closing = True
        self._transport.close()
        if self._transport.get_write_buffer_size():
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.close_timeout, self._transport.abort)

    def hold(self) -> None:
        """Handle and read nothing more until `release`."""
        if not self._held and not self._closing:
            self._held = True
            self._transport.pause_reading()

    def release(self) -> None:
        if self._held and not self._closing:
            self._held = False
            self._transport.resume_reading()
            self._process()

    def _process(self) -> None:
        while self._packets and not self._held and not self._closing:
            self._broker._received(self._number, self._packets.popleft())
        if self._fault is not None and not self._held and not self._closing:
            self._broker._failed(self._number, self._fault)
