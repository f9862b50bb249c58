"""The subscription tree and the retained messages against the plain matching function."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.mqtt.packets import Publish
from cloudsdk.mqtt.topics import matches, valid_filter, valid_topic
from sim.cloud.broker.retained import RetainedMessages
from sim.cloud.broker.subscriptions import _MAX_KNOWN, _MAX_KNOWN_TOPIC, SubscriptionTree

levels = st.sampled_from(["a", "b", "", "$x"])
topic_names = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(valid_topic)
filters = (
    st.lists(levels | st.sampled_from(["+", "#"]), min_size=1, max_size=4).map("/".join).filter(valid_filter)
)
subscriptions = st.lists(st.tuples(filters, st.sampled_from("xyz"), st.integers(0, 2)), max_size=12)


@settings(deadline=None)
@given(subscriptions, subscriptions, topic_names)
def test_tree_agrees_with_matching(
    added: list[tuple[str, str, int]], removed: list[tuple[str, str, int]], topic: str
) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    plain: dict[tuple[str, str], int] = {}
    for topic_filter, subscriber, qos in added:
        tree.add(topic_filter, subscriber, qos)
        plain[topic_filter, subscriber] = qos
        tree.match(topic)  # what it remembers of this must not outlive the next change
    for topic_filter, subscriber, _ in removed:
        tree.remove(topic_filter, subscriber)
        plain.pop((topic_filter, subscriber), None)
        tree.match(topic)
    expected: dict[str, int] = {}
    for (topic_filter, subscriber), qos in plain.items():
        if matches(topic_filter, topic):
            expected[subscriber] = max(qos, expected.get(subscriber, 0))
    assert tree.match(topic) == expected


@settings(deadline=None)
@given(subscriptions)
def test_tree_is_empty_again_after_all_are_removed(added: list[tuple[str, str, int]]) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter, subscriber, qos in added:
        tree.add(topic_filter, subscriber, qos)
    for topic_filter, subscriber, _ in added:
        tree.remove(topic_filter, subscriber)
    assert not tree._root.children
    assert not tree._root.subscribers


def test_remembered_matches_are_bounded() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add("#", "x", 1)
    for number in range(3 * _MAX_KNOWN):
        assert tree.match(f"t/{number}") == {"x": 1}
    tree.match("t" * (_MAX_KNOWN_TOPIC + 1))
    assert len(tree._matches) <= _MAX_KNOWN
    assert all(len(topic) <= _MAX_KNOWN_TOPIC for topic in tree._matches)


@settings(deadline=None)
@given(st.lists(topic_names, max_size=12), filters)
def test_retained_messages_are_found_by_the_same_rule(names: list[str], topic_filter: str) -> None:
    kept = RetainedMessages(limit=100)
    for name in names:
        assert kept.put(Publish(name, b"x", retain=True))
    found = [message.topic for message in kept.matching(topic_filter)]
    assert found == [name for name in dict.fromkeys(names) if matches(topic_filter, name)]
