"""MQTT PUBLISH packets delivered twice. Sans-IO: bytes in, bytes out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cloudsdk.mqtt.errors import MqttError, PacketTooLargeError
from cloudsdk.mqtt.packets import Decoder, PubAck, Publish, encode, frame
from sim.faults.network.rules import Direction, Duplicates

MAX_PACKET: Final = 1024 * 1024  # bytes; a longer one ends the looking into
_HEADER: Final = 5  # bytes of the longest fixed header (MQTT 3.1.1 section 2.2)
_CONNECT: Final = 0x10  # the first byte a client sends (MQTT 3.1.1 section 3.1)


class Duplicator:
    """Both directions of one connection.

    The packet that is delivered twice is acknowledged twice, too; the second acknowledgement ends here, since
    its sender sent once. What is no MQTT 3.1.1 passes as it is.
    """

    def __init__(self, wanted: Callable[[Direction], Duplicates]) -> None:
        self._wanted = wanted
        self._partial = {direction: bytearray() for direction in Direction}
        self._repeated: dict[Direction, Counter[int]] = {direction: Counter() for direction in Direction}
        self._is_mqtt: bool | None = None  # unknown before the first byte up

    def feed(self, direction: Direction, data: bytes) -> bytes:
        """What to deliver for `data`; the start of a packet is held back until the packet is whole."""
        if self._is_mqtt is None and direction is Direction.UP:
            self._is_mqtt = data[0] == _CONNECT
        partial = self._partial[direction]
        partial += data
        delivered: list[bytes] = []
        if self._is_mqtt:
            try:
                self._take_packets(direction, partial, delivered)
            except MqttError:
                self._is_mqtt = False
        if not self._is_mqtt:
            delivered.append(bytes(partial))
            partial.clear()
        return b"".join(delivered)

    def rest(self, direction: Direction) -> bytes:
        """What is held back when the stream ends."""
        return bytes(self._partial[direction])

    def _take_packets(self, direction: Direction, partial: bytearray, delivered: list[bytes]) -> None:
        while partial:
            _, stop = frame(bytes(partial[:_HEADER]), 0)
            if stop > MAX_PACKET:
                raise PacketTooLargeError(f"packet of {stop} bytes, the limit is {MAX_PACKET}")
            if stop > len(partial):
                return
            delivered += self._deliveries(direction, bytes(partial[:stop]))
            del partial[:stop]

    def _deliveries(self, direction: Direction, raw: bytes) -> list[bytes]:
        (packet,) = Decoder(MAX_PACKET).feed(raw)
        match packet:
            case Publish(qos=0) if self._wanted(direction) is Duplicates.ALL:
                return [raw, raw]
            case Publish(qos=1) if self._wanted(direction) is not Duplicates.NONE:
                self._repeated[direction][packet.packet_id] += 1
                return [raw, encode(replace(packet, dup=True))]
            case PubAck(packet_id):
                sender = Direction.UP if direction is Direction.DOWN else Direction.DOWN
                if self._repeated[sender][packet_id] > 0:
                    # The acknowledgement of the first delivery is dropped, that of the second passes:
                    # the sender must not use the identifier again while a duplicate may be under way.
                    self._repeated[sender][packet_id] -= 1
                    return []
        return [raw]
