"""The retained messages: one for each topic, at most `limit` of them."""

from collections.abc import Iterable

from cloudsdk.mqtt import topics
from cloudsdk.mqtt.packets import Publish


class RetainedMessages:
    """The last message of each topic that was published with the retain flag (MQTT 3.1.1 section 3.3.1.3)."""

    __slots__ = ("_limit", "_messages")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: dict[str, Publish] = {}

    def put(self, message: Publish) -> bool:
        """Keep, replace, or with an empty payload remove a topic's message; False if there is no room."""
        topic = message.topic
        if not message.payload:
            self._messages.pop(topic, None)
        elif topic in self._messages or len(self._messages) < self._limit:
            self._messages[topic] = message
        else:
            return False
        return True

    def matching(self, topic_filter: str) -> Iterable[Publish]:
        """What a new subscription gets. The filter must be valid."""
        prefix = topic_filter.split(topics.ANY_LEVEL, 1)[0].split(topics.ANY_REST, 1)[0]
        if prefix == topic_filter:
            message = self._messages.get(topic_filter)
            return () if message is None else (message,)
        # `a/#` includes `a`.
        prefix = prefix.removesuffix(topics.SEPARATOR)
        return [
            message
            for topic, message in self._messages.items()
            if topic.startswith(prefix) and topics.matches(topic_filter, topic)
        ]
