"""Topic names and topic filters (MQTT 3.1.1 section 4.7)."""

from typing import Final

SEPARATOR: Final = "/"
ANY_LEVEL: Final = "+"
ANY_REST: Final = "#"
MAX_TOPIC_BYTES: Final = 65535  # the two-byte length in front of every string


def valid_topic(topic: str) -> bool:
    """True if a message may be published to `topic`."""
    return _valid_text(topic) and ANY_LEVEL not in topic and ANY_REST not in topic


def valid_filter(topic_filter: str) -> bool:
    """True if a client may subscribe to `topic_filter`: a wildcard fills its level, `#` is the last one."""
    if not _valid_text(topic_filter):
        return False
    levels = topic_filter.split(SEPARATOR)
    if any(ANY_REST in level for level in levels[:-1]):
        return False
    return all(
        level in (ANY_LEVEL, ANY_REST) or (ANY_LEVEL not in level and ANY_REST not in level)
        for level in levels
    )


def matches(topic_filter: str, topic: str) -> bool:
    """True if `topic_filter` selects `topic`. Both must be valid.

    `#` includes the parent level; a leading wildcard does not select topics that start with `$`.
    """
    if topic.startswith("$") and topic_filter.startswith((ANY_LEVEL, ANY_REST)):
        return False
    wanted = topic_filter.split(SEPARATOR)
    levels = topic.split(SEPARATOR)
    if wanted[-1] == ANY_REST:
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        want in (ANY_LEVEL, level) for want, level in zip(wanted, levels, strict=True)
    )


def _valid_text(text: str) -> bool:
    if not text or "\0" in text:
        return False
    try:
        return len(text.encode()) <= MAX_TOPIC_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False
