"""Recordings as packet captures: each connection as a TCP conversation that could have been. Pure.

A recording has streams, not packets: segments, acknowledgements and handshake are made up, without loss.
Ports are those the dissectors know by default; the address connected to is in the comment of the SYN.
The format is that of draft-ietf-opsawg-pcapng; Ethernet, IPv4 (RFC 791) and TCP (RFC 9293).
"""

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.events import Closed, Data, Ended, Event, Header, Opened

SEGMENT: Final = 1460  # bytes of data in one packet: Ethernet's 1500 without the IPv4 and TCP headers
WINDOW: Final = 65535  # bytes
PORTS: Final = {Link.HTTP: 80, Link.MQTT: 1883, Link.SHELL: 23901, Link.LOG: 23902}
FIRST_PORT: Final = 49152  # of a device's connections; they go round up to 65535 (RFC 6335)
DEVICE: Final = ipaddress.IPv4Address("192.0.2.1")  # RFC 5737: addresses for documentation
CLOUD: Final = ipaddress.IPv4Address("192.0.2.2")  # where the recording has none that could be in a network
MAX_OPEN: Final = 65536 - FIRST_PORT  # connections at a time

_MACS: Final = {Direction.UP: bytes.fromhex("020000000001"), Direction.DOWN: bytes.fromhex("020000000002")}
_IPV4: Final = 0x0800
_TCP: Final = 6
_TTL: Final = 64
_DONT_FRAGMENT: Final = 0x4000
_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_SEQUENCE: Final = 1 << 32

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_ETHERNET: Final = 1  # link type
_SNAP: Final = 262144  # bytes of a packet that are kept
_COMMENT: Final = 1
_APPLICATION: Final = 4  # option of a section: what wrote it


@dataclass(slots=True)
class _Side:
    address: ipaddress.IPv4Address
    port: int
    sequence: int  # of the next byte
    ended: bool = False


@dataclass(slots=True)
class _Conversation:
    sides: dict[Direction, _Side]
    identification: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))

    def packet(self, sender: Direction, flags: int, data: bytes = b"") -> bytes:
        """The next frame of `sender`, which moves on by what it sends."""
        ours, theirs = self.sides[sender], self.sides[_other(sender)]
        acknowledged = theirs.sequence if flags & _ACK else 0
        segment = _tcp(ours, theirs, flags, acknowledged, data)
        self.identification[sender] = (self.identification[sender] + 1) & 0xFFFF
        moved = len(data) + bool(flags & _SYN) + bool(flags & _FIN)
        ours.sequence = (ours.sequence + moved) % _SEQUENCE
        ip = _ipv4(ours, theirs, self.identification[sender], len(segment))
        return _MACS[_other(sender)] + _MACS[sender] + _IPV4.to_bytes(2) + ip + segment


def pcapng(header: Header, events: Iterable[Event]) -> Iterator[bytes]:
    """The blocks of a capture, one by one. Needs memory for open connections only."""
    yield _section()
    yield _block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, _SNAP) + _option(0, b""))
    open_connections: dict[int, _Conversation] = {}
    for event in events:
        time = round((header.started + event.t) * 1_000_000)
        if isinstance(event, Opened):
            if len(open_connections) >= MAX_OPEN:
                open_connections.pop(next(iter(open_connections)))
            conversation = open_connections[event.connection] = _opened(event)
            comment = f"connection {event.connection}, to {event.to[0]}:{event.to[1]}"
            yield _captured(time, conversation.packet(Direction.UP, _SYN), comment)
            yield _captured(time, conversation.packet(Direction.DOWN, _SYN | _ACK))
            yield _captured(time, conversation.packet(Direction.UP, _ACK))
        elif (found := open_connections.get(event.connection)) is not None:
            for packet in _packets(found, event):
                yield _captured(time, packet)
            if isinstance(event, Closed):
                del open_connections[event.connection]


def _packets(conversation: _Conversation, event: Event) -> Iterator[bytes]:
    match event:
        case Data(direction=direction, data=data) if not conversation.sides[direction].ended:
            for start in range(0, len(data), SEGMENT):
                yield conversation.packet(direction, _PSH | _ACK, data[start : start + SEGMENT])
            yield conversation.packet(_other(direction), _ACK)
        case Ended(direction=direction):
            yield from _ended(conversation, direction)
        case Closed(reset=True):
            yield conversation.packet(Direction.UP, _RST | _ACK)
        case Closed():
            for direction in Direction:
                yield from _ended(conversation, direction)


def _ended(conversation: _Conversation, direction: Direction) -> Iterator[bytes]:
    if not conversation.sides[direction].ended:
        conversation.sides[direction].ended = True
        yield conversation.packet(direction, _FIN | _ACK)
        yield conversation.packet(_other(direction), _ACK)


def _opened(event: Opened) -> _Conversation:
    port = FIRST_PORT + (event.connection - 1) % MAX_OPEN
    # The real ones are random; these are told apart easily and are the same each time.
    start = event.connection * 1_000_003 % _SEQUENCE
    return _Conversation(
        {
            Direction.UP: _Side(DEVICE, port, start),
            Direction.DOWN: _Side(_cloud(event.to), PORTS[event.link], start ^ 0x55555555),
        }
    )


def _cloud(to: Address) -> ipaddress.IPv4Address:
    try:
        address = ipaddress.IPv4Address(to[0])
    except ValueError:
        return CLOUD
    return CLOUD if address.is_loopback or address.is_unspecified or address.is_multicast else address


def _ipv4(ours: _Side, theirs: _Side, identification: int, size: int) -> bytes:
    def header(checksum: int) -> bytes:
        return struct.pack(
            "!BBHHHBBH4s4s",
            0x45,  # version 4, header of five words
            0,
            20 + size,
            identification,
            _DONT_FRAGMENT,
            _TTL,
            _TCP,
            checksum,
            ours.address.packed,
            theirs.address.packed,
        )

    return header(_checksum(header(0)))


def _tcp(ours: _Side, theirs: _Side, flags: int, acknowledged: int, data: bytes) -> bytes:
    def segment(checksum: int) -> bytes:
        header = struct.pack(
            "!HHIIBBHHH",
            ours.port,
            theirs.port,
            ours.sequence,
            acknowledged,
            0x50,  # header of five words
            flags,
            WINDOW,
            checksum,
            0,
        )
        return header + data

    plain = segment(0)
    pseudo = ours.address.packed + theirs.address.packed + struct.pack("!BBH", 0, _TCP, len(plain))
    return segment(_checksum(pseudo + plain))


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _other(direction: Direction) -> Direction:
    return Direction.UP if direction is Direction.DOWN else Direction.DOWN


# --- blocks ------------------------------------------------------------------------------------------


def _section() -> bytes:
    body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)  # version 1.0, length not given
    return _block(_SECTION, body + _option(_APPLICATION, b"cloudsim") + _option(0, b""))


def _captured(time: int, packet: bytes, comment: str = "") -> bytes:
    """An enhanced packet block; `time` is microseconds since 1970."""
    head = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(packet), len(packet))
    options = _option(_COMMENT, comment.encode()) + _option(0, b"") if comment else b""
    return _block(_PACKET, head + _padded(packet) + options)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
