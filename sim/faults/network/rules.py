"""Faults of a network as data, and the draw of those that one connection meets. Pure: the seed is given."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from cloudsdk.route import Link
from sim.faults.network.errors import FaultSpecError

MAX_SECONDS: Final = 86_400.0
MAX_BYTES: Final = 2**40


class Direction(StrEnum):
    UP = "up"  # from the device to the cloud
    DOWN = "down"


class Duplicates(IntEnum):
    """Which MQTT PUBLISH packets are delivered twice."""

    NONE = 0
    QOS1 = 1  # the second one with DUP, as MQTT 3.1.1 section 3.3.1.1 has it
    ALL = 2  # QoS 0 as well, as a sender that repeats itself: there the flag has to stay 0


class Ending(StrEnum):
    """How a fault ends a connection, or only its use."""

    RESET = "reset"  # RST to both sides
    LIMIT = "limit"  # FIN to both sides
    HALF_OPEN = "half-open"  # everything is swallowed, nothing is closed
    TIMEOUT = "timeout"  # everything is swallowed, then FIN to both sides


@dataclass(frozen=True, slots=True)
class Span:
    """A number of bytes from `low` to `high`, both included; drawn once for each use."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= MAX_BYTES:
            raise FaultSpecError(f"{self.low}..{self.high} is no range of 0 to {MAX_BYTES} bytes")

    @classmethod
    def exactly(cls, count: int) -> "Span":
        return cls(count, count)

    def draw(self, source: random.Random) -> int:
        return source.randint(self.low, self.high)


START: Final = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing passes after `at` bytes; `seconds` later the connection is closed."""

    seconds: float
    at: Span = START


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """What happens to a share of the connections of a link. Raises `FaultSpecError`.

    Byte offsets count what was forwarded in the rule's direction; without a direction, in either.
    """

    link: Link | None = None  # None: all
    direction: Direction | None = None  # None: both
    share: float = 1.0  # of the connections, 0 to 1
    latency: float = 0.0  # seconds
    jitter: float = 0.0  # seconds more or less than the latency, drawn for each piece of data
    bandwidth: int = 0  # bytes per second; 0: unlimited
    slice: Span | None = None  # bytes per send
    pause: float = 0.0  # seconds after each slice
    reset: Span | None = None
    limit: Span | None = None
    half_open: Span | None = None
    timeout: Stall | None = None
    slow_close: float = 0.0  # seconds that an end of stream is held back
    duplicate: Duplicates = Duplicates.NONE

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise FaultSpecError("share must be a number from 0 to 1")
        stall = self.timeout.seconds if self.timeout is not None else 0.0
        for seconds in (self.latency, self.jitter, self.pause, self.slow_close, stall):
            if not 0 <= seconds <= MAX_SECONDS:
                raise FaultSpecError(f"a time must be from 0 to {MAX_SECONDS:.0f} seconds")
        if not 0 <= self.bandwidth <= MAX_BYTES:
            raise FaultSpecError(f"bandwidth must be from 1 to {MAX_BYTES} bytes per second")
        if self.slice is not None and not self.slice.low:
            raise FaultSpecError("a slice has at least 1 byte")
        if self.pause and self.slice is None:
            raise FaultSpecError("pause is between slices: give slice as well")


@dataclass(frozen=True, slots=True)
class FaultSet:
    """Rules that hold together. Equal seeds draw equal faults for the Nth connection of a link."""

    rules: tuple[FaultRule, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """An ending drawn for one connection."""

    kind: Ending
    at: int  # bytes
    seconds: float = 0.0  # of a timeout
    whole: bool = True  # both directions stop, not only the one that is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one direction of one connection meets: times of several rules add up, else the strictest holds."""

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: int = 0
    slice: Span | None = None
    pause: float = 0.0
    slow_close: float = 0.0
    duplicate: Duplicates = Duplicates.NONE
    cuts: tuple[Cut, ...] = ()  # the nearest first


@dataclass(frozen=True, slots=True)
class Draw:
    """The faults of one connection: `hits` are the numbers of the rules it meets."""

    hits: tuple[int, ...]
    up: Plan
    down: Plan


def draw(faults: FaultSet, link: Link | None, number: int) -> Draw:
    """The faults of the connection `number` of `link`. Each rule has a source of its own."""
    hits: list[int] = []
    met: dict[Direction, list[FaultRule]] = {Direction.UP: [], Direction.DOWN: []}
    cuts: dict[Direction, list[Cut]] = {Direction.UP: [], Direction.DOWN: []}
    for index, rule in enumerate(faults.rules):
        if rule.link not in (None, link):
            continue
        source = random.Random(f"{faults.seed}:{link}:{number}:{index}")
        if source.random() >= rule.share:
            continue
        hits.append(index)
        drawn = _cuts(rule, source)
        for direction in Direction if rule.direction is None else (rule.direction,):
            met[direction].append(rule)
            cuts[direction] += drawn
    return Draw(tuple(hits), *(_plan(met[each], cuts[each]) for each in Direction))


def _cuts(rule: FaultRule, source: random.Random) -> list[Cut]:
    whole = rule.direction is None
    drawn = [
        Cut(kind, span.draw(source), whole=whole)
        for kind, span in (
            (Ending.RESET, rule.reset),
            (Ending.LIMIT, rule.limit),
            (Ending.HALF_OPEN, rule.half_open),
        )
        if span is not None
    ]
    if rule.timeout is not None:
        drawn.append(Cut(Ending.TIMEOUT, rule.timeout.at.draw(source), rule.timeout.seconds, whole))
    return drawn


def _plan(rules: Iterable[FaultRule], cuts: list[Cut]) -> Plan:
    rules = list(rules)
    return Plan(
        latency=sum(rule.latency for rule in rules),
        jitter=sum(rule.jitter for rule in rules),
        bandwidth=min((rule.bandwidth for rule in rules if rule.bandwidth), default=0),
        slice=min((rule.slice for rule in rules if rule.slice), key=lambda span: span.high, default=None),
        pause=sum(rule.pause for rule in rules),
        slow_close=sum(rule.slow_close for rule in rules),
        duplicate=max((rule.duplicate for rule in rules), default=Duplicates.NONE),
        cuts=tuple(sorted(cuts, key=lambda cut: cut.at)),
    )
