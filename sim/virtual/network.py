"""The network between one device and its cloud: whatever it carries takes virtual time, and may not arrive.

What a runtime's sockets would tell the session is told here: connections made and refused, pieces of bodies,
time-outs of the HTTP client, messages in the order they arrive. HTTP exchanges are generators of delays and
events, so that an endless body costs nothing until it is read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from cloudsdk import events as ev
from cloudsdk.limits import Limits
from sim.virtual.clock import SECOND, Timer, VirtualClock, microseconds
from sim.virtual.cloud import ConsoleServer, VirtualCloud
from sim.virtual.faults import (
    NO_FAULTS,
    SILENCE,
    Faults,
    FaultSchedule,
    Kind,
    Outage,
    Randomness,
    value_of,
)
from sim.virtual.log import Log, no_log

_ENDS: Final = (Kind.RESET, Kind.LIMIT_DATA, Kind.TIMEOUT, Kind.HALF_OPEN)
_REDIRECTS: Final = (301, 302)
_REORDERED: Final = 2 * SECOND  # a message that changes places with the next one waits no longer than this
_NEVER: Final = 1 << 62  # bytes

Deliver = Callable[[ev.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How fast bytes get through, each way."""

    latency: int = 20_000  # microseconds
    jitter: int = 0  # microseconds more at most, for each piece
    bandwidth: int = 1_000_000  # bytes per second
    slicer: int = 1024  # bytes that arrive at once

    def under(self, faults: Faults) -> "Link":
        """This link with the faults of one connection."""
        if not faults:
            return self
        bandwidth = value_of(faults, Kind.BANDWIDTH) or self.bandwidth
        return replace(
            self,
            latency=self.latency + (value_of(faults, Kind.LATENCY) or 0),
            jitter=value_of(faults, Kind.JITTER) or self.jitter,
            bandwidth=bandwidth,
            slicer=max(1, min(value_of(faults, Kind.SLICER) or self.slicer, bandwidth)),
        )


FAST: Final = Link()


