"""The subscription tree against the plain matching function."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.mqtt.topics import matches, valid_filter, valid_topic
from sim.cloud.broker.subscriptions import SubscriptionTree

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
    for topic_filter, subscriber, _ in removed:
        tree.remove(topic_filter, subscriber)
        plain.pop((topic_filter, subscriber), None)
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
