"""The broker without IO: every event is a method that returns the effects it has.

The shell numbers connections, decodes their bytes, tells the time (seconds, any origin) and carries out
effects in order. Protocol rules are those of MQTT 3.1.1; where it leaves a choice:

- A message that the rules forbid is acknowledged and dropped, because a device cannot be told otherwise.
- A refused or invalid topic filter is answered 0x80, the connection lives on.
- Overlapping subscriptions of one client yield one copy, with the highest QoS.
- A message for a client whose queue is full is dropped.
"""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloudsdk.mqtt import topics
from cloudsdk.mqtt.errors import InvalidTopicError, PacketTooLargeError
from cloudsdk.mqtt.packets import (
    PROTOCOL_LEVEL,
    SUBSCRIBE_FAILED,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReturnCode,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from sim.cloud.broker.effects import Authenticate, Close, Connected, Disconnected, Effect, Message, Send
from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.broker.policy import TopicRules
from sim.cloud.broker.session import Session
from sim.cloud.broker.subscriptions import SubscriptionTree

_log = logging.getLogger(__name__)

_KEEPALIVE_GRACE = 1.5  # MQTT 3.1.1 section 3.1.2.10
_LOGGED_TOPIC = 80  # characters
_PUBLISH_OVERHEAD = 2 + 2 + 5  # bytes: topic length, packet id, largest fixed header


@dataclass(slots=True)
class _Link:
    """One connection. `session` is None until its CONNECT is accepted."""

    connection: int
    address: str
    deadline: float  # clock time at which it will have been silent too long
    patience: float = math.inf  # seconds it may be silent
    connect: Connect | None = None  # being authenticated
    session: Session | None = None
    will: Will | None = None
    warned: bool = False  # so that forbidden topics cost one log line per connection


class BrokerCore:
    """Sessions, subscriptions, retained messages and routing.

    `new_client_id` names clients that leave the name to the broker.
    """

    def __init__(
        self,
        rules: TopicRules,
        limits: BrokerLimits,
        *,
        new_client_id: Callable[[], str],
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._new_client_id = new_client_id
        self._links: dict[int, _Link] = {}
        self._full = False
        self._sessions: dict[str, Session] = {}
        self._offline: dict[str, Session] = {}  # oldest first
        self._subscriptions: SubscriptionTree[Session] = SubscriptionTree()
        self._retained: dict[str, Publish] = {}

    def is_connected(self, client_id: str) -> bool:
        """True between the client's CONNACK 0 and the end of its connection."""
        return self.connection_of(client_id) is not None

    def connection_of(self, client_id: str) -> int | None:
        """The connection of a connected client."""
        session = self._sessions.get(client_id)
        return session.connection if session is not None else None

    def opened(self, connection: int, address: str, now: float) -> list[Effect]:
        """A client connected by TCP."""
        if len(self._links) >= self._limits.max_connections:
            if not self._full:
                _log.warning("limit of %d connections reached: refusing more", self._limits.max_connections)
                self._full = True
            return [Close(connection)]
        self._full = False
        self._links[connection] = _Link(connection, address, now + self._limits.connect_timeout)
        return []

    def received(self, connection: int, packet: Packet, now: float) -> list[Effect]:
        """A client sent a packet. Packets of a connection that is gone are ignored."""
        effects: list[Effect] = []
        link = self._links.get(connection)
        if link is None:
            return effects
        if link.session is None:
            if isinstance(packet, Connect) and link.connect is None:
                self._connect(link, packet, effects)
            else:
                self._end(link, f"{type(packet).__name__} before the connection was accepted", effects)
            return effects
        link.deadline = now + link.patience
        self._handle(link, link.session, packet, effects)
        return effects

    def authenticated(self, connection: int, code: ReturnCode, now: float) -> list[Effect]:
        """The answer to `Authenticate`: anything but `ACCEPTED` refuses the client."""
        effects: list[Effect] = []
        link = self._links.get(connection)
        if link is None or link.connect is None:
            return effects
        if code is ReturnCode.ACCEPTED:
            self._accept(link, link.connect, now, effects)
        else:
            self._refuse(link, code, effects)
        return effects

    def closed(self, connection: int, reason: str) -> list[Effect]:
        """A connection broke or has to be given up."""
        effects: list[Effect] = []
        link = self._links.get(connection)
        if link is not None:
            self._end(link, reason, effects)
        return effects

    def dropped(self, client_id: str, reason: str) -> list[Effect]:
        """The cloud knows a client no more: its connection ends, and nothing is kept of its session."""
        effects: list[Effect] = []
        connection = self.connection_of(client_id)
        if connection is not None:
            self._end(self._links[connection], reason, effects)
        session = self._sessions.get(client_id)
        if session is not None:
            self._forget(session)
        return effects

    def paused(self, connection: int) -> None:
        """Reading from a connected client stops: until `resumed` it cannot prove that it is alive."""
        link = self._links.get(connection)
        if link is not None and link.session is not None:
            link.deadline = math.inf

    def resumed(self, connection: int, now: float) -> None:
        """Reading from a connected client starts again."""
        link = self._links.get(connection)
        if link is not None and link.session is not None:
            link.deadline = now + link.patience

    def tick(self, now: float) -> list[Effect]:
        """Time passed: close the connections that were silent too long."""
        effects: list[Effect] = []
        for link in [link for link in self._links.values() if link.deadline <= now]:
            reason = "no CONNECT in time" if link.session is None else "keepalive expired"
            self._end(link, reason, effects)
        return effects

    def publish(self, topic: str, payload: bytes, qos: int) -> tuple[int, list[Effect]]:
        """A message from the cloud. Returns the number of sessions that took it, and the effects.

        Raises `InvalidTopicError`, `PacketTooLargeError`, and ValueError for a QoS other than 0, 1, 2.
        """
        if not topics.valid_topic(topic):
            raise InvalidTopicError(
                f"cannot publish to {topic[:_LOGGED_TOPIC]!r}: empty, too long, or with a wildcard"
            )
        size = len(topic.encode()) + len(payload) + _PUBLISH_OVERHEAD
        if size > self._limits.max_packet_size:
            raise PacketTooLargeError(f"message of {size} bytes, the limit is {self._limits.max_packet_size}")
        if qos not in (0, 1, 2):
            raise ValueError(f"QoS is 0, 1 or 2, not {qos}")
        effects: list[Effect] = []
        return self._route(topic, payload, qos, effects), effects

    # Connections

    def _connect(self, link: _Link, packet: Connect, effects: list[Effect]) -> None:
        if packet.protocol_level != PROTOCOL_LEVEL:
            self._refuse(link, ReturnCode.UNACCEPTABLE_PROTOCOL, effects)
            return
        client_id = packet.client_id
        if len(client_id) > self._limits.max_client_id or not (client_id or packet.clean_session):
            self._refuse(link, ReturnCode.IDENTIFIER_REJECTED, effects)
            return
        if not client_id:
            client_id = self._new_client_id()
            packet = Connect(client_id, True, packet.keepalive, packet.will, packet.username, packet.password)
        link.connect = packet
        effects.append(Authenticate(link.connection, client_id, packet.username, packet.password))

    def _refuse(self, link: _Link, code: ReturnCode, effects: list[Effect]) -> None:
        effects.append(Send(link.connection, ConnAck(code)))
        self._end(link, f"refused, {code.name.lower().replace('_', ' ')}", effects)

    def _accept(self, link: _Link, packet: Connect, now: float, effects: list[Effect]) -> None:
        client_id = packet.client_id
        session = self._sessions.get(client_id)
        if session is not None and session.connection is not None:
            self._end(self._links[session.connection], "taken over by a new connection", effects)
            session = self._sessions.get(client_id)
        self._offline.pop(client_id, None)
        if session is not None and packet.clean_session:
            self._forget(session)
            session = None
        present = session is not None
        if session is None:
            session = self._sessions[client_id] = Session(client_id, packet.clean_session, self._limits)
        session.connection = link.connection
        link.connect = None
        link.session = session
        link.will = packet.will
        if packet.keepalive:
            link.patience = packet.keepalive * _KEEPALIVE_GRACE
        link.deadline = now + link.patience
        effects.append(Send(link.connection, ConnAck(ReturnCode.ACCEPTED, present)))
        effects.append(Connected(client_id, link.address))
        self._send(session, session.resumed(), effects)
        _log.info("client %r connected from %s", client_id, link.address)

    def _end(self, link: _Link, reason: str, effects: list[Effect]) -> None:
        """Forget a connection: the will, then the callback, then the close."""
        del self._links[link.connection]
        session = link.session
        name = session.client_id if session is not None else link.connect.client_id if link.connect else None
        _log.info("client %r from %s: %s", name, link.address, reason)
        if session is not None:
            session.connection = None
            if session.clean:
                self._forget(session)
            else:
                self._keep_offline(session)
            if (will := link.will) is not None:
                message = Publish(will.topic, will.payload, will.qos, will.retain)
                self._message(link, session.client_id, message, effects, is_will=True)
            effects.append(Disconnected(session.client_id))
        effects.append(Close(link.connection))

    def _keep_offline(self, session: Session) -> None:
        self._offline[session.client_id] = session
        while len(self._offline) > self._limits.max_offline_sessions:
            self._forget(next(iter(self._offline.values())))

    def _forget(self, session: Session) -> None:
        for topic_filter in session.subscriptions:
            self._subscriptions.remove(topic_filter, session)
        self._sessions.pop(session.client_id, None)
        self._offline.pop(session.client_id, None)

    # Packets of connected clients

    def _handle(self, link: _Link, session: Session, packet: Packet, effects: list[Effect]) -> None:
        match packet:
            case Publish():
                self._published(link, session, packet, effects)
            case PubAck() | PubRec() | PubComp():
                self._send(session, session.acknowledged(packet), effects)
            case PubRel(packet_id):
                session.received.discard(packet_id)
                effects.append(Send(link.connection, PubComp(packet_id)))
            case PingReq():
                effects.append(Send(link.connection, PingResp()))
            case Subscribe():
                self._subscribe(link, session, packet, effects)
            case Unsubscribe():
                for topic_filter in packet.filters:
                    if session.subscriptions.pop(topic_filter, None) is not None:
                        self._subscriptions.remove(topic_filter, session)
                effects.append(Send(link.connection, UnsubAck(packet.packet_id)))
            case Disconnect():
                link.will = None
                self._end(link, "disconnected", effects)
            case _:
                self._end(link, f"{type(packet).__name__} is not for a client to send", effects)

    def _published(self, link: _Link, session: Session, packet: Publish, effects: list[Effect]) -> None:
        if packet.qos == 1:
            effects.append(Send(link.connection, PubAck(packet.packet_id)))
        elif packet.qos == 2:
            known = packet.packet_id in session.received
            if not known and len(session.received) >= self._limits.max_inbound_qos2:
                self._end(link, "too many QoS 2 messages not released", effects)
                return
            effects.append(Send(link.connection, PubRec(packet.packet_id)))
            if known:
                return
            session.received.add(packet.packet_id)
        self._message(link, session.client_id, packet, effects, is_will=False)

    def _message(
        self, link: _Link, client_id: str, message: Publish, effects: list[Effect], *, is_will: bool
    ) -> None:
        topic = message.topic
        if not self._rules.may_publish(client_id, topic):
            self._warn(link, "client %r may not publish to %r: message dropped", client_id, topic)
            return
        effects.append(Message(client_id, topic, message.payload, is_will))
        if message.retain and not topic.startswith(self._limits.never_retain_prefixes):
            self._retain(message)
        self._route(topic, message.payload, message.qos, effects)

    def _warn(self, link: _Link, line: str, client_id: str, topic: str) -> None:
        _log.log(logging.DEBUG if link.warned else logging.WARNING, line, client_id, topic[:_LOGGED_TOPIC])
        link.warned = True

    def _retain(self, message: Publish) -> None:
        topic = message.topic
        if not message.payload:
            self._retained.pop(topic, None)
        elif topic in self._retained or len(self._retained) < self._limits.max_retained:
            self._retained[topic] = message
        else:
            _log.debug("message not retained: limit of %d reached", self._limits.max_retained)

    def _route(self, topic: str, payload: bytes, qos: int, effects: list[Effect]) -> int:
        receivers = 0
        for session, granted in self._subscriptions.match(topic).items():
            receivers += self._offer(session, Publish(topic, payload, min(qos, granted)), effects)
        return receivers

    def _offer(self, session: Session, message: Publish, effects: list[Effect]) -> bool:
        packets = session.deliver(message)
        if packets is None:
            _log.debug("message for client %r dropped: offline or queue full", session.client_id)
            return False
        self._send(session, packets, effects)
        return True

    def _send(self, session: Session, packets: Iterable[Packet], effects: list[Effect]) -> None:
        if (connection := session.connection) is not None:
            effects.extend(Send(connection, packet) for packet in packets)

    def _subscribe(self, link: _Link, session: Session, packet: Subscribe, effects: list[Effect]) -> None:
        codes = tuple(self._grant(link, session, topic_filter, qos) for topic_filter, qos in packet.filters)
        effects.append(Send(link.connection, SubAck(packet.packet_id, codes)))
        for (topic_filter, _), code in zip(packet.filters, codes, strict=True):
            if code != SUBSCRIBE_FAILED:
                for message in self._retained.values():
                    if topics.matches(topic_filter, message.topic):
                        self._offer(
                            session,
                            Publish(message.topic, message.payload, min(message.qos, code), retain=True),
                            effects,
                        )

    def _grant(self, link: _Link, session: Session, topic_filter: str, qos: int) -> int:
        known = topic_filter in session.subscriptions
        if (
            not topics.valid_filter(topic_filter)
            or topic_filter.count(topics.SEPARATOR) >= self._limits.max_topic_levels
            or (not known and len(session.subscriptions) >= self._limits.max_subscriptions)
            or not self._rules.may_subscribe(session.client_id, topic_filter)
        ):
            self._warn(link, "client %r may not subscribe to %r", session.client_id, topic_filter)
            return SUBSCRIBE_FAILED
        session.subscriptions[topic_filter] = qos
        self._subscriptions.add(topic_filter, session, qos)
        return qos
