"""What Web Shell and Web Log share: a console device at the far end of a TCP connection."""

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from cloudsdk import console
from cloudsdk import events as ev
from cloudsdk.cjson import Json, integer, member
from cloudsdk.limits import Limits
from cloudsdk.profile import Profile
from cloudsdk.shell.console_device import Console, ConsoleDevice

KEY_SIZE: Final = 48  # bytes a server is greeted with: DeviceId and password (cloudsdk-protocol 4, 5)
MAX_HOST: Final = 127  # characters (cloudsdk-protocol 2.4)
_PORT_MASK: Final = 0xFFFF  # the original keeps the low 16 bits


@dataclass(frozen=True, slots=True)
class Server:
    """Where the cloud wants the device to connect: the value of DP 1022 and 1025."""

    host: str
    port: int

    @property
    def is_reachable(self) -> bool:
        """Whether `host` is dotted IPv4: the original asks no DNS (cloudsdk-protocol 2.4)."""
        try:
            ipaddress.IPv4Address(self.host)
        except ValueError:
            return False
        return True


def parse_server(value: Json) -> Server | None:
    """None when host or port is missing, empty or too long: such a message is ignored in silence (2.4)."""
    host, port = member(value, "host"), integer(member(value, "port"))
    if not isinstance(host, str) or not 0 < len(host) <= MAX_HOST or not port:
        return None
    return Server(host, port & _PORT_MASK)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a remote console needs of the session it belongs to."""

    console: Console
    profile: Profile
    limits: Limits
    emit: Callable[[ev.Effect], None]
    #: The `KEY_SIZE` bytes that tell a server who connects.
    key: Callable[[], bytes]
    #: Publishes the log state; False when there is no connection to the broker.
    publish_log_state: Callable[[bool], bool]


class RemoteConsole(ABC):
    """One session at a time: opening or open while `_connection` has a name."""

    name: ClassVar[str]
    thread: ClassVar[str]
    tag: ClassVar[str]
    title: ClassVar[str]  # of its lines
    takes_local_input: ClassVar[bool]

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._connection: str | None = None
        self._previous: ConsoleDevice | None = None
        self._is_open = False
        self._number = 0

    @property
    def is_active(self) -> bool:
        return self._connection is not None

    def handle(self, event: ev.TcpEvent) -> None:
        """Events of earlier connections, and those that do not fit the connection's state, are ignored."""
        if event.connection != self._connection:
            return
        match event:
            case ev.TcpOpened() if not self._is_open:
                self._is_open = True
                self._opened()
            case ev.TcpFailed(_, stage) if not self._is_open:
                self._connection = None
                self._failed(stage)
            case ev.TcpData(_, data) if self._is_open:
                self._data(data)
            case ev.TcpClosed(connection, end) if self._is_open:
                self._closed(connection, end)

    @property
    @abstractmethod
    def threads(self) -> tuple[str, ...]:
        """Names of its running threads (7)."""

    @abstractmethod
    def write(self, data: bytes, /) -> None: ...

    @abstractmethod
    def _opened(self) -> None: ...

    @abstractmethod
    def _failed(self, stage: ev.TcpStage) -> None: ...

    @abstractmethod
    def _data(self, data: bytes) -> None: ...

    @abstractmethod
    def _closed(self, connection: str, end: ev.TcpEnd) -> None: ...

    def _connect(
        self,
        server: Server,
        greeting: bytes,
        *,
        keepalive: ev.KeepAlive | None = None,
        no_delay: bool = False,
    ) -> None:
        if not server.is_reachable:
            self._connection = None
            self._failed(ev.TcpStage.CONNECT)
            return
        self._number += 1
        self._is_open = False
        self._connection = f"{self.name}-{self._number}"
        self._around.emit(
            ev.TcpOpen(self._connection, server.host, server.port, greeting, keepalive, no_delay)
        )

    def _take_console(self) -> None:
        self._previous = self._around.console.set_device(self)

    def _release_console(self, connection: str) -> None:
        self._connection = None
        if self._previous is not None:
            self._around.console.set_device(self._previous)
        self._around.emit(ev.TcpClose(connection))

    def _crash(self) -> None:
        self._around.emit(ev.Crash(self.thread))

    def _info(self, text: str) -> None:
        self._around.console.print(console.info(self.tag, text))

    def _error(self, text: str) -> None:
        self._around.console.print(console.error(self.tag, text))

    def _announce(self) -> None:
        self._info(f"{self.title} : start up success.")

    def _report_failure(self, stage: ev.TcpStage) -> None:
        title = self.title
        self._error(f"{title} entry failed! {title.capitalize()} socket {stage} error, return : -1!")

    def _report_end(self, resumed: str) -> None:
        self._info(f"{self.title} is closed. Console resume to local console({resumed}).")
