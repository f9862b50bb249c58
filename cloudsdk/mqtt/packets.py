"""Sans-IO codec for MQTT 3.1.1 control packets, both directions.

PUBLISH and its acknowledgements are not frozen: a frozen dataclass takes three times as long to make, and a
broker makes several for each message. Nothing changes them.

All integers are big-endian. The codec is strict with one exception the original device needs: its packet
identifiers are uninitialised memory, so a PUBLISH may carry identifier 0 or repeat one that is still
outstanding (cloudsdk-protocol 2.3). The acknowledgements of such a PUBLISH may therefore be 0 as well.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from cloudsdk.mqtt.errors import MalformedPacketError, MqttError, PacketTooLargeError

PROTOCOL_NAME: Final = "MQTT"
PROTOCOL_LEVEL: Final = 4  # MQTT 3.1.1
SUBSCRIBE_FAILED: Final = 0x80  # SUBACK code instead of a granted QoS
MAX_REMAINING_LENGTH: Final = 268_435_455  # bytes; four length bytes of seven bits

_MQTT_3_1: Final = ("MQIsdp", 3)  # protocol name and level
_LENGTH_BYTES: Final = 4
_REMEMBERED_TOPIC: Final = 256  # bytes of the longest topic a decoder keeps for the next packet
_U8: Final = struct.Struct("!B")
_U16: Final = struct.Struct("!H")
_CONNECT_TAIL: Final = struct.Struct("!BH")  # connect flags, keepalive
_CONNACK: Final = struct.Struct("!BB")  # session present, return code
_ACK: Final = struct.Struct("!BBH")  # a whole packet: type and flags, remaining length 2, packet id

_CONNECT, _CONNACK_TYPE, _PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = range(1, 8)
_SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK, _PINGREQ, _PINGRESP, _DISCONNECT = range(8, 15)
_FLAGGED: Final = frozenset({_PUBREL, _SUBSCRIBE, _UNSUBSCRIBE})  # their fixed header flags are 0b0010
_FLAGS: Final = 0b0010

# PUBLISH fixed header flags
_RETAIN: Final = 0x01
_QOS_SHIFT: Final = 1
_QOS_MASK: Final = 0x03
_DUP: Final = 0x08
_MAX_QOS: Final = 2

# CONNECT flags
_RESERVED: Final = 0x01
_CLEAN_SESSION: Final = 0x02
_WILL: Final = 0x04
_WILL_QOS_SHIFT: Final = 3
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USERNAME: Final = 0x80


class ReturnCode(IntEnum):
    """CONNACK return codes (MQTT 3.1.1 table 3.1)."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True)
class Will:
    """The message the server publishes for a client that ends without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT. `keepalive` in seconds, 0 for none. Other levels than 4 decode to `protocol_level` alone."""

    client_id: str
    clean_session: bool = True
    keepalive: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    protocol_level: int = PROTOCOL_LEVEL


@dataclass(frozen=True, slots=True)
class ConnAck:
    """CONNACK. A refusal never has a session present."""

    return_code: ReturnCode = ReturnCode.ACCEPTED
    session_present: bool = False


@dataclass(slots=True, unsafe_hash=True)
class Publish:
    """PUBLISH. `packet_id` is on the wire only for QoS 1 and 2."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0


@dataclass(slots=True, unsafe_hash=True)
class PubAck:
    """PUBACK: QoS 1 done."""

    packet_id: int


@dataclass(slots=True, unsafe_hash=True)
class PubRec:
    """PUBREC: QoS 2 received."""

    packet_id: int


@dataclass(slots=True, unsafe_hash=True)
class PubRel:
    """PUBREL: QoS 2 released."""

    packet_id: int


@dataclass(slots=True, unsafe_hash=True)
class PubComp:
    """PUBCOMP: QoS 2 done."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE: pairs of topic filter and wanted QoS, at least one."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SubAck:
    """SUBACK: for each filter the granted QoS or `SUBSCRIBE_FAILED`."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE: topic filters, at least one."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """UNSUBACK."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class PingReq:
    """PINGREQ."""


