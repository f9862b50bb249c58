"""A recording by connections, decoded into messages. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.events import Closed, Data, Ended, Event, Opened, Refused
from sim.traffic.messages import Message, Stream, stream


@dataclass(frozen=True, slots=True)
class Said:
    """A message, complete `t` seconds after the start of the recording."""

    t: float
    direction: Direction
    message: Message


@dataclass(slots=True)
class Conversation:
    """One connection. `to` is None if it was refused or its beginning was not recorded."""

    connection: int
    link: Link
    opened: float
    to: Address | None = None
    said: list[Said] = field(default_factory=list)
    refused: bool = False


def conversations(events: Iterable[Event]) -> list[Conversation]:
    """The connections in the order they were opened."""
    found: dict[int, Conversation] = {}
    for event, messages in decoded(events):
        conversation = found.setdefault(event.connection, Conversation(event.connection, event.link, event.t))
        conversation.said += messages
        match event:
            case Opened(to=to):
                conversation.to = to
            case Refused():
                conversation.refused = True
    return list(found.values())


def decoded(events: Iterable[Event]) -> Iterator[tuple[Event, list[Said]]]:
    """Each event with the messages it completes; at the end those that never were completed."""
    streams: dict[tuple[int, Direction], Stream] = {}
    last: dict[tuple[int, Direction], Event] = {}
    for event in events:
        said: list[Said] = []
        match event:
            case Data(t, connection, link, direction, data):
                key = (connection, direction)
                if key not in streams:
                    streams[key] = stream(link, direction)
                last[key] = event
                said = [Said(t, direction, each) for each in streams[key].feed(data)]
            case Ended(t, connection, _, direction) if (connection, direction) in streams:
                said = [Said(t, direction, each) for each in streams.pop((connection, direction)).end()]
            case Closed(t, connection):
                for direction in Direction:
                    if (connection, direction) in streams:
                        rest = streams.pop((connection, direction)).end()
                        said += [Said(t, direction, each) for each in rest]
        yield event, said
    for (_, direction), each in streams.items():
        event = last[_, direction]
        if rest := each.end():
            yield event, [Said(event.t, direction, message) for message in rest]
