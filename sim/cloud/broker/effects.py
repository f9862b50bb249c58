"""What the core wants done. `connection` is the number the shell gave the connection.

`Send` and `Message` are made for every message: not frozen, for the reason given in `cloudsdk.mqtt.packets`.
"""

from dataclasses import dataclass, field

from cloudsdk.mqtt.packets import Packet


@dataclass(slots=True)
class Send:
    """Send a packet to a client."""

    connection: int
    packet: Packet


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection once everything sent to it is flushed. The core has already forgotten it."""

    connection: int


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check credentials, hold back the connection's further packets, answer by `BrokerCore.authenticated`."""

    connection: int
    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connected:
    """Tell the cloud that a client is connected."""

    client_id: str
    address: str


@dataclass(slots=True)
class Message:
    """Hand a client's message to the cloud."""

    client_id: str
    topic: str
    payload: bytes
    is_will: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Tell the cloud that a client's connection ended."""

    client_id: str


Notice = Connected | Message | Disconnected
Effect = Send | Close | Authenticate | Notice
