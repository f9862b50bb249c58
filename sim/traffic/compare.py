"""Two recordings compared by what was said, not when. Pure."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from cloudsdk.mqtt.packets import PingReq, PingResp, PubAck, PubComp, PubRec, PubRel
from cloudsdk.route import Link
from sim.faults.network.rules import Direction
from sim.traffic.conversation import Conversation, conversations
from sim.traffic.fields import Fields, Placeholders, as_they_are, fields_of
from sim.traffic.identifiers import Visit
from sim.traffic.recording import Recording

MAX_DIFFERENCES: Final = 1000  # that are listed
MAX_ALIGNED: Final = (
    2000  # messages of one direction that are matched up; longer ones are compared by position
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What counts. `timing`: how much the seconds since the start of the connection may differ."""

    identifiers: bool = False
    pings: bool = False
    timing: float | None = None
    links: frozenset[Link] = frozenset(Link)
    directions: frozenset[Direction] = frozenset(Direction)


@dataclass(frozen=True, slots=True)
class Difference:
    """`a` is missing in the second recording, `b` in the first; both: `members` are not the same.

    `connection` counts on its link from 1, `message` in its direction from 1. A whole connection that is
    missing has neither direction nor message.
    """

    link: Link
    connection: int
    direction: Direction | None
    message: int | None
    members: tuple[str, ...]
    a: Fields | None
    b: Fields | None

    def as_json(self) -> dict[str, Any]:
        return {
            "link": str(self.link),
            "connection": self.connection,
            "direction": str(self.direction) if self.direction is not None else None,
            "message": self.message,
            "members": list(self.members),
            "a": self.a,
            "b": self.b,
        }


_ACKNOWLEDGEMENTS: Final = (PubAck, PubRec, PubRel, PubComp)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int  # in its direction
    t: float  # seconds since the connection was opened
    fields: Fields


def compare(a: Recording, b: Recording, wanted: Comparison | None = None) -> list[Difference]:
    """The differences, at most `MAX_DIFFERENCES`, by connection and direction."""
    wanted = wanted or Comparison()
    found: list[Difference] = []
    ours, theirs = (_by_link(recording, wanted) for recording in (a, b))
    for link in Link:
        if link not in wanted.links:
            continue
        for difference in _compare_link(link, ours[link], theirs[link], wanted):
            found.append(difference)
            if len(found) == MAX_DIFFERENCES:
                return found
    return found


def _by_link(recording: Recording, wanted: Comparison) -> dict[Link, list[dict[Direction, list[_Line]]]]:
    visit: Visit = as_they_are if wanted.identifiers else Placeholders()
    found: dict[Link, list[dict[Direction, list[_Line]]]] = defaultdict(list)
    for conversation in conversations(recording.events):
        if not conversation.refused:
            found[conversation.link].append(_lines(conversation, visit, wanted))
    return found


def _lines(conversation: Conversation, visit: Visit, wanted: Comparison) -> dict[Direction, list[_Line]]:
    """Acknowledgements come last: whether one overtakes a message is a matter of timing."""
    lines: dict[Direction, list[_Line]] = {direction: [] for direction in Direction}
    acknowledgements: dict[Direction, list[_Line]] = {direction: [] for direction in Direction}
    for said in conversation.said:
        if isinstance(said.message, PingReq | PingResp) and not wanted.pings:
            continue
        fields = fields_of(said.message, visit, exact=wanted.identifiers)
        number = len(lines[said.direction]) + len(acknowledgements[said.direction]) + 1
        lane = acknowledgements if isinstance(said.message, _ACKNOWLEDGEMENTS) else lines
        lane[said.direction].append(_Line(number, said.t - conversation.opened, fields))
    return {direction: lines[direction] + acknowledgements[direction] for direction in Direction}


def _compare_link(
    link: Link,
    ours: Sequence[dict[Direction, list[_Line]]],
    theirs: Sequence[dict[Direction, list[_Line]]],
    wanted: Comparison,
) -> Iterator[Difference]:
    for number in range(1, max(len(ours), len(theirs)) + 1):
        if number > len(ours) or number > len(theirs):
            only: Fields = {"message": "connection"}
            missing = number > len(theirs)
            yield Difference(
                link, number, None, None, (), only if missing else None, None if missing else only
            )
            continue
        for direction in Direction:
            if direction in wanted.directions:
                a, b = ours[number - 1][direction], theirs[number - 1][direction]
                for message, members, left, right in _compare_lines(a, b, wanted.timing):
                    yield Difference(link, number, direction, message, members, left, right)


_Found = tuple[int, tuple[str, ...], Fields | None, Fields | None]


def _compare_lines(a: list[_Line], b: list[_Line], timing: float | None) -> Iterator[_Found]:
    for kind, a_start, a_stop, b_start, b_stop in _opcodes(a, b):
        for offset in range(max(a_stop - a_start, b_stop - b_start)):
            left = a[a_start + offset] if a_start + offset < a_stop else None
            right = b[b_start + offset] if b_start + offset < b_stop else None
            if left is None or right is None:
                number = left.number if left is not None else right.number if right is not None else 0
                a_fields, b_fields = (each.fields if each is not None else None for each in (left, right))
                yield number, (), a_fields, b_fields
            elif kind != "equal":
                yield left.number, tuple(_members(left.fields, right.fields)), left.fields, right.fields
            elif timing is not None and abs(left.t - right.t) > timing:
                yield left.number, ("t",), _timed(left), _timed(right)


def _opcodes(a: list[_Line], b: list[_Line]) -> list[tuple[str, int, int, int, int]]:
    texts = [[json.dumps(line.fields, sort_keys=True) for line in each] for each in (a, b)]
    if max(len(a), len(b)) <= MAX_ALIGNED:
        codes: list[tuple[str, int, int, int, int]] = list(
            SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes()
        )
        return codes
    common = min(len(a), len(b))
    pairs = [
        ("equal" if texts[0][at] == texts[1][at] else "replace", at, at + 1, at, at + 1)
        for at in range(common)
    ]
    return [*pairs, ("replace", common, len(a), common, len(b))]


def _timed(line: _Line) -> Fields:
    return {**line.fields, "t": round(line.t, 3)}


def _members(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, as paths with dots."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(a.keys() | b.keys()):
            inner = f"{path}.{name}" if path else name
            if (name in a) != (name in b):
                yield inner
            else:
                yield from _members(a.get(name), b.get(name), inner)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _members(left, right, f"{path}.{index}")
    elif a != b or type(a) is not type(b):
        yield path
