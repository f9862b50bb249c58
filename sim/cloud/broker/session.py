"""One client's session: its subscriptions and the messages on their way to it."""

from collections import deque
from dataclasses import dataclass

from cloudsdk.mqtt.packets import Packet, PubAck, PubComp, Publish, PubRec, PubRel
from sim.cloud.broker.limits import BrokerLimits

_MAX_PACKET_ID = 65535


@dataclass(slots=True)
class _Outgoing:
    message: Publish
    released: bool = False  # PUBREC came, PUBCOMP is awaited


class Session:
    """State that MQTT 3.1.1 section 4.1 keeps per client id. `connection` is None while it is offline."""

    __slots__ = (
        "_inflight",
        "_last_id",
        "_limits",
        "_pending_bytes",
        "_queue",
        "clean",
        "client_id",
        "connection",
        "received",
        "subscriptions",
    )

    def __init__(self, client_id: str, clean: bool, limits: BrokerLimits) -> None:
        self.client_id = client_id
        self.clean = clean
        self.connection: int | None = None
        self.subscriptions: dict[str, int] = {}
        self.received: set[int] = set()  # QoS 2 identifiers received and not yet released
        self._limits = limits
        self._inflight: dict[int, _Outgoing] = {}
        self._queue: deque[Publish] | None = None  # None while empty: most clients never need the memory
        self._pending_bytes = 0
        self._last_id = 0

    def deliver(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> list[Packet] | None:
        """Take a message for the client.

        Returns what to send now (nothing if it was queued), or None if it was dropped: QoS 0 while offline,
        or a full queue.
        """
        if qos == 0:
            return [Publish(topic, payload, 0, retain)] if self.connection is not None else None
        size = len(topic) + len(payload)
        if self._pending_bytes + size > self._limits.max_pending_bytes:
            return None
        if self.connection is not None and len(self._inflight) < self._limits.max_inflight:
            self._pending_bytes += size
            return [self._launch(topic, payload, qos, retain)]
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= self._limits.max_queued:
            return None
        self._pending_bytes += size
        self._queue.append(Publish(topic, payload, qos, retain))
        return []

    def acknowledged(self, packet: PubAck | PubRec | PubComp) -> list[Packet]:
        """The client acknowledged a message; returns what to send next. Unknown identifiers are ignored."""
        packet_id = packet.packet_id
        outgoing = self._inflight.get(packet_id)
        if isinstance(packet, PubRec):
            if outgoing is not None and outgoing.message.qos == 2 and not outgoing.released:
                outgoing.released = True
                # PUBRELs are repeated in the order of the PUBRECs (MQTT-4.6.0-4).
                self._inflight[packet_id] = self._inflight.pop(packet_id)
            return [PubRel(packet_id)]  # for an unknown one too, so that the client can finish
        if outgoing is not None and (
            outgoing.released if isinstance(packet, PubComp) else outgoing.message.qos == 1
        ):
            del self._inflight[packet_id]
            self._pending_bytes -= len(outgoing.message.topic) + len(outgoing.message.payload)
        return self._from_queue()

    def resumed(self) -> list[Packet]:
        """What to send when the client is back: unfinished messages first (MQTT 3.1.1 section 4.4)."""
        unfinished: list[Packet] = []
        for packet_id, outgoing in self._inflight.items():
            if outgoing.released:
                unfinished.append(PubRel(packet_id))
            else:
                sent = outgoing.message
                unfinished.append(
                    Publish(sent.topic, sent.payload, sent.qos, sent.retain, dup=True, packet_id=packet_id)
                )
        return unfinished + self._from_queue()

    def _from_queue(self) -> list[Packet]:
        packets: list[Packet] = []
        if self._queue is None:
            return packets
        while self._queue and len(self._inflight) < self._limits.max_inflight:
            waiting = self._queue.popleft()
            packets.append(self._launch(waiting.topic, waiting.payload, waiting.qos, waiting.retain))
        if not self._queue:
            self._queue = None
        return packets

    def _launch(self, topic: str, payload: bytes, qos: int, retain: bool) -> Publish:
        packet_id = self._last_id
        while True:
            packet_id = packet_id % _MAX_PACKET_ID + 1
            if packet_id not in self._inflight:
                break
        self._last_id = packet_id
        sent = Publish(topic, payload, qos, retain, packet_id=packet_id)
        self._inflight[packet_id] = _Outgoing(sent)
        return sent
