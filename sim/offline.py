"""A cloud and a network in memory: a `Session` runs against them without sockets, threads or waiting.

Everything is delivered at once and in order, timers fire in the order they are due, and the same board does
the same every time.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cloudsdk import events as ev
from cloudsdk.datapoints import DataPoint
from cloudsdk.port import Port
from cloudsdk.session import Session
from sim.virtual.releases import ACTIVATED, ORIGIN, VERSION_QUERY, Release, Task, releases
from sim.virtual.servers import Response, serve

TASK_VERSION: Final = "1.1"
_PIECE: Final = 65536  # bytes of a body that arrive at once
#: Timers that stand for somebody else's silence, which does not happen here.
_SILENCE: Final = ("mqtt-silence", "mqtt-answer", "download-stall", "activation-deadline")
MAX_EVENTS: Final = 20_000  # of one run; a session that goes on is caught in a loop


class OfflineError(Exception):
    """The session does not come to rest."""


class OfflinePort(Port):
    """A port that resets the board after each complete download, as the sample port does."""

    def __init__(self) -> None:
        super().__init__(
            "OFFLINE0001",
            "8fa1b2c3d4e5f607",
            "d1234567-89ab-4cde-9f01-23456789abcd",
            ORIGIN,
            "mqtt://127.0.0.1",
        )


@dataclass(slots=True)
class OfflineCloud:
    """Activates the device, sends its task once per connection that reports another version, serves packages.

    The packages, complete `.rbl` files, are the task in this order. `reported` is the version last heard.
    """

    packages: Sequence[bytes]
    version: str = TASK_VERSION
    reported: str = ""
    _told: bool = field(init=False, default=False)
    _task: Task = field(init=False)
    _releases: dict[str, Release] = field(init=False)

    def __post_init__(self) -> None:
        self._task = Task(self.version, releases(self.packages))
        self._releases = {release.url: release for release in self._task.releases}

    def run(self, session: Session, console: Callable[[str], None]) -> bool:
        """Run the session until nothing more happens; returns whether it asked for a reset.

        Raises `OfflineError` after `MAX_EVENTS`. A loss of power passes through.
        """
        return _Run(self, session, console).play()

    def answer(self, request: ev.HttpRequest) -> Iterator[ev.Event]:
        """The events of the response to a request, one after the other."""
        name = request.request
        release = self._releases.get(request.url)
        response = serve(release, request) if release is not None else Response(200, {}, ACTIVATED)
        yield ev.HttpOpened(name, response.status, response.headers)
        for offset in range(0, len(response.body), _PIECE):
            yield ev.HttpData(name, response.body[offset : offset + _PIECE])
        yield ev.HttpEnded(name)

    def heard(self, payload: bytes) -> list[bytes]:
        """What the cloud sends because of a message of the device."""
        (element,) = json.loads(payload)["data"]
        match element["DP"], element.get("value"):
            case DataPoint.ONLINE, True:
                self._told = False
                return [VERSION_QUERY]
            case DataPoint.VERSION, {"version": version}:
                self.reported = str(version)
                if version != self.version and not self._told:
                    self._told = True
                    return [self._task.message, VERSION_QUERY]
        return []


class _Run:
    """One session's run: what waits to be handed to it."""

    def __init__(self, cloud: OfflineCloud, session: Session, console: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._console = console
        self._session = session
        self._waiting: deque[ev.Event] = deque([ev.Started()])
        self._responses: dict[str, Iterator[ev.Event]] = {}
        self._timers: dict[str, float] = {}

    def play(self) -> bool:
        for _ in range(MAX_EVENTS):
            event = self._next()
            if event is None:
                return False
            for effect in self._handle(event):
                if isinstance(effect, ev.Reset):
                    return True
                self._carry_out(effect)
        raise OfflineError(f"the device is not at rest after {MAX_EVENTS} events")

    def _handle(self, event: ev.Event) -> list[ev.Effect]:
        try:
            return self._session.handle(event)
        except BaseException:  # a loss of power: what was printed before it was printed
            for effect in self._session.unfinished:
                if isinstance(effect, ev.ConsoleText):
                    self._console(effect.text)
            raise

    def _next(self) -> ev.Event | None:
        if self._waiting:
            return self._waiting.popleft()
        for name, response in list(self._responses.items()):
            if (event := next(response, None)) is not None:
                return event
            del self._responses[name]
        if self._timers:
            name = min(self._timers, key=self._timers.__getitem__)
            del self._timers[name]
            return ev.TimerFired(name)
        return None

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.ConsoleText(text):
                self._console(text)
            case ev.MqttConnect():
                self._waiting.append(ev.MqttConnected())
            case ev.MqttSubscribe():
                self._waiting.append(ev.MqttSubscribed())
            case ev.MqttPublish(_, payload):
                self._waiting.extend(ev.MqttMessage("", message) for message in self._cloud.heard(payload))
            case ev.HttpRequest(name):
                self._responses[name] = self._cloud.answer(effect)
            case ev.HttpCancel(name):
                self._responses.pop(name, None)
            case ev.StartTimer(name, seconds) if name not in _SILENCE:
                self._timers[name] = seconds
            case ev.StopTimer(name):
                self._timers.pop(name, None)
