"""What reaches the device core, and what it asks for: the vocabulary of `Session.handle`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from cloudsdk.port import MqttAddress

# --- events ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """`rt_cld_sdk_init()` is called; the network is up."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    name: str


@dataclass(frozen=True, slots=True)
class HttpOpened:
    """Status line and headers of the final response (redirects already followed)."""

    request: str
    status: int
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True, slots=True)
class HttpData:
    request: str
    data: bytes = field(repr=False)  # of an activation: the DeviceKey


@dataclass(frozen=True, slots=True)
class HttpEnded:
    """The body is over, whether or not it was as long as announced."""

    request: str


@dataclass(frozen=True, slots=True)
class HttpFailed:
    """No connection, a timeout, or a broken connection."""

    request: str
    reason: str


@dataclass(frozen=True, slots=True)
class MqttConnected:
    """CONNACK with return code 0."""


@dataclass(frozen=True, slots=True)
class MqttRefused:
    """CONNACK with another return code."""

    code: int


@dataclass(frozen=True, slots=True)
class MqttUnreachable:
    """No TCP connection to the broker."""

    reason: str


@dataclass(frozen=True, slots=True)
class MqttSubscribed:
    pass


@dataclass(frozen=True, slots=True)
class MqttPong:
    pass


@dataclass(frozen=True, slots=True)
class MqttMessage:
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class MqttLost:
    """The connection is gone and nobody asked for it."""

    reason: str


class TcpStage(StrEnum):
    """Where opening a TCP connection failed, in the words of the original's error lines."""

    CREATE = "create"
    CONNECT = "connect"
    SEND = "send data"  # of the greeting


class TcpEnd(Enum):
    """How an open TCP connection ended."""

    ORDERLY = auto()  # FIN: receiving returns 0
    RESET = auto()  # receiving fails
    SEND_FAILED = auto()  # sending fails


@dataclass(frozen=True, slots=True)
class TcpOpened:
    """Connected, and the greeting was sent."""

    connection: str


@dataclass(frozen=True, slots=True)
class TcpFailed:
    """It never came to `TcpOpened`."""

    connection: str
    stage: TcpStage


@dataclass(frozen=True, slots=True)
class TcpData:
    connection: str
    data: bytes = field(repr=False)  # what somebody types


@dataclass(frozen=True, slots=True)
class TcpClosed:
    """Nothing more will arrive; the device's side is open until `TcpClose`."""

    connection: str
    end: TcpEnd


TcpEvent = TcpOpened | TcpFailed | TcpData | TcpClosed


@dataclass(frozen=True, slots=True)
class ConsoleInput:
    """Typed on the board's serial port."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsoleOutput:
    """Something outside the SDK prints."""

    text: str


Event = (
    Started
    | TimerFired
    | HttpOpened
    | HttpData
    | HttpEnded
    | HttpFailed
    | MqttConnected
    | MqttRefused
    | MqttUnreachable
    | MqttSubscribed
    | MqttPong
    | MqttMessage
    | MqttLost
    | TcpOpened
    | TcpFailed
    | TcpData
    | TcpClosed
    | ConsoleInput
    | ConsoleOutput
)

# --- effects --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """For the board's serial port."""

    text: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Headers go out in this order and no others; `Host` is among them."""

    request: str
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = field(default=None, repr=False)  # of an activation: its signature


@dataclass(frozen=True, slots=True)
class HttpCancel:
    """Close the connection; no further event of this request is wanted."""

    request: str


@dataclass(frozen=True, slots=True)
class MqttConnect:
    address: MqttAddress
    client_id: str
    user: str
    password: str = field(repr=False)
    will_topic: str
    will_payload: bytes
    keepalive: int  # seconds


@dataclass(frozen=True, slots=True)
class MqttSubscribe:
    topic_filter: str  # QoS 0


@dataclass(frozen=True, slots=True)
class MqttPublish:
    topic: str
    payload: bytes  # QoS 1, not retained


@dataclass(frozen=True, slots=True)
class MqttPing:
    pass


@dataclass(frozen=True, slots=True)
class MqttDrop:
    """Close the TCP connection without DISCONNECT."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """TCP keepalive."""

    idle: int  # seconds of silence before the first probe
    interval: int  # seconds between two probes
    probes: int  # unanswered ones until the connection counts as dead


@dataclass(frozen=True, slots=True)
class TcpOpen:
    """Connect, set the options and send the greeting."""

    connection: str
    host: str  # dotted IPv4
    port: int
    greeting: bytes = field(repr=False)  # DeviceId and password
    keepalive: KeepAlive | None = None
    no_delay: bool = False


@dataclass(frozen=True, slots=True)
class TcpSend:
    connection: str
    data: bytes = field(repr=False)  # console output: whatever the device prints


@dataclass(frozen=True, slots=True)
class TcpClose:
    """Send what is left, then FIN."""

    connection: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Arms or re-arms the timer of that name."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    name: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """`Limits.activation_attempts` is used up. Always the last effect."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The port asked for a reset of the board. Always the last effect."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The original runs out of stack here, in that thread. Always the last effect."""

    thread: str


Effect = (
    ConsoleText
    | HttpRequest
    | HttpCancel
    | MqttConnect
    | MqttSubscribe
    | MqttPublish
    | MqttPing
    | MqttDrop
    | TcpOpen
    | TcpSend
    | TcpClose
    | StartTimer
    | StopTimer
    | GiveUp
    | Reset
    | Crash
)
