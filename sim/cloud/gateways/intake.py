"""One console connection, from the TCP connection to its end, without sockets. Pure.

Times are those of one monotonic clock, in seconds.
"""

from enum import Enum, StrEnum, auto

from sim.cloud.gateways.decoders import Decoder, GarbageError
from sim.cloud.gateways.greeting import Key, parse_key
from sim.cloud.gateways.limits import ConsoleLimits


class Phase(Enum):
    GREETING = auto()  # the key is not complete
    CHECKING = auto()  # somebody asks the database
    OPEN = auto()
    CLOSING = auto()  # FIN is on its way; the last lines of a log still count, other data is dropped


class End(StrEnum):
    """Why a connection ended."""

    NO_KEY = "no-key"  # too late, or too little
    BAD_KEY = "bad-key"
    UNEXPECTED = "unexpected"  # nobody asked the device for it
    GARBAGE = "garbage"
    CLOSED = "closed"  # whoever used it has closed it
    DEVICE = "device"  # the device has closed it, or is gone
    IDLE = "idle"
    STALLED = "stalled"  # the viewer does not read
    LATE = "late"  # nobody waits for it any more
    REPLACED = "replaced"  # the device has connected again
    STOPPED = "stopped"  # the server stops
    FAILED = "failed"  # the cloud could not ask its database


class Expiry(Enum):
    """What a deadline that has passed means."""

    NO_KEY = auto()
    IDLE = auto()
    STAYS = auto()  # the device does not close; told once


class Intake:
    """`idle`: seconds without data until that is told."""

    def __init__(self, decoder: Decoder, limits: ConsoleLimits, *, idle: float, now: float) -> None:
        self.phase = Phase.GREETING
        self.end: End | None = None
        self.is_known = False  # its key was right
        self._decoder = decoder
        self._heeds_rest = decoder.heeds_rest
        self._limits = limits
        self._idle = idle
        self._since = now  # begin of the phase, or last data of an open connection
        self._drained = 0
        self._stays_told = False

    def received(self, data: bytes, now: float) -> list[Key | bytes]:
        """The key, once, and what a known device sends. May end in `Phase.CLOSING`."""
        if self.phase is Phase.CLOSING and not (self.is_known and self._heeds_rest):
            self._drained += len(data)
            return []
        if self.phase is Phase.OPEN:
            self._since = now
        try:
            items = self._decoder.feed(data)
        except GarbageError:
            self._heeds_rest = False
            self.finish(End.GARBAGE, now)
            return []
        if not items or self.phase is not Phase.GREETING:
            return [*items]
        key = parse_key(items[0])
        if key is None:
            self.finish(End.BAD_KEY, now)
            return []
        self.phase = Phase.CHECKING
        return [key, *items[1:]]

    def admit(self, now: float) -> None:
        """The key is right, and the connection is wanted."""
        self.is_known = True
        if self.phase is Phase.CHECKING:
            self.phase = Phase.OPEN
            self._since = now

    def touch(self, now: float) -> None:
        """Data went to the device."""
        if self.phase is Phase.OPEN:
            self._since = now

    def finish(self, end: End, now: float) -> bool:
        """Begin to close; False if that has begun already."""
        if self.phase is Phase.CLOSING:
            return False
        self.phase = Phase.CLOSING
        self.end = end
        self._since = now
        return True

    @property
    def is_over(self) -> bool:
        """Whether to hang up without waiting for the other side: a stranger who keeps talking or stays."""
        stays = self._stays_told or self._drained > self._limits.stranger_drain
        return self.phase is Phase.CLOSING and not self.is_known and stays

    @property
    def deadline(self) -> float | None:
        """When to call `expired`."""
        match self.phase:
            case Phase.GREETING:
                return self._since + self._limits.key_timeout
            case Phase.OPEN:
                return self._since + self._idle
            case Phase.CLOSING if not self._stays_told:
                return self._since + self._limits.close_patience
            case _:
                return None

    def expired(self, now: float) -> Expiry | None:
        """None as long as the deadline has not passed."""
        if self.deadline is None or now < self.deadline:
            return None
        match self.phase:
            case Phase.GREETING:
                return Expiry.NO_KEY
            case Phase.OPEN:
                self._since = now
                return Expiry.IDLE
            case _:
                self._stays_told = True
                return Expiry.STAYS
