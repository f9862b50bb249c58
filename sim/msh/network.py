"""What the network commands know: interfaces, connections, WLAN (console 8)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final, Protocol

NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - shown, never bound


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; addresses are dotted, `mac` is six bytes, `mtu` bytes."""

    name: str
    mac: bytes
    address: str = NO_ADDRESS
    gateway: str = NO_ADDRESS
    netmask: str = NO_ADDRESS
    dns: tuple[str, str] = (NO_ADDRESS, NO_ADDRESS)
    mtu: int = 1500
    up: bool = True
    link_up: bool = True
    internet_up: bool = True
    dhcp: bool = True
    arp: bool = True
    broadcast: bool = True
    igmp: bool = True


class TcpState(Enum):
    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN_SENT"
    SYN_RECEIVED = "SYN_RCVD"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN_WAIT_1"
    FIN_WAIT_2 = "FIN_WAIT_2"
    CLOSE_WAIT = "CLOSE_WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connection; `local` and `remote` are `address:port`, the numbers are the next sequence numbers."""

    local: str
    remote: str
    send_next: int
    receive_next: int
    state: TcpState = TcpState.ESTABLISHED


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """A UDP control block with the flags of lwIP."""

    local: str
    remote: str
    flags: int = 4


@dataclass(frozen=True, slots=True)
class PingReply:
    """An answer; None for the time says that none came. Milliseconds."""

    address: str
    time_ms: int | None
    ttl: int = 52


class Security(Enum):
    OPEN = "OPEN"
    WEP_PSK = "WEP_PSK"
    WEP_SHARED = "WEP_SHARED"
    WPA_TKIP = "WPA_TKIP_PSK"
    WPA_AES = "WPA_AES_PSK"
    WPA2_AES = "WPA2_AES_PSK"
    WPA2_TKIP = "WPA2_TKIP_PSK"
    WPA2_MIXED = "WPA2_MIXED_PSK"
    WPS_OPEN = "WPS_OPEN"
    WPS_SECURE = "WPS_SECURE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class AccessPoint:
    """A WLAN in reach. `rssi` is dBm, `rate` Mbit/s, `mac` six bytes."""

    ssid: str
    mac: bytes
    security: Security
    rssi: int
    channel: int
    rate: int


class JoinResult(Enum):
    JOINED = auto()
    ALREADY = auto()  # it is the one that is joined
    NOT_FOUND = auto()
    REFUSED = auto()  # wrong password


class Network(Protocol):
    """The network of the board. Methods never wait: the commands take the time that passes."""

    @property
    def interfaces(self) -> Sequence[Interface]:
        """The default one first."""
        ...

    @property
    def connections(self) -> Sequence[TcpConnection]: ...

    @property
    def sockets(self) -> Sequence[UdpSocket]: ...

    @property
    def joined(self) -> AccessPoint | None: ...

    @property
    def stored_ssid(self) -> str | None:
        """The WLAN in the saved configuration."""
        ...

    def configure(self, name: str, address: str, gateway: str, netmask: str) -> bool:
        """Set an interface up; False without one of that name."""
        ...

    def set_dns(self, name: str, number: int, server: str) -> bool:
        """Set a DNS server; False without such an interface or server."""
        ...

    def ping(self, host: str, sequence: int) -> PingReply | None:
        """One echo; None for a host that nobody knows."""
        ...

    def scan(self) -> Sequence[AccessPoint]: ...

    def join(self, ssid: str, password: str | None) -> JoinResult: ...

    def leave(self) -> None: ...

    def download(self, uri: str) -> bytes | int:
        """What `wget` gets: the content, or the status of the answer that is not it."""
        ...


@dataclass(slots=True)
class MemoryNetwork:
    """A network of plain data. Implements `Network`.

    `hosts` are the names that resolve, `passwords` those of access points that need one.
    """

    interfaces: list[Interface] = field(default_factory=list)
    connections: list[TcpConnection] = field(default_factory=list)
    sockets: list[UdpSocket] = field(default_factory=list)
    access_points: list[AccessPoint] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    hosts: dict[str, list[PingReply]] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    joined: AccessPoint | None = None
    stored_ssid: str | None = None

    def configure(self, name: str, address: str, gateway: str, netmask: str) -> bool:
        return self._change(name, address=address, gateway=gateway, netmask=netmask)

    def set_dns(self, name: str, number: int, server: str) -> bool:
        for each in self.interfaces:
            if each.name == name and number in (0, 1):
                servers = (server, each.dns[1]) if number == 0 else (each.dns[0], server)
                return self._change(name, dns=servers)
        return False

    def _change(self, name: str, **changes: Any) -> bool:
        for index, each in enumerate(self.interfaces):
            if each.name == name:
                self.interfaces[index] = replace(each, **changes)
                return True
        return False

    def ping(self, host: str, sequence: int) -> PingReply | None:
        replies = self.hosts.get(host)
        return replies[sequence % len(replies)] if replies else None

    def scan(self) -> Sequence[AccessPoint]:
        return tuple(self.access_points)

    def join(self, ssid: str, password: str | None) -> JoinResult:
        found = next((each for each in self.access_points if each.ssid == ssid), None)
        if found is None:
            return JoinResult.NOT_FOUND
        if found == self.joined:
            return JoinResult.ALREADY
        if self.passwords.get(ssid, password) != password:
            return JoinResult.REFUSED
        self.joined, self.stored_ssid = found, ssid
        return JoinResult.JOINED

    def leave(self) -> None:
        self.joined = None

    def download(self, uri: str) -> bytes | int:
        return self.pages.get(uri, 404)
