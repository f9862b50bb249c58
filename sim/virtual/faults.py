"""Faults as data: what a network, a server, power and flash do wrong, and schedules of it drawn from a seed.

The network's words are those of the fault proxy for real sockets (docs/network-faults.md), so that a fault
found in virtual time can be named on real ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from sim.faults.powercut.model import Cut
from sim.flash.power import CutMoment
from sim.virtual.clock import SECOND

_Item = TypeVar("_Item")


class Randomness(Protocol):
    """What is needed of a seeded `random.Random`."""

    def random(self) -> float: ...

    def randrange(self, start: int, stop: int, /) -> int: ...

    def choice(self, seq: Sequence[_Item], /) -> _Item: ...


class Kind(StrEnum):
    """What is wrong with one connection. The unit of the fault's value stands behind each.

    Bytes are those of the HTTP body, or of what a TCP server sends. On MQTT, messages to the device take
    their place, counted from the connection's beginning.
    """

    LATENCY = "latency"  # microseconds more, each way
    JITTER = "jitter"  # microseconds more at most, drawn for each piece
    BANDWIDTH = "bandwidth"  # bytes per second
    SLICER = "slicer"  # bytes at a time
    RESET = "reset"  # bytes until the connection is reset
    LIMIT_DATA = "limit_data"  # bytes until the connection is closed
    TIMEOUT = "timeout"  # bytes until nothing comes; the connection is closed `SILENCE` later
    HALF_OPEN = "half_open"  # bytes until everything is swallowed, and nothing is ever closed
    SLOW_CLOSE = "slow_close"  # microseconds the end is late
    UNREACHABLE = "unreachable"  # no connection: DNS or TCP
    # Single MQTT messages
    LOSS = "loss"  # number of the message that is lost
    DUPLICATE = "duplicate"  # number of the message that comes twice
    REORDER = "reorder"  # number of the message that comes after the next one
    # Servers that lie about a package
    OTHER_OFFSET = "other_offset"  # bytes beside the offset asked for at which a 206 begins, and says so
    UNTOLD_OFFSET = "untold_offset"  # the same, but Content-Range tells the offset asked for
    OTHER_BODY = "other_body"  # another build of the same size, under the same entity tag
    WHOLE = "whole"  # 200 and the whole body, whatever was asked for
    CHANGED_ETAG = "changed_etag"  # another build, with an entity tag of its own
    NO_ETAG = "no_etag"  # the right body without an entity tag
    NOT_SATISFIABLE = "not_satisfiable"  # 416
    NOT_FOUND = "not_found"  # 404
    UNAVAILABLE = "unavailable"  # 503
    REDIRECT = "redirect"  # 302 to the same place
    ENDLESS = "endless"  # a body that never ends
    LONGER = "longer"  # bytes more than declared
    TRUNCATED = "truncated"  # bytes less than declared


SILENCE: Final = 60 * SECOND  # until a connection with `TIMEOUT` is closed


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a connection; its text is what the event log shows."""

    kind: Kind
    value: int = 0

    def __str__(self) -> str:
        return f"{self.kind}@{self.value}" if self.value else str(self.kind)


Faults = tuple[Fault, ...]  # of one connection
NO_FAULTS: Final[Faults] = ()


