"""The recorder: a proxy that writes down what passes, and leads here what the cloud wants led elsewhere."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from cloudsdk.errors import CloudSdkError
from cloudsdk.mqtt.packets import Packet
from cloudsdk.route import Address, Link
from sim.faults.network import Closed as ProxyClosed
from sim.faults.network import FaultProxy, ProxyEvent
from sim.faults.network import Refused as ProxyRefused
from sim.faults.network.rules import Direction
from sim.traffic.addresses import lead_packet, lead_request, lead_response
from sim.traffic.events import Closed, Data, Ended, Event, Opened, Refused
from sim.traffic.filters import Filter, HttpFilter, MqttFilter, Unchanged
from sim.traffic.mask import Mask
from sim.traffic.recording import RecordingWriter

HOST: Final = "127.0.0.1"
MAX_DATA: Final = 64 * 1024  # bytes in one event; with every byte escaped it fits into a line
MAX_PLACES: Final = 128  # addresses a cloud may name; connections to further ones pass by

_log = logging.getLogger(__name__)


class Recorder:
    """Records into `writer` from entry to exit. A context manager.

    Addresses in what the cloud sends become places on
    `host`, unless `rewrite` is off: then a device in this process comes here by `route`. The recording has
    what each side sent, before anything was rewritten. `mask` replaces secrets in the recording alone.
    """

    def __init__(
        self,
        writer: RecordingWriter,
        *,
        host: str = HOST,
        rewrite: bool = True,
        mask: Mask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._host = host
        self._rewrite = rewrite
        self._mask = mask
        self._clock = clock
        self._lock = threading.RLock()
        self._started = clock()
        self._connections = 0
        self._places: dict[tuple[Link, str, int], Address | None] = {}
        self._own: set[Address] = set()
        self._open: dict[tuple[Link | None, int], int] = {}  # number on its link -> in the recording
        self._proxy = FaultProxy(on_event=self._happened, tap=self._tap)

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._proxy.__exit__(*error)

    def listen(self, link: Link, upstream: Address, port: int = 0) -> Address:
        """Lead connections to `port` (0: any free one) on to `upstream`; returns where to connect.

        Raises `ProxyListenError`.
        """
        place = self._proxy.listen(upstream, link=link, host=self._host, port=port)
        self._own.add(place)
        return place

    def route(self, link: Link, host: str, port: int) -> Address:
        """The way for a `CloudClient` in this process."""
        return self.lead(link, host, port) or (host, port)

    def lead(self, link: Link, host: str, port: int) -> Address | None:
        """Where connections to `host` and `port` go; None when they come here anyway, or no place is left."""
        key = (link, host, port)
        with self._lock:
            if (host, port) in self._own:
                return None
            if key not in self._places:
                if len(self._places) >= MAX_PLACES:
                    return None
                self._places[key] = self._new_place(*key)
            return self._places[key]

    def _new_place(self, link: Link, host: str, port: int) -> Address | None:
        try:
            return self.listen(link, (host, port))
        except CloudSdkError as error:
            _log.warning("connections to %s:%d are not recorded: %s [%s]", host, port, error, error.code)
            return None

    # --- the proxy's thread -------------------------------------------------------------------------

    def _tap(self, link: Link | None, number: int, upstream: Address) -> "_Tap":
        assert link is not None  # noqa: S101 - every listener here has one
        connection = self._number()
        self._open[link, number] = connection
        self._writer.write(Opened(self._now(), connection, link, upstream))
        return _Tap(self, connection, link, upstream)

    def _happened(self, event: ProxyEvent) -> None:
        match event:
            case ProxyClosed(Link() as link, number, reset=reset):
                self._writer.write(Closed(self._now(), self._open.pop((link, number)), link, reset))
            case ProxyRefused(Link() as link, _, reason):
                self._writer.write(Refused(self._now(), self._number(), link, reason))

    def record(self, event: Callable[[float], Event]) -> None:
        """Write the event made with the time that has passed, in seconds."""
        self._writer.write(event(self._now()))

    def masking(self, link: Link, direction: Direction) -> Filter:
        """From what passes to what is recorded."""
        return self._mask.filter(link, direction) if self._mask is not None else Unchanged()

    def rewriting(self, link: Link, direction: Direction, upstream: Address) -> Filter:
        """From what one side sends to what the other gets."""
        if not self._rewrite:
            return Unchanged()
        match link, direction:
            case Link.HTTP, Direction.UP:
                return HttpFilter(lambda head: lead_request(head, upstream))
            case Link.HTTP, Direction.DOWN:
                return HttpFilter(lambda head: lead_response(head, self.lead))
            case Link.MQTT, Direction.DOWN:
                return MqttFilter(self._lead_packet)
        return Unchanged()

    def _lead_packet(self, packet: Packet) -> Packet:
        return lead_packet(packet, self.lead)

    def _number(self) -> int:
        self._connections += 1
        return self._connections

    def _now(self) -> float:
        return self._clock() - self._started


class _Tap:
    """One connection, as the proxy sees it."""

    def __init__(self, recorder: Recorder, connection: int, link: Link, upstream: Address) -> None:
        self._recorder = recorder
        self._connection = connection
        self._link = link
        self._masks = {each: recorder.masking(link, each) for each in Direction}
        self._rewriters = {each: recorder.rewriting(link, each, upstream) for each in Direction}

    def feed(self, direction: Direction, data: bytes) -> bytes:
        self._record(direction, self._masks[direction].feed(data))
        return self._rewriters[direction].feed(data)

    def rest(self, direction: Direction) -> bytes:
        self._record(direction, self._masks[direction].rest())
        self._recorder.record(lambda t: Ended(t, self._connection, self._link, direction))
        return self._rewriters[direction].rest()

    def _record(self, direction: Direction, data: bytes) -> None:
        for start in range(0, len(data), MAX_DATA):
            piece = data[start : start + MAX_DATA]
            self._recorder.record(
                partial(
                    Data,
                    connection=self._connection,
                    link=self._link,
                    direction=direction,
                    data=piece,
                )
            )
