"""What a proxy tells while it runs. Never what passes through it: that holds secrets."""

from dataclasses import asdict, dataclass
from typing import Any

from cloudsdk.route import Link
from sim.faults.network.rules import Direction, Ending


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection was taken and made; `faults` are the specs of the rules it meets."""

    link: Link | None
    connection: int  # number on its link, from 1
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A connection was taken and reset: there is no way to the other side."""

    link: Link | None
    connection: int
    reason: str


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault has ended a connection, or its use."""

    link: Link | None
    connection: int
    fault: Ending
    direction: Direction
    at: int  # bytes forwarded in that direction


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection is over. `up` and `down` are bytes forwarded."""

    link: Link | None
    connection: int
    up: int
    down: int
    reset: bool  # ended with RST, not FIN


ProxyEvent = Opened | Refused | Struck | Closed


def as_json(event: ProxyEvent) -> dict[str, Any]:
    """The event as one JSON object; `event` names its kind."""
    return {"event": type(event).__name__.lower(), **asdict(event)}