@dataclass(frozen=True, slots=True)
class PingResp:
    """PINGRESP."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT."""


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
)


def encode(packet: Packet) -> bytes:
    """The bytes of one packet.

    Raises `MalformedPacketError` if a field does not fit the format and `PacketTooLargeError` if the whole
    exceeds `MAX_REMAINING_LENGTH`. Whether a topic or filter is valid is for `cloudsdk.mqtt.topics` to say.
    """
    try:
        if isinstance(packet, _ACK_TYPES):
            return _ACK.pack(_ACK_HEADERS[type(packet)], _U16.size, packet.packet_id)
        if isinstance(packet, Publish):
            return _encode_publish(packet)
        return _encode_other(packet)
    except struct.error:
        raise MalformedPacketError(f"a number in {type(packet).__name__} does not fit its field") from None


class Decoder:
    """Turns a byte stream into packets.

    `max_packet_size` bounds a whole packet, in bytes, fixed header included. Memory held between calls stays
    below that bound plus one `feed`.
    """

    __slots__ = ("_broken", "_max_packet_size", "_needed", "_partial", "_raw_topic", "_topic")

    def __init__(self, max_packet_size: int) -> None:
        self._max_packet_size = max_packet_size
        self._partial: bytearray | None = None  # most feeds end with a packet
        self._needed = 0  # bytes of `_partial` before another look is worth it
        self._broken = False
        # A peer repeats few topics: the last one is not decoded and checked again.
        self._raw_topic = b""
        self._topic = ""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes, in order.

        Raises `MalformedPacketError`, or `PacketTooLargeError` as soon as the length is known. Neither can be
        recovered from: later calls raise again.
        """
        if self._broken:
            raise MalformedPacketError("an earlier packet broke this stream: close the connection")
        if self._partial is not None:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data = bytes(self._partial)
            self._partial = None

        packets: list[Packet] = []
        start, end = 0, len(data)
        try:
            while start < end:
                header = data[start]
                if header not in _VALID_HEADERS:
                    raise MalformedPacketError(f"no MQTT 3.1.1 packet begins with 0x{header:02x}")
                body = start + 2
                if body <= end and data[start + 1] < 0x80:
                    stop = body + data[start + 1]
                else:
                    body, stop = frame(data, start)
                if stop - start > self._max_packet_size:
                    raise PacketTooLargeError(
                        f"packet of {stop - start} bytes, the limit is {self._max_packet_size}: "
                        "send less or raise the limit"
                    )
                if stop > end:
                    self._needed = stop - start
                    self._partial = bytearray(data[start:])
                    break
                if header in _PUBLISH_HEADERS:
                    packets.append(self._publish(header, data, body, stop))
                else:
                    packets.append(_DECODERS[header](data[body:stop]))
                start = stop
        except MqttError as error:
            self._broken = True
            error.packets = packets
            raise
        return packets

    def _publish(self, header: int, data: bytes, at: int, stop: int) -> Publish:
        """The PUBLISH whose body is `data[at:stop]`: one step, because this is what brokers do all day."""
        topic_at = at + _U16.size
        topic_end = topic_at + (data[at] << 8 | data[at + 1]) if topic_at <= stop else topic_at
        qos = header >> _QOS_SHIFT & _QOS_MASK
        payload_at = topic_end + _U16.size if qos else topic_end
        if payload_at > stop:
            raise MalformedPacketError("packet ends inside its fields")
        raw = data[topic_at:topic_end]
        if raw == self._raw_topic and raw:
            topic = self._topic
        else:
            topic = _topic(raw)
            if len(raw) <= _REMEMBERED_TOPIC:
                self._raw_topic, self._topic = raw, topic
        return Publish(
            topic,
            data[payload_at:stop],
            qos,
            header & _RETAIN != 0,
            header & _DUP != 0,
            data[topic_end] << 8 | data[topic_end + 1] if qos else 0,
        )


def frame(data: bytes, start: int) -> tuple[int, int]:
    """Where the body of the packet at `start` begins and ends; beyond the data if the header is cut."""
    length = 0
    at = start + 1
    for shift in range(0, 7 * _LENGTH_BYTES, 7):
        if at >= len(data):
            return at, at + 1
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, at + length
    raise MalformedPacketError("remaining length of more than four bytes")


def _decode_connect(body: bytes) -> Connect:
    name, at = _text(body, 0)
    level, at = _u8(body, at)
    if name != PROTOCOL_NAME and (name, level) != _MQTT_3_1:
        raise MalformedPacketError("CONNECT for another protocol than MQTT")
    if level != PROTOCOL_LEVEL:
        # Other levels lay out the rest differently; a server answers them by return code 1 alone.
        return Connect("", protocol_level=level)
    flags, at = _u8(body, at)
    keepalive, at = _u16(body, at)
    if flags & _RESERVED:
        raise MalformedPacketError("CONNECT with its reserved flag set")
    if flags & _PASSWORD and not flags & _USERNAME:
        raise MalformedPacketError("CONNECT with a password but no user name")
    client_id, at = _text(body, at)
    will = None
    will_qos = flags >> _WILL_QOS_SHIFT & _QOS_MASK
    if flags & _WILL:
        if will_qos > _MAX_QOS:
            raise MalformedPacketError("CONNECT with will QoS 3")
        raw_topic, at = _binary(body, at)
        topic = _topic(raw_topic)
        payload, at = _binary(body, at)
        will = Will(topic, payload, will_qos, flags & _WILL_RETAIN != 0)
    elif will_qos or flags & _WILL_RETAIN:
        raise MalformedPacketError("CONNECT with will options but no will")
    username = password = None
    if flags & _USERNAME:
        username, at = _text(body, at)
    if flags & _PASSWORD:
        password, at = _binary(body, at)
    _end(body, at)
    return Connect(client_id, flags & _CLEAN_SESSION != 0, keepalive, will, username, password)


def _decode_connack(body: bytes) -> ConnAck:
    present, at = _u8(body, 0)
    code, at = _u8(body, at)
    _end(body, at)
    if present > 1 or code > max(ReturnCode) or (present and code):
        raise MalformedPacketError("CONNACK with reserved values")
    return ConnAck(ReturnCode(code), present == 1)


def _decode_subscribe(body: bytes) -> Subscribe:
    packet_id, at = _nonzero_id(body)
    filters = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        qos, at = _u8(body, at)
        if qos > _MAX_QOS:
            raise MalformedPacketError("SUBSCRIBE asks for more than QoS 2")
        filters.append((topic_filter, qos))
    if not filters:
        raise MalformedPacketError("SUBSCRIBE without a topic filter")
    return Subscribe(packet_id, tuple(filters))


def _decode_suback(body: bytes) -> SubAck:
    packet_id, at = _nonzero_id(body)
    codes = tuple(body[at:])
    if not codes or any(code > _MAX_QOS and code != SUBSCRIBE_FAILED for code in set(codes)):
        raise MalformedPacketError("SUBACK with missing or reserved return codes")
    return SubAck(packet_id, codes)


def _decode_unsubscribe(body: bytes) -> Unsubscribe:
    packet_id, at = _nonzero_id(body)
    filters = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        filters.append(topic_filter)
    if not filters:
        raise MalformedPacketError("UNSUBSCRIBE without a topic filter")
    return Unsubscribe(packet_id, tuple(filters))


def _decode_unsuback(body: bytes) -> UnsubAck:
    packet_id, at = _nonzero_id(body)
    _end(body, at)
    return UnsubAck(packet_id)


_PublishAck = type[PubAck] | type[PubRec] | type[PubRel] | type[PubComp]
_Empty = type[PingReq] | type[PingResp] | type[Disconnect]


def _ack_decoder(packet_type: _PublishAck) -> Callable[[bytes], Packet]:
    def decode(body: bytes) -> Packet:
        if len(body) != _U16.size:
            raise MalformedPacketError("acknowledgement is not just a packet identifier")
        return packet_type(body[0] << 8 | body[1])

    return decode


def _empty_decoder(packet_type: _Empty) -> Callable[[bytes], Packet]:
    packet = packet_type()

    def decode(body: bytes) -> Packet:
        _end(body, 0)
        return packet

    return decode


_EMPTY_TYPES: Final[dict[_Empty, int]] = {PingReq: _PINGREQ, PingResp: _PINGRESP, Disconnect: _DISCONNECT}


def _header(kind: int) -> int:
    return kind << 4 | (_FLAGS if kind in _FLAGGED else 0)


_ACK_TYPES: Final = (PubAck, PubRec, PubRel, PubComp, UnsubAck)
_ACK_HEADERS: Final[dict[_PublishAck | type[UnsubAck], int]] = {
    PubAck: _header(_PUBACK),
    PubRec: _header(_PUBREC),
    PubRel: _header(_PUBREL),
    PubComp: _header(_PUBCOMP),
    UnsubAck: _header(_UNSUBACK),
}

# By fixed header byte; PUBLISH alone has variable flags.
_DECODERS: Final[dict[int, Callable[[bytes], Packet]]] = {
    _header(_CONNECT): _decode_connect,
    _header(_CONNACK_TYPE): _decode_connack,
    _header(_PUBACK): _ack_decoder(PubAck),
    _header(_PUBREC): _ack_decoder(PubRec),
    _header(_PUBREL): _ack_decoder(PubRel),
    _header(_PUBCOMP): _ack_decoder(PubComp),
    _header(_SUBSCRIBE): _decode_subscribe,
    _header(_SUBACK): _decode_suback,
    _header(_UNSUBSCRIBE): _decode_unsubscribe,
    _header(_UNSUBACK): _decode_unsuback,
    **{_header(kind): _empty_decoder(packet_type) for packet_type, kind in _EMPTY_TYPES.items()},
}
_PUBLISH_HEADERS: Final = frozenset(
    _PUBLISH << 4 | dup | qos << _QOS_SHIFT | retain
    for qos in range(_MAX_QOS + 1)
    for retain in (0, _RETAIN)
    for dup in ((0, _DUP) if qos else (0,))
)
_VALID_HEADERS: Final = _PUBLISH_HEADERS | frozenset(_DECODERS)


def _u8(body: bytes, at: int) -> tuple[int, int]:
    if at >= len(body):
        raise MalformedPacketError("packet ends inside its fields")
    return body[at], at + 1


def _u16(body: bytes, at: int) -> tuple[int, int]:
    end = at + _U16.size
    if end > len(body):
        raise MalformedPacketError("packet ends inside its fields")
    return _U16.unpack_from(body, at)[0], end


def _binary(body: bytes, at: int) -> tuple[bytes, int]:
    length, at = _u16(body, at)
    end = at + length
    if end > len(body):
        raise MalformedPacketError("packet ends inside a string")
    return body[at:end], end


def _text(body: bytes, at: int) -> tuple[str, int]:
    raw, end = _binary(body, at)
    return _decoded(raw), end


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedPacketError("string is not UTF-8") from None
    if "\0" in text:
        raise MalformedPacketError("string contains U+0000")
    return text


def _topic(raw: bytes) -> str:
    topic = _decoded(raw)
    if not topic or "+" in topic or "#" in topic:
        raise MalformedPacketError("topic name is empty or has a wildcard")
    return topic


def _filter(body: bytes, at: int) -> tuple[str, int]:
    topic_filter, end = _text(body, at)
    if not topic_filter:
        raise MalformedPacketError("topic filter is empty")
    return topic_filter, end


def _nonzero_id(body: bytes) -> tuple[int, int]:
    packet_id, at = _u16(body, 0)
    if not packet_id:
        raise MalformedPacketError("packet identifier is 0")
    return packet_id, at


def _end(body: bytes, at: int) -> None:
    if at != len(body):
        raise MalformedPacketError("packet is longer than its fields")


def _encode_publish(packet: Publish) -> bytes:
    qos = packet.qos
    if not 0 <= qos <= _MAX_QOS or (packet.dup and not qos):
        raise MalformedPacketError("PUBLISH with QoS outside 0 to 2, or a duplicate of QoS 0")
    header = _PUBLISH << 4 | qos << _QOS_SHIFT
    if packet.retain:
        header |= _RETAIN
    if packet.dup:
        header |= _DUP
    topic = _encoded_text(packet.topic)
    if qos:
        return _packet(header, topic, _U16.pack(packet.packet_id), packet.payload)
    return _packet(header, topic, packet.payload)


def _encode_other(
    packet: Connect | ConnAck | Subscribe | SubAck | Unsubscribe | PingReq | PingResp | Disconnect,
) -> bytes:
    match packet:
        case PingReq() | PingResp() | Disconnect():
            return _packet(_header(_EMPTY_TYPES[type(packet)]))
        case Connect():
            return _encode_connect(packet)
        case ConnAck():
            return _packet(_header(_CONNACK_TYPE), _CONNACK.pack(packet.session_present, packet.return_code))
        case Subscribe():
            pairs = [_encoded_text(name) + _U8.pack(qos) for name, qos in packet.filters]
            return _packet(_header(_SUBSCRIBE), _U16.pack(packet.packet_id), *pairs)
        case SubAck():
            codes = [_U8.pack(code) for code in packet.codes]
            return _packet(_header(_SUBACK), _U16.pack(packet.packet_id), *codes)
        case Unsubscribe():
            names = [_encoded_text(name) for name in packet.filters]
            return _packet(_header(_UNSUBSCRIBE), _U16.pack(packet.packet_id), *names)


def _encode_connect(packet: Connect) -> bytes:
    flags = _CLEAN_SESSION if packet.clean_session else 0
    fields = [_encoded_text(packet.client_id)]
    if packet.will is not None:
        will = packet.will
        if not 0 <= will.qos <= _MAX_QOS:
            raise MalformedPacketError("will with QoS outside 0 to 2")
        flags |= _WILL | will.qos << _WILL_QOS_SHIFT | (_WILL_RETAIN if will.retain else 0)
        fields += [_encoded_text(will.topic), _encoded_binary(will.payload)]
    if packet.username is not None:
        flags |= _USERNAME
        fields.append(_encoded_text(packet.username))
    if packet.password is not None:
        if packet.username is None:
            raise MalformedPacketError("CONNECT with a password but no user name")
        flags |= _PASSWORD
        fields.append(_encoded_binary(packet.password))
    head = _encoded_text(PROTOCOL_NAME) + _U8.pack(packet.protocol_level)
    return _packet(_header(_CONNECT), head, _CONNECT_TAIL.pack(flags, packet.keepalive), *fields)


def _encoded_text(text: str) -> bytes:
    if "\0" in text:
        raise MalformedPacketError("string contains U+0000")
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise MalformedPacketError("string has no UTF-8 form") from None
    return _encoded_binary(raw)


def _encoded_binary(raw: bytes) -> bytes:
    return _U16.pack(len(raw)) + raw


def _packet(header: int, *fields: bytes) -> bytes:
    length = sum(map(len, fields))
    if length < 0x80:
        return b"".join((bytes((header, length)), *fields))
    if length > MAX_REMAINING_LENGTH:
        raise PacketTooLargeError(f"packet body of {length} bytes, MQTT allows {MAX_REMAINING_LENGTH}")
    prefix = bytearray((header,))
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return b"".join((prefix, *fields))