def value_of(faults: Faults, kind: Kind) -> int | None:
    """The value of the fault of that kind; None without one."""
    for fault in faults:
        if fault.kind is kind:
            return fault.value
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults by connection: those of the first ones in order, then the same ones for ever."""

    first: tuple[Faults, ...] = ()
    later: Faults = NO_FAULTS

    def of(self, number: int) -> Faults:
        """Those of the connection with that number, from 0."""
        return self.first[number] if number < len(self.first) else self.later

    def __str__(self) -> str:
        parts = [_text(faults) for faults in self.first]
        if self.later:
            parts.append(f"then {_text(self.later)}")
        return " | ".join(parts) or "honest"


def _text(faults: Faults) -> str:
    return ",".join(map(str, faults)) or "honest"


HONEST: Final = Plan()


@dataclass(frozen=True, slots=True)
class FlashFailure:
    """`count` driver calls fail, from number `first` since power on."""

    first: int
    count: int

    def __str__(self) -> str:
        return f"{self.first}+{self.count}"


@dataclass(frozen=True, slots=True)
class Outage:
    """The broker is away from the time `start` on for `length`, both in microseconds."""

    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSchedule:
    """Everything that goes wrong in one world."""

    activation: Plan = HONEST
    http: Plan = HONEST  # downloads
    mqtt: Plan = HONEST
    log: Plan = HONEST
    shell: Plan = HONEST
    broker: tuple[Outage, ...] = ()
    cuts: tuple[Cut | None, ...] = ()  # by power on: the flash operation at which power goes
    blackouts: tuple[int, ...] = ()  # microseconds: power goes, whatever the device does
    flash: tuple[FlashFailure | None, ...] = ()  # by power on

    def __str__(self) -> str:
        """One line, for the head of an event log."""
        parts = [
            f"{name} {plan}"
            for name, plan in (("activation", self.activation), ("http", self.http), ("mqtt", self.mqtt))
            if plan != HONEST
        ]
        parts += [f"broker away {each.start}+{each.length}" for each in self.broker]
        if self.cuts:
            parts.append("cuts " + ",".join(str(cut or "-") for cut in self.cuts))
        if self.blackouts:
            parts.append("blackouts " + ",".join(map(str, self.blackouts)))
        if self.flash:
            parts.append("flash fails " + ",".join(str(each or "-") for each in self.flash))
        return "; ".join(parts) or "no faults"


_ALWAYS: Final = (  # faults that a server may have for ever
    Kind.UNREACHABLE,
    Kind.WHOLE,
    Kind.OTHER_OFFSET,
    Kind.UNTOLD_OFFSET,
    Kind.OTHER_BODY,
    Kind.CHANGED_ETAG,
    Kind.NO_ETAG,
    Kind.NOT_SATISFIABLE,
    Kind.NOT_FOUND,
    Kind.UNAVAILABLE,
    Kind.REDIRECT,
    Kind.ENDLESS,
    Kind.LONGER,
    Kind.TRUNCATED,
    Kind.RESET,
    Kind.LIMIT_DATA,
    Kind.TIMEOUT,
    Kind.HALF_OPEN,
    Kind.BANDWIDTH,
    Kind.LATENCY,
    Kind.JITTER,
    Kind.SLICER,
    Kind.SLOW_CLOSE,
)
_MESSAGES: Final = (
    Kind.LOSS,
    Kind.DUPLICATE,
    Kind.REORDER,
    Kind.RESET,
    Kind.LIMIT_DATA,
    Kind.HALF_OPEN,
    Kind.UNREACHABLE,
    Kind.LATENCY,
    Kind.JITTER,
)
_BLOCK: Final = 1024  # bytes, the device's download block
_MOMENTS: Final = tuple(CutMoment)


def draw(source: Randomness, *, body: int = 8192, operations: int = 64) -> FaultSchedule:
    """A schedule for an upgrade whose bodies have about `body` bytes, each boot about `operations` driver
    calls on flash."""
    blackouts = sorted(source.randrange(0, 30 * SECOND) for _ in range(_few(source, 0.15)))
    return FaultSchedule(
        activation=Plan(tuple(_connection(source, _ALWAYS, 200) for _ in range(_few(source, 0.2)))),
        http=Plan(
            tuple(_connection(source, _ALWAYS, body) for _ in range(_few(source, 0.7))),
            _connection(source, _ALWAYS, body) if source.random() < 0.08 else NO_FAULTS,
        ),
        mqtt=Plan(tuple(_connection(source, _MESSAGES, 0) for _ in range(_few(source, 0.5)))),
        broker=tuple(
            Outage(source.randrange(0, 20 * SECOND), source.randrange(SECOND, 120 * SECOND))
            for _ in range(_few(source, 0.2))
        ),
        cuts=tuple(
            Cut(source.randrange(0, operations), source.choice(_MOMENTS)) if source.random() < 0.8 else None
            for _ in range(_few(source, 0.5))
        ),
        blackouts=tuple(blackouts),
        flash=tuple(
            FlashFailure(source.randrange(0, operations), source.choice((1, 1, 2, 5, 40)))
            for _ in range(_few(source, 0.15))
        ),
    )


def _few(source: Randomness, chance: float) -> int:
    """A number from 0 to 4; each next one has `chance`."""
    count = 0
    while count < 4 and source.random() < chance:
        count += 1
    return count


def _connection(source: Randomness, kinds: Sequence[Kind], body: int) -> Faults:
    if source.random() < 0.2:
        return NO_FAULTS
    found = {source.choice(kinds) for _ in range(1 + _few(source, 0.2))}
    return tuple(Fault(kind, _value(source, kind, body)) for kind in sorted(found))


def _value(source: Randomness, kind: Kind, body: int) -> int:
    match kind:
        case Kind.LATENCY | Kind.JITTER:
            return source.randrange(1000, 4 * SECOND)
        case Kind.SLOW_CLOSE:
            return source.randrange(1000, 20 * SECOND)
        case Kind.BANDWIDTH:
            return source.choice((1, 10, 100, 2000))
        case Kind.SLICER:
            return source.choice((1, 7, 16, 333, 1023, 1025, 5000)) if body else 1
        case Kind.OTHER_OFFSET | Kind.UNTOLD_OFFSET:
            return source.choice((16, _BLOCK, 1))
        case Kind.LONGER | Kind.TRUNCATED:
            return source.choice((1, 16, 1000))
        case _ if not body:
            return source.randrange(0, 6)  # a message's number
        case Kind.RESET | Kind.LIMIT_DATA | Kind.TIMEOUT | Kind.HALF_OPEN:
            return _offset(source, body)
        case _:
            return 0


def _offset(source: Randomness, body: int) -> int:
    """An offset of any class: first byte, inside a block, on its boundary and beside it, last byte."""
    edge = _BLOCK * source.randrange(0, max(1, body // _BLOCK) + 1)
    return max(0, source.choice((0, 1, edge - 1, edge, edge + 1, body - 1, source.randrange(0, body))))