class VirtualNetwork:
    """Carries out the effects of a session that concern the network.

    `deliver` hands an event to the device that runs now; it is set by the device at power on.
    """

    def __init__(
        self,
        clock: VirtualClock,
        cloud: VirtualCloud,
        *,
        source: Randomness,
        faults: FaultSchedule | None = None,
        link: Link = FAST,
        limits: Limits | None = None,
        log: Log = no_log,
    ) -> None:
        self.clock = clock
        self.cloud = cloud
        self.limits = limits or Limits()
        self.log = log
        self.downloads = 0  # HTTP exchanges for packages
        self.connections = 0  # MQTT connections that were asked for
        self._source = source
        self._faults = faults or FaultSchedule()
        self._link = link
        self._activations = 0
        self._tcp_counts: dict[str, int] = {}
        self._deliver: Deliver | None = None
        self._exchanges: dict[str, _Exchange] = {}
        self._mqtt: _MqttConnection | None = None
        self._served: _MqttConnection | None = None  # by the broker
        self._tcp: dict[str, _TcpConnection] = {}
        cloud.send = self._to_device
        for outage in self._faults.broker:
            clock.at(outage.start, lambda outage=outage: self._restart_broker(outage))  # type: ignore[misc]

    # --- the device's side --------------------------------------------------------------------------

    def plug(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def unplug(self) -> None:
        """The device is off: nothing reaches it any more; the cloud notices what it would notice."""
        self._deliver = None
        for exchange in self._exchanges.values():
            exchange.cancel()
        self._exchanges.clear()
        if self._mqtt is not None:
            self._mqtt.vanish()
            self._mqtt = None
        for connection in self._tcp.values():
            connection.vanish()
        self._tcp.clear()

    def carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.HttpRequest():
                self._request(effect)
            case ev.HttpCancel(name):
                if (exchange := self._exchanges.pop(name, None)) is not None:
                    exchange.cancel()
            case ev.MqttConnect():
                self._connect(effect)
            case ev.MqttSubscribe():
                self._answer_mqtt(ev.MqttSubscribed())
            case ev.MqttPing():
                self._answer_mqtt(ev.MqttPong())
            case ev.MqttPublish(_, payload):
                if self._mqtt is not None:
                    self._mqtt.publish(payload)
            case ev.MqttDrop():
                self._drop_mqtt()
            case ev.TcpOpen():
                self._open_tcp(effect)
            case ev.TcpSend(name, data):
                if (connection := self._tcp.get(name)) is not None:
                    connection.heard(data)
            case ev.TcpClose(name):
                if (connection := self._tcp.pop(name, None)) is not None:
                    connection.vanish()

    def hand_over(self, event: ev.Event) -> None:
        if self._deliver is not None:
            self._deliver(event)

    def delay(self, link: Link) -> int:
        """Microseconds one piece takes one way."""
        return link.latency + (self._source.randrange(0, link.jitter + 1) if link.jitter else 0)

    # --- HTTP ---------------------------------------------------------------------------------------

    def _request(self, effect: ev.HttpRequest) -> None:
        if effect.method == "POST":
            faults = self._faults.activation.of(self._activations)
            self._activations += 1
        else:
            faults = self._faults.http.of(self.downloads)
            self.downloads += 1
        wanted = dict(effect.headers).get("Range", "")
        self.log("http", " ".join(filter(None, (effect.method, effect.url, wanted, *map(str, faults)))))
        exchange = self._exchanges[effect.request] = _Exchange(self, self._course(effect, faults))
        exchange.advance()

    def _course(self, request: ev.HttpRequest, faults: Faults) -> Iterator[tuple[int, ev.Event]]:
        """The events of one exchange, each with the microseconds since the one before it."""
        name, link = request.request, self._link.under(faults)
        patience = microseconds(self.limits.http_timeout)
        waited = self.delay(link) + self.delay(link)
        if value_of(faults, Kind.UNREACHABLE) is not None:
            yield waited, ev.HttpFailed(name, "no connection")
            return
        response = self.cloud.respond(request, faults)
        for _ in range(self.limits.redirects):
            if response.status not in _REDIRECTS:
                break
            waited += self.delay(link) + self.delay(link)
            response = self.cloud.respond(replace(request, url=response.headers["location"]), faults)
        if response.status in _REDIRECTS:
            yield waited, ev.HttpFailed(name, "TooManyRedirects")
            return
        if waited > patience:
            yield patience, ev.HttpFailed(name, "timeout")
            return
        yield waited, ev.HttpOpened(name, response.status, response.headers)
        end, how = _end_of_data(faults)
        position = 0
        while piece := response.piece(position, min(link.slicer, end - position)):
            wait = len(piece) * SECOND // link.bandwidth + (
                self._source.randrange(0, link.jitter + 1) if link.jitter else 0
            )
            yield from _patiently(patience, wait, ev.HttpData(name, piece), name)
            position += len(piece)
        late = value_of(faults, Kind.SLOW_CLOSE) or 0
        if position < end:
            how = Kind.LIMIT_DATA  # the body was over before
        match how:
            case Kind.RESET:
                yield late, ev.HttpFailed(name, "connection reset")
            case Kind.LIMIT_DATA:
                yield from _patiently(patience, late, ev.HttpEnded(name), name)
            case _:
                yield patience, ev.HttpFailed(name, "timeout")

    def finished(self, exchange: "_Exchange") -> None:
        for name, each in list(self._exchanges.items()):
            if each is exchange:
                del self._exchanges[name]

    # --- MQTT ---------------------------------------------------------------------------------------

    def _connect(self, effect: ev.MqttConnect) -> None:
        self._drop_mqtt()
        faults = self._faults.mqtt.of(self.connections)
        self.connections += 1
        self.log("mqtt", " ".join(("CONNECT", *map(str, faults))))
        self._mqtt = _MqttConnection(self, self._link.under(faults), faults)
        self._mqtt.open(reachable=not self._broker_away)

    def _answer_mqtt(self, event: ev.Event) -> None:
        if self._mqtt is not None:
            self._mqtt.answer(event)

    def _drop_mqtt(self) -> None:
        if self._mqtt is not None:
            self._mqtt.vanish()
            self._mqtt = None

    def _to_device(self, payload: bytes) -> None:
        """A message of the cloud; without a connection it is lost (QoS 0, clean session)."""
        if self._mqtt is not None:
            self._mqtt.message(payload)

    @property
    def _broker_away(self) -> bool:
        now = self.clock.now
        return any(outage.start <= now < outage.start + outage.length for outage in self._faults.broker)

    def _restart_broker(self, outage: Outage) -> None:
        self.log("mqtt", f"broker away for {outage.length} us")
        if self._mqtt is not None:
            self._mqtt.lose("broker restart")

    def take_over(self, connection: "_MqttConnection") -> None:
        """The broker ends an older connection of the same client, and what that still brings."""
        self._served = connection

    def heard(self, connection: "_MqttConnection", payload: bytes) -> None:
        if self._served is connection:
            self.cloud.heard(payload)

    def lost(self, connection: "_MqttConnection", event: ev.Event) -> None:
        if self._mqtt is connection:
            self._mqtt = None
            self.hand_over(event)

    # --- TCP ----------------------------------------------------------------------------------------

    def _open_tcp(self, effect: ev.TcpOpen) -> None:
        kind = effect.connection.partition("-")[0]
        number = self._tcp_counts.get(kind, 0)
        self._tcp_counts[kind] = number + 1
        plan = self._faults.log if kind == "weblog" else self._faults.shell
        faults = plan.of(number)
        self.log("tcp", f"{effect.connection} to {effect.host}:{effect.port}")
        server = self.cloud.servers.get((effect.host, effect.port))
        if value_of(faults, Kind.UNREACHABLE) is not None:
            server = None
        connection = _TcpConnection(self, effect, server, self._link.under(faults), faults)
        self._tcp[effect.connection] = connection
        connection.open()

    def tcp_ended(self, name: str) -> None:
        self._tcp.pop(name, None)


