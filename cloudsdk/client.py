"""The reference runtime for one device: carries out the session's effects with paho-mqtt and requests.

One thread runs the session; HTTP exchanges and the MQTT connection have theirs and hand in events through one
queue, so that the core never sees two events at once.
"""

import queue
import time
from collections.abc import Callable
from enum import Enum, auto

from cloudsdk import events as ev
from cloudsdk.http_transport import HttpEvent, HttpExchange
from cloudsdk.limits import Limits
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.profile import Profile
from cloudsdk.session import Session


class Exit(Enum):
    """Why `CloudClient.run` returned."""

    RESET = auto()
    STOPPED = auto()
    GAVE_UP = auto()


class _Stop:
    """Posted by `stop`."""


_Item = tuple[object, ev.Event] | _Stop


class CloudClient:
    """Runs one `Session` until the board is reset or stopped; a loss of power passes through as exception."""

    def __init__(
        self,
        session: Session,
        *,
        profile: Profile,
        limits: Limits,
        console: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._profile = profile
        self._limits = limits
        self._console = console
        self._clock = clock
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._deadlines: dict[str, float] = {}
        self._mqtt: MqttConnection | None = None
        self._exchanges: dict[str, HttpExchange] = {}
        self._ended: Exit | None = None

    def stop(self) -> None:
        """End `run` soon. Safe from any thread and from signal handlers."""
        self._queue.put(_Stop())

    def run(self) -> Exit:
        try:
            self._handle(ev.Started())
            while self._ended is None:
                item = self._next()
                if isinstance(item, _Stop):
                    return Exit.STOPPED
                source, event = item
                if isinstance(source, HttpExchange):
                    source.handled()
                    if source.cancelled:
                        continue
                elif source is not self._mqtt and source is not self:
                    continue  # of a connection that was dropped meanwhile
                self._handle(event)
                if isinstance(event, ev.HttpEnded | ev.HttpFailed):
                    self._exchanges.pop(event.request, None)
        finally:
            self._close()
        return self._ended

    def _next(self) -> _Item:
        """The next event in order of time; a timer that is due comes before what waits in the queue."""
        while True:
            name = min(self._deadlines, key=self._deadlines.__getitem__, default=None)
            if name is None:
                return self._queue.get()
            wait = self._deadlines[name] - self._clock()
            if wait <= 0:
                del self._deadlines[name]
                return self, ev.TimerFired(name)
            try:
                return self._queue.get(timeout=wait)
            except queue.Empty:
                continue

    def _handle(self, event: ev.Event) -> None:
        try:
            effects = self._session.handle(event)
        except BaseException:
            for effect in self._session.unfinished:
                if isinstance(effect, ev.ConsoleText):
                    self._console(effect.text)
            raise
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.ConsoleText(text):
                self._console(text)
            case ev.StartTimer(name, seconds):
                self._deadlines[name] = self._clock() + seconds
            case ev.StopTimer(name):
                self._deadlines.pop(name, None)
            case ev.HttpRequest():
                exchange = HttpExchange(effect, self._limits, self._post_http)
                self._exchanges[effect.request] = exchange
                exchange.start()
            case ev.HttpCancel(request):
                if (running := self._exchanges.pop(request, None)) is not None:
                    running.cancel()
            case ev.MqttConnect():
                self._connect(effect)
            case ev.MqttDrop():
                self._drop_mqtt()
            case ev.Reset():
                self._ended = Exit.RESET
            case ev.GiveUp():
                self._ended = Exit.GAVE_UP
            case ev.MqttSubscribe() | ev.MqttPublish() | ev.MqttPing():
                self._send(effect)

    def _send(self, effect: ev.MqttSubscribe | ev.MqttPublish | ev.MqttPing) -> None:
        if self._mqtt is None:
            return
        match effect:
            case ev.MqttSubscribe(topic_filter):
                self._mqtt.subscribe(topic_filter)
            case ev.MqttPublish(topic, payload):
                self._mqtt.publish(topic, payload)
            case ev.MqttPing():
                self._mqtt.ping()

    def _connect(self, effect: ev.MqttConnect) -> None:
        self._drop_mqtt()
        connection = MqttConnection(
            effect,
            constant_packet_id=self._profile.constant_packet_id,
            post=lambda event: self._queue.put((connection, event)),
        )
        self._mqtt = connection
        connection.start()

    def _post_http(self, exchange: HttpExchange, event: HttpEvent) -> None:
        self._queue.put((exchange, event))

    def _drop_mqtt(self) -> None:
        if self._mqtt is not None:
            self._mqtt.drop()
            self._mqtt = None

    def _close(self) -> None:
        """The board is off: every connection ends as it is."""
        self._drop_mqtt()
        for exchange in self._exchanges.values():
            exchange.cancel()
        self._exchanges.clear()
