"""Topic names, filters and matching: the tables of MQTT 3.1.1 section 4.7 and our own corner cases."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.mqtt.topics import matches, valid_filter, valid_topic


@pytest.mark.parametrize("topic", ["a", "/", "/a", "a/", "a//b", "$SYS/x", "ACCOUNTS", " ", "t" * 65535])
def test_valid_topic(topic: str) -> None:
    assert valid_topic(topic)
    assert valid_filter(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#", "a\0b", "\ud800", "t" * 65536, "é" * 32768])
def test_invalid_topic(topic: str) -> None:
    assert not valid_topic(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "/+", "+/+", "a/#", "+/#", "/#", "a/+/b", "$SYS/#"])
def test_valid_filter(topic_filter: str) -> None:
    assert valid_filter(topic_filter)


@pytest.mark.parametrize(
    "topic_filter", ["", "a#", "a/#/b", "#/a", "a/b#", "a+", "+a/b", "a/b+", "++", "##", "+#", "a\0"]
)
def test_invalid_filter(topic_filter: str) -> None:
    assert not valid_filter(topic_filter)


MATCHING = [
    ("a/b", "a/b"),
    ("sport/tennis/player1/#", "sport/tennis/player1"),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
    ("sport/#", "sport"),
    ("#", "a"),
    ("#", "/a/b"),
    ("sport/+", "sport/"),
    ("+/+", "/finance"),
    ("/+", "/finance"),
    ("+/tennis/#", "sport/tennis"),
    ("a/+/c", "a//c"),
    ("$SYS/#", "$SYS/broker"),
    ("$SYS/+", "$SYS/broker"),
    ("/device/p/d/#", "/device/p/d/ota"),
    ("+/$SYS", "a/$SYS"),
]
NOT_MATCHING = [
    ("a/b", "a/B"),
    ("a/b", "a/b/"),
    ("a/b/#", "a"),
    ("sport/tennis/+", "sport/tennis/player1/ranking"),
    ("sport/+", "sport"),
    ("+", "/finance"),
    ("#", "$SYS/broker"),
    ("+/broker", "$SYS/broker"),
    ("+", "$SYS"),
    ("/device/p/d/#", "/device/p/d2/ota"),
    ("sport/#", "sports"),
]


@pytest.mark.parametrize(("topic_filter", "topic"), MATCHING)
def test_filter_matches(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic)


@pytest.mark.parametrize(("topic_filter", "topic"), NOT_MATCHING)
def test_filter_does_not_match(topic_filter: str, topic: str) -> None:
    assert not matches(topic_filter, topic)


@settings(deadline=None)
@given(st.text("a+#/\0é"))
def test_a_valid_topic_matches_itself_and_has_no_wildcard(topic: str) -> None:
    if valid_topic(topic):
        assert matches(topic, topic)
        assert not {"+", "#"} & set(topic)