class _Exchange:
    """One HTTP exchange under way."""

    def __init__(self, network: VirtualNetwork, course: Iterator[tuple[int, ev.Event]]) -> None:
        self._network = network
        self._course = course
        self._timer: Timer | None = None
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()

    def advance(self) -> None:
        step = next(self._course, None)
        if step is None:
            self._network.finished(self)
            return
        delay, event = step
        self._timer = self._network.clock.after(delay, lambda: self._arrive(event))

    def _arrive(self, event: ev.Event) -> None:
        if isinstance(event, ev.HttpOpened):
            self._network.log("http", f"{event.status} {event.headers.get('content-range', '')}".rstrip())
        elif isinstance(event, ev.HttpFailed):
            self._network.log("http", event.reason)
        if isinstance(event, ev.HttpEnded | ev.HttpFailed):
            self._network.finished(self)
        self._network.hand_over(event)
        if not self._cancelled:
            self.advance()


def _end_of_data(faults: Faults) -> tuple[int, Kind]:
    """After how many bytes, and how, the faults end a body; without any, it ends by itself."""
    for fault in faults:
        if fault.kind in _ENDS:
            return fault.value, fault.kind
    return _NEVER, Kind.LIMIT_DATA


def _patiently(patience: int, wait: int, event: ev.Event, name: str) -> Iterator[tuple[int, ev.Event]]:
    """`event` after `wait`, unless the client's socket times out before."""
    if wait <= patience:
        yield wait, event
    else:
        yield patience, ev.HttpFailed(name, "timeout")


