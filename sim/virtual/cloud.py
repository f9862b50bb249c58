"""The cloud in memory: activation, the version and task dialogue, packages, log and shell servers.

It asks a device that has a task for its version every `poll`, since a message to a device may be lost
(QoS 0), and gives the task up after `patience` questions that changed nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloudsdk.datapoints import DataPoint
from cloudsdk.events import HttpRequest
from sim.virtual.clock import SECOND, Timer, VirtualClock
from sim.virtual.faults import Faults
from sim.virtual.log import Log, no_log
from sim.virtual.releases import ACTIVATED, VERSION_QUERY, Release, Task, message
from sim.virtual.servers import Response, lie, serve

POLL: Final = 600 * SECOND
PATIENCE: Final = 12  # questions for one task
LOG_IDLE: Final = 300 * SECOND  # of silence until a log server closes (cloudsdk-protocol 5)


class Peer(Protocol):
    """The far end of a TCP connection, as a server sees it."""

    def send(self, data: bytes) -> None: ...

    def close(self) -> None:
        """FIN."""
        ...


class ConsoleServer:
    """A log or shell server: keeps what it hears, closes after `idle` microseconds of silence (0: never)."""

    def __init__(self, clock: VirtualClock, idle: int = 0) -> None:
        self.received = bytearray()
        self.greetings: list[bytes] = []
        self.peer: Peer | None = None
        self._clock = clock
        self._idle = idle
        self._timer: Timer | None = None

    def opened(self, peer: Peer, greeting: bytes) -> None:
        self.peer = peer
        self.greetings.append(greeting)
        self._wait()

    def heard(self, data: bytes) -> None:
        self.received += data
        self._wait()

    def closed(self) -> None:
        """The device has closed its side, or the connection broke."""
        self.peer = None
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._idle:
            self._timer = self._clock.after(self._idle, self._give_up)

    def _give_up(self) -> None:
        if self.peer is not None:
            self.peer.close()


@dataclass(slots=True)
class VirtualCloud:
    """One device's cloud. Messages for the device go to `send`, which a network sets.

    `reports` are the versions heard, `failed` the tasks that were given up.
    """

    clock: VirtualClock
    log: Log = no_log
    poll: int = POLL
    patience: int = PATIENCE
    send: Callable[[bytes], None] = lambda _payload: None
    on_report: Callable[[str], None] = lambda _version: None
    task: Task | None = None
    done: bool = True
    online: bool = False
    reports: list[str] = field(default_factory=list)
    failed: list[Task] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)  # downloads
    servers: dict[tuple[str, int], ConsoleServer] = field(default_factory=dict)
    #: Address that is told with DP 1022 once the device has said that its log is on.
    log_address: tuple[str, int] | None = None
    _told: bool = False
    _asked: int = 0
    _poll_timer: Timer | None = None
    _known: dict[str, Release] = field(default_factory=dict)  # releases by URL
    _others: dict[str, Release] = field(default_factory=dict)  # the builds that liars serve
    _withdrawn: set[str] = field(default_factory=set)

    # --- the operator -------------------------------------------------------------------------------

    def offer(self, task: Task) -> None:
        """A new task for the device, in the place of the one before."""
        self.log("cloud", f"task {task.version}: {', '.join(map(_title, task.releases))}")
        self.task, self.done, self._told, self._asked = task, False, False, 0
        for release in task.releases:
            self._known[release.url] = release
            self._withdrawn.discard(release.url)
        self._ask()

    def cancel(self) -> None:
        """Withdraw the task: it is not sent any more, and its packages are not served."""
        if self.task is not None:
            self.log("cloud", f"task {self.task.version} is cancelled")
            self._withdrawn.update(release.url for release in self.task.releases)
        self.task, self.done = None, True

    def lie_with(self, release: Release, other: Release) -> None:
        """The build that a liar serves in the place of `release`."""
        self._others[release.url] = other

    def open_log(self, address: tuple[str, int]) -> ConsoleServer:
        """Ask for the device's log; it is told where to once it has answered."""
        self.log_address = address
        server = self.servers[address] = ConsoleServer(self.clock, LOG_IDLE)
        self.send(message(DataPoint.LOG_SWITCH, True))
        return server

    def open_shell(self, address: tuple[str, int]) -> ConsoleServer:
        server = self.servers[address] = ConsoleServer(self.clock)
        self.send(message(DataPoint.SHELL_SERVER, {"host": address[0], "port": address[1]}))
        return server

    # --- MQTT ---------------------------------------------------------------------------------------

    def heard(self, payload: bytes) -> None:
        """A message of the device."""
        (element,) = json.loads(payload)["data"]
        match element["DP"], element.get("value"):
            case DataPoint.ONLINE, bool(online):
                self.online, self._told = online, False
                if online:
                    self.send(VERSION_QUERY)
            case DataPoint.VERSION, {"version": version}:
                self._reported(str(version))
            case DataPoint.LOG_STATE, True if self.log_address is not None:
                host, port = self.log_address
                self.send(message(DataPoint.LOG_SERVER, {"host": host, "port": port}))

    def _reported(self, version: str) -> None:
        self.log("cloud", f"device reports {version}")
        self.reports.append(version)
        self.on_report(version)
        if self.task is None or self.done:
            return
        if version == self.task.version:
            self.log("cloud", f"task {version} is done")
            self.done = True
        elif not self._told:
            self._told = True
            self.send(self.task.message)
            self.send(VERSION_QUERY)

    def _ask(self) -> None:
        """Ask for the version, and ask again later as long as the task is open."""
        if self._poll_timer is not None:
            self._poll_timer.cancel()
        if self.task is None or self.done:
            return
        if self._asked == self.patience:
            self.log("cloud", f"task {self.task.version} is given up")
            self.failed.append(self.task)
            self.done = True
            return
        self._asked += 1
        self._told = False
        self.send(VERSION_QUERY)
        self._poll_timer = self.clock.after(self.poll, self._ask)

    def gone(self) -> None:
        """The device's connection ended without DISCONNECT: its will says so."""
        self.online = False

    # --- HTTP ---------------------------------------------------------------------------------------

    def respond(self, request: HttpRequest, faults: Faults) -> Response:
        if request.method == "POST":
            return Response(200, {}, ACTIVATED)
        self.requests.append(request)
        release = self._known.get(request.url)
        if release is None or request.url in self._withdrawn:
            return Response(404)
        if not faults:
            return serve(release, request)
        return lie(release, self._others.get(request.url, release), request, faults)


def _title(release: Release) -> str:
    return f"{release.header.name_text} {release.header.version_text}"
