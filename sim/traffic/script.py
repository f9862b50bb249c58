"""A recording as a script: who connects, says and ends what, in the order it happened. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloudsdk.mqtt.packets import PingReq, PingResp
from cloudsdk.route import Address, Link
from cloudsdk.shell.remote import KEY_SIZE
from sim.faults.network.rules import Direction
from sim.traffic.conversation import decoded
from sim.traffic.events import Closed, Data, Ended, Event, Opened, Refused
from sim.traffic.identifiers import is_activation
from sim.traffic.messages import Http, Message, Text, greeting


@dataclass(frozen=True, slots=True)
class Connects:
    """The device connects."""

    t: float
    connection: int
    link: Link
    to: Address


@dataclass(frozen=True, slots=True)
class Says:
    """A side says something. Console bytes are `Text` as they came, not by lines."""

    t: float
    connection: int
    link: Link
    direction: Direction
    message: Message


@dataclass(frozen=True, slots=True)
class Ends:
    """A side sends no more."""

    t: float
    connection: int
    link: Link
    direction: Direction


@dataclass(frozen=True, slots=True)
class Closes:
    """The connection is over."""

    t: float
    connection: int
    link: Link


Step = Connects | Says | Ends | Closes


def script(events: Iterable[Event], *, activation: bool = True) -> list[Step]:
    """The steps up to the last thing said: how connections end after that is for whoever stopped them.

    Pings are not in it, nor are connections that were refused or whose beginning is missing. Without
    `activation` those that activate are left out: the device has been activated before.
    """
    steps: list[Step] = []
    known: set[int] = set()
    for step in _steps(events):
        if isinstance(step, Connects):
            known.add(step.connection)
        if step.connection in known:
            steps.append(step)
    if not activation:
        left_out = {step.connection for step in steps if _activates(step)}
        steps = [step for step in steps if step.connection not in left_out]
    while steps and isinstance(steps[-1], Ends | Closes):
        steps.pop()
    return steps


def _steps(events: Iterable[Event]) -> Iterator[Step]:
    greetings: dict[int, bytes] = {}  # what there is of the greetings that are not complete
    for event, said in decoded(events):
        connection, link = event.connection, event.link
        for each in said:
            if not says_text(link, each.direction) and not isinstance(each.message, PingReq | PingResp):
                yield Says(each.t, connection, link, each.direction, each.message)
        match event:
            case Opened(t, to=to):
                if link is Link.SHELL:
                    greetings[connection] = b""
                yield Connects(t, connection, link, to)
            case Data(t, direction=direction, data=data) if says_text(link, direction):
                if direction is Direction.UP and connection in greetings:
                    begun = greetings.pop(connection) + data
                    if len(begun) < KEY_SIZE:
                        greetings[connection] = begun
                        continue
                    yield Says(t, connection, link, direction, greeting(begun[:KEY_SIZE]))
                    data = begun[KEY_SIZE:]
                if data:
                    yield Says(t, connection, link, direction, Text(data))
            case Ended(t, direction=direction):
                yield Ends(t, connection, link, direction)
            case Closed(t):
                yield Closes(t, connection, link)
            case Refused():
                pass


def says_text(link: Link, direction: Direction) -> bool:
    """Whether a direction is a console: bytes in any pieces, which mean the same in all of them."""
    return link is Link.SHELL or (link is Link.LOG and direction is Direction.DOWN)


def _activates(step: Step) -> bool:
    return isinstance(step, Says) and isinstance(step.message, Http) and is_activation(step.message.head)
