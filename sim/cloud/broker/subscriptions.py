"""Subscriptions of all sessions as a tree of topic levels."""

from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

from cloudsdk.mqtt.topics import ANY_LEVEL, ANY_REST, SEPARATOR

_MAX_KNOWN: Final = 8192  # topics whose subscribers are remembered
_MAX_KNOWN_TOPIC: Final = 256  # characters of the longest

S = TypeVar("S", bound=Hashable)


class _Node(Generic[S]):
    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = {}
        self.subscribers: dict[S, int] = {}


class SubscriptionTree(Generic[S]):
    """Maps topics to subscribers and their granted QoS. Filters and topics must be valid.

    The cost of a match depends on the levels of the topic and the wildcards on its way, not on the number of
    subscriptions. Matches are remembered until a subscription changes.
    """

    __slots__ = ("_matches", "_root")

    def __init__(self) -> None:
        self._root: _Node[S] = _Node()
        self._matches: dict[str, Mapping[S, int]] = {}  # by topic

    def add(self, topic_filter: str, subscriber: S, qos: int) -> None:
        """Subscribe, or change the QoS of an existing subscription."""
        self._matches.clear()
        node = self._root
        for level in topic_filter.split(SEPARATOR):
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        node.subscribers[subscriber] = qos

    def remove(self, topic_filter: str, subscriber: S) -> None:
        """Unsubscribe; nothing happens if there is no such subscription."""
        self._matches.clear()
        levels = topic_filter.split(SEPARATOR)
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        path[-1].subscribers.pop(subscriber, None)
        for level in reversed(levels):
            node = path.pop()
            if node.children or node.subscribers:
                return
            del path[-1].children[level]

    def match(self, topic: str) -> Mapping[S, int]:
        """Subscribers of `topic`, each with the highest QoS of its matching subscriptions."""
        known = self._matches.get(topic)
        if known is None:
            known = self._walk(topic)
            if len(topic) <= _MAX_KNOWN_TOPIC:
                if len(self._matches) >= _MAX_KNOWN:
                    self._matches.clear()
                self._matches[topic] = known
        return known

    def _walk(self, topic: str) -> dict[S, int]:
        found: dict[S, int] = {}
        # A leading wildcard does not select topics that start with `$` (MQTT 3.1.1 section 4.7.2).
        wild = not topic.startswith("$")
        nodes = [self._root]
        for level in topic.split(SEPARATOR):
            reached = []
            for node in nodes:
                children = node.children
                if wild:
                    _collect(children.get(ANY_REST), found)
                    if (child := children.get(ANY_LEVEL)) is not None:
                        reached.append(child)
                if (child := children.get(level)) is not None:
                    reached.append(child)
            if not reached:
                return found
            nodes = reached
            wild = True
        for node in nodes:
            _collect(node, found)
            _collect(node.children.get(ANY_REST), found)  # `a/#` includes `a`
        return found


def _collect(node: _Node[S] | None, found: dict[S, int]) -> None:
    if node is not None:
        for subscriber, qos in node.subscribers.items():
            if qos >= found.get(subscriber, 0):
                found[subscriber] = qos
