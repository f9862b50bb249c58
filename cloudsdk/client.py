"""The reference runtime for one device: carries out the session's effects with paho-mqtt and requests.

One thread runs the session; HTTP exchanges and TCP connections have theirs, MQTT runs in an `IoLoop`. All
hand in events through one queue, so that the core never sees two events at once.
"""

import contextlib
import errno
import logging
import queue
import time
from collections.abc import Callable
from enum import Enum, auto

from cloudsdk import events as ev
from cloudsdk.http_transport import HttpEvent, HttpExchange
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.profile import Profile
from cloudsdk.route import Route, direct
from cloudsdk.session import Session
from cloudsdk.tcp_transport import TcpConnection
from cloudsdk.tls import TlsSettings

_log = logging.getLogger(__name__)


class Exit(Enum):
    """Why `CloudClient.run` returned."""

    RESET = auto()
    STOPPED = auto()
    GAVE_UP = auto()
    CRASHED = auto()  # in the thread `CloudClient.crashed_thread`


_Item = tuple[object, ev.Event] | Exit


class CloudClient:
    """Runs one `Session` until the board is reset or stopped; a loss of power passes through as exception.

    Connections take `route`. Several devices may share `loop`, which has to outlive `run`; without one, the
    client has its own. Without `tls`, a URL that needs it is refused.
    """

    def __init__(
        self,
        session: Session,
        *,
        profile: Profile,
        limits: Limits,
        console: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        route: Route = direct,
        loop: IoLoop | None = None,
        tls: TlsSettings | None = None,
    ) -> None:
        self.crashed_thread = ""
        self._session = session
        self._profile = profile
        self._limits = limits
        self._console = console
        self._clock = clock
        self._route = route
        self._shared_loop = loop
        self._loop: IoLoop  # during `run`
        self._tls = tls
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._deadlines: dict[str, float] = {}
        self._mqtt: MqttConnection | None = None
        self._exchanges: dict[str, HttpExchange] = {}
        self._tcp: dict[str, TcpConnection] = {}
        self._ended: Exit | None = None

    def stop(self) -> None:
        """End `run` soon. Safe from any thread and from signal handlers."""
        self._queue.put(Exit.STOPPED)

    def reset(self) -> None:
        """As `stop`, but `run` returns `Exit.RESET`: somebody at the board asked for a reboot."""
        self._queue.put(Exit.RESET)

    def type(self, data: bytes) -> None:
        """Input of the serial port. Safe from any thread."""
        self._queue.put((self, ev.ConsoleInput(data)))

    def print(self, text: str) -> None:
        """Output of something on the board besides the SDK. Safe from any thread."""
        self._queue.put((self, ev.ConsoleOutput(text)))

    def start(self) -> None:
        """Start the SDK if `run` was to leave that out. Safe from any thread."""
        self._queue.put((self, ev.Started()))

    def run(self, *, start: bool = True) -> Exit:
        """Run until `stop`, `reset`, or the session's own end. `start`: whether the SDK starts at once."""
        with contextlib.ExitStack() as stack:
            self._loop = self._shared_loop or stack.enter_context(IoLoop())
            return self._run(start=start)

    def _run(self, *, start: bool) -> Exit:
        try:
            if start:
                self._handle(ev.Started())
            while self._ended is None:
                item = self._next()
                if isinstance(item, Exit):
                    return item
                source, event = item
                if isinstance(source, HttpExchange):
                    source.handled()
                    if source.cancelled:
                        continue
                elif isinstance(source, TcpConnection):
                    if isinstance(event, ev.TcpData):
                        source.handled()
                    if self._tcp.get(source.name) is not source:
                        continue
                elif source is not self._mqtt and source is not self:
                    continue  # of a connection that was dropped meanwhile
                self._handle(event)
                if isinstance(event, ev.HttpEnded | ev.HttpFailed):
                    self._exchanges.pop(event.request, None)
                elif isinstance(event, ev.TcpClosed | ev.TcpFailed):
                    self._close_tcp(event.connection)
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
                exchange = HttpExchange(effect, self._limits, self._post_http, self._route, self._tls)
                self._exchanges[effect.request] = exchange
                exchange.start()
            case ev.HttpCancel(request):
                if (running := self._exchanges.pop(request, None)) is not None:
                    running.cancel()
            case ev.MqttConnect():
                self._connect(effect)
            case ev.MqttDrop():
                self._drop_mqtt()
            case ev.TcpOpen():
                self._open_tcp(effect)
            case ev.TcpSend(name, data):
                if (connection := self._tcp.get(name)) is not None:
                    connection.send(data)
            case ev.TcpClose(name):
                self._close_tcp(name)
            case ev.Reset():
                self._ended = Exit.RESET
            case ev.Crash(thread):
                self.crashed_thread = thread
                self._ended = Exit.CRASHED
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
            self._loop,
            constant_packet_id=self._profile.constant_packet_id,
            post=lambda event: self._queue.put((connection, event)),
            route=self._route,
            tls=self._tls,
        )
        self._mqtt = connection
        connection.start()

    def _post_http(self, exchange: HttpExchange, event: HttpEvent) -> None:
        self._queue.put((exchange, event))

    def _open_tcp(self, effect: ev.TcpOpen) -> None:
        try:
            if len(self._tcp) >= self._limits.tcp_connections:
                raise OSError(errno.EMFILE, "no socket is left")
            connection = TcpConnection(effect, self._limits, self._post_tcp, self._route)
        except OSError as exc:
            _log.debug("%s: %s", effect.connection, exc)
            self._queue.put((self, ev.TcpFailed(effect.connection, ev.TcpStage.CREATE)))
            return
        self._tcp[effect.connection] = connection
        connection.start()

    def _post_tcp(self, connection: TcpConnection, event: ev.TcpEvent) -> None:
        self._queue.put((connection, event))

    def _close_tcp(self, name: str) -> None:
        if (connection := self._tcp.pop(name, None)) is not None:
            connection.close()

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
        for connection in self._tcp.values():
            connection.drop()
        self._tcp.clear()
