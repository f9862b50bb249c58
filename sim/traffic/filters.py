"""Streams that are changed packet by packet or head by head; the rest passes byte for byte. Sans-IO."""

from collections.abc import Callable
from typing import Final, Protocol

from cloudsdk.mqtt.errors import MqttError, PacketTooLargeError
from cloudsdk.mqtt.packets import Decoder, Packet, encode, frame
from sim.traffic.http1 import Body, Head, HttpFramer, Opaque, Piece

MAX_PACKET: Final = 1024 * 1024  # bytes; a longer one ends the looking into
MAX_BODY: Final = 16 * 1024  # bytes of a body that is looked into; activation has a few hundred
_HEADER: Final = 5  # bytes of the longest fixed header (MQTT 3.1.1 section 2.2)


class Filter(Protocol):
    """One direction of a connection: bytes in, bytes out."""

    def feed(self, data: bytes) -> bytes:
        """What becomes of `data`; part of it may be held back."""

    def rest(self) -> bytes:
        """What is held back when the stream ends."""


class Unchanged:
    """The filter that is none."""

    def feed(self, data: bytes) -> bytes:
        return data

    def rest(self) -> bytes:
        return b""


class MqttFramer:
    """Whole MQTT packets with their bytes. What is no MQTT 3.1.1 comes without a packet, for good."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._is_mqtt = True

    def feed(self, data: bytes) -> list[tuple[bytes, Packet | None]]:
        self._partial += data
        found: list[tuple[bytes, Packet | None]] = []
        try:
            while self._is_mqtt and self._partial:
                _, stop = frame(bytes(self._partial[:_HEADER]), 0)
                if stop > MAX_PACKET:
                    raise PacketTooLargeError(f"packet of {stop} bytes, the limit is {MAX_PACKET}")
                if stop > len(self._partial):
                    break
                raw = bytes(self._partial[:stop])
                (packet,) = Decoder(MAX_PACKET).feed(raw)
                del self._partial[:stop]
                found.append((raw, packet))
        except MqttError:
            self._is_mqtt = False
        if not self._is_mqtt:
            found += [(rest, None)] if (rest := self.rest()) else []
        return found

    def rest(self) -> bytes:
        """The start of a packet that never came to its end."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest


class MqttFilter:
    """`change` gives the packet to deliver; the same one leaves its bytes as they are."""

    def __init__(self, change: Callable[[Packet], Packet]) -> None:
        self._change = change
        self._framer = MqttFramer()

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._delivered(raw, packet) for raw, packet in self._framer.feed(data))

    def rest(self) -> bytes:
        return self._framer.rest()

    def _delivered(self, raw: bytes, packet: Packet | None) -> bytes:
        if packet is None:
            return raw
        changed = self._change(packet)
        if changed == packet:
            return raw
        try:
            return encode(changed)
        except MqttError:
            return raw


class HttpFilter:
    """`head` gives the bytes of a head; `body` a body of the same length, for those up to `MAX_BODY`."""

    def __init__(self, head: Callable[[Head], bytes], body: Callable[[bytes], bytes] | None = None) -> None:
        self._head = head
        self._body = body
        self._framer = HttpFramer()
        self._whole: bytearray | None = None  # a body that is collected

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._delivered, self._framer.feed(data)))

    def rest(self) -> bytes:
        return b"".join(map(self._delivered, self._framer.end())) + self._collected()

    def _delivered(self, piece: Piece) -> bytes:
        match piece:
            case Head(length=length):
                wanted = self._body is not None and (length is None or 0 < length <= MAX_BODY)
                self._whole = bytearray() if wanted else None
                return self._head(piece)
            case Opaque(data):
                return data
            case Body(data, last):
                if self._whole is None:
                    return data
                self._whole += data
                return self._collected() if last or len(self._whole) > MAX_BODY else b""

    def _collected(self) -> bytes:
        whole, self._whole = self._whole, None
        if whole is None or self._body is None:
            return b""
        return self._body(bytes(whole))