@dataclass(slots=True)
class _MqttConnection:
    """One connection to the broker, from CONNECT until either side lets it go."""

    network: VirtualNetwork
    link: Link
    faults: Faults
    is_open: bool = False
    _count: int = 0  # messages to the device
    _gone: bool = False  # for the device; what is under way does not arrive
    _swallows: bool = False
    _latest: int = 0  # arrival of the last packet: TCP keeps the order
    _held: list[bytes] = field(default_factory=list)

    def open(self, *, reachable: bool) -> None:
        if reachable and value_of(self.faults, Kind.UNREACHABLE) is None:
            self._later(self._opened, trips=2)
        else:
            self._later(lambda: self.network.lost(self, ev.MqttUnreachable("connection refused")), trips=2)

    def _opened(self) -> None:
        self.is_open = True
        self.network.take_over(self)
        self._check_end()
        self.network.hand_over(ev.MqttConnected())

    def publish(self, payload: bytes) -> None:
        """From the device to the cloud."""
        if self._swallows:
            return
        self.network.log("mqtt", f"> {payload.decode()}")
        self._later(lambda: self.network.heard(self, payload))

    def message(self, payload: bytes) -> None:
        """From the cloud to the device."""
        if not self.is_open:
            return
        number = self._count
        self._count += 1
        copies = 1
        for fault in self.faults:
            if fault.value == number:
                match fault.kind:
                    case Kind.LOSS:
                        copies = 0
                    case Kind.DUPLICATE:
                        copies = 2
                    case Kind.REORDER:
                        self._held.append(payload)
                        self.network.clock.after(_REORDERED, self._release)
                        copies = 0
        for _ in range(copies):
            self._arrive(payload)
        if copies:
            self._release()
        self._check_end()

    def _release(self) -> None:
        held, self._held = self._held, []
        for payload in held:
            self._arrive(payload)

    def _arrive(self, payload: bytes) -> None:
        if self._swallows:
            return
        self.network.log("mqtt", f"< {payload.decode()}")
        self._later(lambda: self.network.hand_over(ev.MqttMessage("/device", payload)))

    def answer(self, event: ev.Event) -> None:
        """SUBACK or PINGRESP."""
        if not self._swallows:
            self._later(lambda: self.network.hand_over(event), trips=2)

    def lose(self, reason: str) -> None:
        """Both sides notice."""
        self.network.cloud.gone()
        self._later(lambda: self.network.lost(self, ev.MqttLost(reason)))

    def vanish(self) -> None:
        """The device has let go, or is off."""
        self._gone = True
        if self.is_open:
            self.network.cloud.gone()

    def _check_end(self) -> None:
        for fault in self.faults:
            if fault.kind in _ENDS and fault.value == self._count:
                match fault.kind:
                    case Kind.RESET | Kind.LIMIT_DATA:
                        self.lose("connection reset" if fault.kind is Kind.RESET else "connection closed")
                    case Kind.TIMEOUT:
                        self.network.clock.after(SILENCE, lambda: self.lose("connection closed"))
                        self._swallows = True
                    case _:
                        self._swallows = True

    def _later(self, action: Callable[[], None], trips: int = 1) -> None:
        delay = sum(self.network.delay(self.link) for _ in range(trips))
        self._latest = max(self._latest, self.network.clock.now + delay)
        self.network.clock.at(self._latest, lambda: None if self._gone else action())


@dataclass(slots=True)
class _TcpConnection:
    """One connection of Web Shell or Web Log. It is the server's `Peer`."""

    network: VirtualNetwork
    effect: ev.TcpOpen
    server: ConsoleServer | None
    link: Link
    faults: Faults = NO_FAULTS
    _gone: bool = False
    _sent: int = 0  # bytes the server has sent
    _latest: int = 0

    def open(self) -> None:
        self._later(self._opened if self.server is not None else self._refused, 2)

    def _opened(self) -> None:
        if self.server is not None:
            self.network.hand_over(ev.TcpOpened(self.effect.connection))
            self.server.opened(self, self.effect.greeting)

    def _refused(self) -> None:
        self.network.tcp_ended(self.effect.connection)
        self.network.hand_over(ev.TcpFailed(self.effect.connection, ev.TcpStage.CONNECT))

    def heard(self, data: bytes) -> None:
        server = self.server
        if server is not None and value_of(self.faults, Kind.HALF_OPEN) is None:
            self._later(lambda: server.heard(data))

    def send(self, data: bytes) -> None:
        end, how = _end_of_data(self.faults)
        for start in range(0, len(data), self.link.slicer):
            piece = data[start : start + min(self.link.slicer, end - self._sent)]
            if piece:
                self._later(lambda piece=piece: self._hand_over(ev.TcpData(self.effect.connection, piece)))  # type: ignore[misc]
                self._sent += len(piece)
        if self._sent >= end and how in (Kind.RESET, Kind.LIMIT_DATA):
            self._end(ev.TcpEnd.RESET if how is Kind.RESET else ev.TcpEnd.ORDERLY)

    def close(self) -> None:
        self._end(ev.TcpEnd.ORDERLY)

    def vanish(self) -> None:
        self._gone = True
        if self.server is not None:
            self.server.closed()

    def _end(self, end: ev.TcpEnd) -> None:
        late = value_of(self.faults, Kind.SLOW_CLOSE) or 0
        self._later(lambda: self._hand_over(ev.TcpClosed(self.effect.connection, end)), late=late)

    def _hand_over(self, event: ev.Event) -> None:
        self.network.hand_over(event)

    def _later(self, action: Callable[[], None], trips: int = 1, late: int = 0) -> None:
        delay = sum(self.network.delay(self.link) for _ in range(trips)) + late
        self._latest = max(self._latest, self.network.clock.now + delay)
        self.network.clock.at(self._latest, lambda: None if self._gone else action())
