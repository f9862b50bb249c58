"""The pure core, driven by hand: no sockets, no clock."""

import pytest

from cloudsdk.mqtt.errors import InvalidTopicError, PacketTooLargeError
from cloudsdk.mqtt.packets import (
    SUBSCRIBE_FAILED,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReturnCode,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from sim.cloud.broker.core import BrokerCore
from sim.cloud.broker.effects import Authenticate, Close, Connected, Disconnected, Effect, Message, Send
from sim.cloud.broker.limits import BrokerLimits


class Rules:
    def may_publish(self, client_id: str, topic: str) -> bool:
        return not topic.startswith("forbidden")

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        return not topic_filter.startswith("forbidden")


def make_core(**limits: float) -> BrokerCore:
    return BrokerCore(Rules(), BrokerLimits(**limits), new_client_id=lambda: "generated")  # type: ignore[arg-type]


def join(
    core: BrokerCore, connection: int, client_id: str, now: float = 0.0, **fields: object
) -> list[Effect]:
    """Connect and authenticate; returns the effects of being accepted."""
    assert core.opened(connection, "192.0.2.1", now) == []
    packet = Connect(client_id, **fields)  # type: ignore[arg-type]
    (asked,) = core.received(connection, packet, now)
    assert isinstance(asked, Authenticate)
    return core.authenticated(connection, ReturnCode.ACCEPTED, now)


def subscribe(core: BrokerCore, connection: int, topic_filter: str, qos: int = 0) -> list[Effect]:
    suback, *rest = core.received(connection, Subscribe(1, ((topic_filter, qos),)), 0.0)
    assert suback == Send(connection, SubAck(1, (qos,)))
    return rest


def sent(effects: list[Effect], connection: int) -> list[Packet]:
    return [
        effect.packet for effect in effects if isinstance(effect, Send) and effect.connection == connection
    ]


def test_connect_asks_for_credentials_then_accepts() -> None:
    core = make_core()
    core.opened(1, "192.0.2.1", 0.0)
    asked = core.received(1, Connect("d", username="u", password=b"secret"), 0.0)
    assert asked == [Authenticate(1, "d", "u", b"secret")]
    assert "secret" not in repr(asked)
    assert not core.is_connected("d")
    assert core.authenticated(1, ReturnCode.ACCEPTED, 0.0) == [
        Send(1, ConnAck()),
        Connected("d", "192.0.2.1"),
    ]
    assert core.is_connected("d")


def test_refused_credentials_close() -> None:
    core = make_core()
    core.opened(1, "192.0.2.1", 0.0)
    core.received(1, Connect("d", will=Will("w", b"")), 0.0)
    assert core.authenticated(1, ReturnCode.NOT_AUTHORIZED, 0.0) == [
        Send(1, ConnAck(ReturnCode.NOT_AUTHORIZED)),
        Close(1),
    ]
    assert core.authenticated(1, ReturnCode.ACCEPTED, 0.0) == []


def test_another_protocol_level_is_answered_with_code_1() -> None:
    core = make_core()
    core.opened(1, "192.0.2.1", 0.0)
    assert core.received(1, Connect("", protocol_level=5), 0.0) == [
        Send(1, ConnAck(ReturnCode.UNACCEPTABLE_PROTOCOL)),
        Close(1),
    ]


def test_client_id_is_bounded() -> None:
    core = make_core(max_client_id=16)
    core.opened(1, "192.0.2.1", 0.0)
    assert core.received(1, Connect("d" * 17), 0.0) == [
        Send(1, ConnAck(ReturnCode.IDENTIFIER_REJECTED)),
        Close(1),
    ]
    assert join(core, 2, "d" * 16)


def test_empty_client_id_needs_a_clean_session_and_gets_a_name() -> None:
    core = make_core()
    core.opened(1, "192.0.2.1", 0.0)
    assert core.received(1, Connect("", clean_session=False), 0.0) == [
        Send(1, ConnAck(ReturnCode.IDENTIFIER_REJECTED)),
        Close(1),
    ]
    assert join(core, 2, "") == [Send(2, ConnAck()), Connected("generated", "192.0.2.1")]


@pytest.mark.parametrize("packet", [PingReq(), Publish("t", b""), Disconnect(), ConnAck()])
def test_first_packet_must_be_connect(packet: Packet) -> None:
    core = make_core()
    core.opened(1, "192.0.2.1", 0.0)
    assert core.received(1, packet, 0.0) == [Close(1)]
    assert core.received(1, Connect("d"), 0.0) == []


@pytest.mark.parametrize("packet", [Connect("d"), ConnAck(), SubAck(1, (0,)), UnsubAck(1), PingResp()])
def test_packet_a_client_must_not_send_ends_its_connection(packet: Packet) -> None:
    core = make_core()
    join(core, 1, "d", will=Will("w", b"gone"))
    assert core.received(1, packet, 0.0) == [Message("d", "w", b"gone", True), Disconnected("d"), Close(1)]


def test_connect_must_come_in_time() -> None:
    core = make_core(connect_timeout=10.0)
    core.opened(1, "192.0.2.1", 100.0)
    assert core.tick(109.9) == []
    assert core.tick(110.0) == [Close(1)]


def test_authentication_counts_as_waiting_for_connect() -> None:
    core = make_core(connect_timeout=10.0)
    core.opened(1, "192.0.2.1", 0.0)
    core.received(1, Connect("d"), 9.0)
    assert core.tick(10.0) == [Close(1)]
    assert core.authenticated(1, ReturnCode.ACCEPTED, 11.0) == []


def test_keepalive_expires_after_one_and_a_half_times() -> None:
    core = make_core()
    join(core, 1, "d", keepalive=30, will=Will("w", b"gone"))
    core.received(1, PingReq(), 20.0)
    assert core.tick(64.9) == []
    assert core.tick(65.0) == [Message("d", "w", b"gone", True), Disconnected("d"), Close(1)]


def test_keepalive_zero_never_expires() -> None:
    core = make_core()
    join(core, 1, "d", keepalive=0)
    assert core.tick(1e9) == []


def test_keepalive_rests_while_reading_is_paused() -> None:
    core = make_core()
    join(core, 1, "d", keepalive=10)
    core.paused(1)
    assert core.tick(1000.0) == []
    core.resumed(1, 1000.0)
    assert core.tick(1014.9) == []
    assert core.tick(1015.0)[-1] == Close(1)


def test_will_goes_to_subscribers_and_the_cloud_unless_disconnect_was_sent() -> None:
    core = make_core()
    join(core, 1, "watcher")
    subscribe(core, 1, "w", qos=1)
    join(core, 2, "d", will=Will("w", b"gone", qos=2))
    assert core.closed(2, "lost") == [
        Message("d", "w", b"gone", True),
        Send(1, Publish("w", b"gone", 1, packet_id=1)),
        Disconnected("d"),
        Close(2),
    ]
    join(core, 3, "d", will=Will("w", b"gone"))
    assert core.received(3, Disconnect(), 0.0) == [Disconnected("d"), Close(3)]
    assert core.closed(3, "lost") == []


def test_takeover_publishes_the_old_will_before_the_new_session_begins() -> None:
    core = make_core()
    join(core, 1, "d", will=Will("w", b"old"))
    assert join(core, 2, "d", will=Will("w", b"new")) == [
        Message("d", "w", b"old", True),
        Disconnected("d"),
        Close(1),
        Send(2, ConnAck()),
        Connected("d", "192.0.2.1"),
    ]
    assert core.received(1, Publish("t", b"late"), 0.0) == []
    assert core.closed(1, "lost") == []
    assert core.is_connected("d")


@pytest.mark.parametrize("packet_id", [0, 1, 0x2200])
def test_repeated_qos1_ids_are_each_acknowledged_and_delivered(packet_id: int) -> None:
    core = make_core()
    join(core, 1, "d")
    message = Publish("t", b"x", 1, packet_id=packet_id)
    for _ in range(3):
        assert core.received(1, message, 0.0) == [
            Send(1, PubAck(packet_id)),
            Message("d", "t", b"x", False),
        ]


def test_qos2_is_delivered_once_until_released() -> None:
    core = make_core()
    join(core, 1, "d")
    message = Publish("t", b"x", 2, packet_id=9)
    assert core.received(1, message, 0.0) == [Send(1, PubRec(9)), Message("d", "t", b"x", False)]
    assert core.received(1, message, 0.0) == [Send(1, PubRec(9))]
    assert core.received(1, PubRel(9), 0.0) == [Send(1, PubComp(9))]
    assert core.received(1, PubRel(9), 0.0) == [Send(1, PubComp(9))]
    assert core.received(1, message, 0.0) == [Send(1, PubRec(9)), Message("d", "t", b"x", False)]


def test_unreleased_qos2_messages_are_bounded() -> None:
    core = make_core(max_inbound_qos2=2)
    join(core, 1, "d")
    for packet_id in (1, 2):
        core.received(1, Publish("t", b"", 2, packet_id=packet_id), 0.0)
    assert core.received(1, Publish("t", b"", 2, packet_id=2), 0.0) == [Send(1, PubRec(2))]
    assert core.received(1, Publish("t", b"", 2, packet_id=3), 0.0) == [Disconnected("d"), Close(1)]


@pytest.mark.parametrize(("qos", "answer"), [(0, []), (1, [PubAck(5)]), (2, [PubRec(5)])])
def test_forbidden_publish_is_acknowledged_and_dropped(
    qos: int, answer: list[Packet], caplog: pytest.LogCaptureFixture
) -> None:
    core = make_core()
    join(core, 1, "d")
    join(core, 2, "spy")
    subscribe(core, 2, "#")
    message = Publish("forbidden/x", b"", qos, packet_id=5 if qos else 0)
    assert core.received(1, message, 0.0) == [Send(1, packet) for packet in answer]
    core.received(1, message, 0.0)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "'d' may not publish to 'forbidden/x'" in warnings[0].getMessage()


def test_forbidden_will_is_dropped() -> None:
    core = make_core()
    join(core, 1, "d", will=Will("forbidden", b""))
    assert core.closed(1, "lost") == [Disconnected("d"), Close(1)]


def test_subscribe_grants_or_refuses_each_filter() -> None:
    core = make_core(max_subscriptions=3, max_topic_levels=3)
    join(core, 1, "d")
    filters = (
        ("a", 2),
        ("forbidden/#", 1),
        ("b/#/c", 1),
        ("a/b/c/d", 0),
        ("a/b/c", 0),
        ("b", 1),
        ("c", 1),
        ("a", 0),
    )
    assert core.received(1, Subscribe(7, filters), 0.0) == [
        Send(
            1, SubAck(7, (2, SUBSCRIBE_FAILED, SUBSCRIBE_FAILED, SUBSCRIBE_FAILED, 0, 1, SUBSCRIBE_FAILED, 0))
        )
    ]
    assert core.publish("a", b"", 1)[1] == [Send(1, Publish("a", b"", 0))]
    assert core.publish("c", b"", 1) == (0, [])


def test_overlapping_subscriptions_give_one_copy_with_the_highest_qos() -> None:
    core = make_core()
    join(core, 1, "d")
    subscribe(core, 1, "a/#", 1)
    subscribe(core, 1, "a/+", 0)
    count, effects = core.publish("a/b", b"x", 2)
    assert count == 1
    assert effects == [Send(1, Publish("a/b", b"x", 1, packet_id=1))]


def test_unsubscribe_stops_messages_and_unknown_filters_are_fine() -> None:
    core = make_core()
    join(core, 1, "d")
    subscribe(core, 1, "a/+")
    assert core.received(1, Unsubscribe(3, ("a/+", "nothing")), 0.0) == [Send(1, UnsubAck(3))]
    assert core.publish("a/b", b"", 0) == (0, [])


def test_clean_session_leaves_nothing_behind() -> None:
    core = make_core()
    join(core, 1, "d")
    subscribe(core, 1, "a", 1)
    core.closed(1, "lost")
    assert core.publish("a", b"", 1) == (0, [])
    assert sent(join(core, 2, "d"), 2) == [ConnAck()]


def test_retained_message_is_kept_replaced_and_cleared() -> None:
    core = make_core()
    join(core, 1, "d")
    for payload in (b"old", b"new"):
        core.received(1, Publish("r/1", payload, 1, retain=True, packet_id=1), 0.0)
    join(core, 2, "late")
    assert subscribe(core, 2, "r/#", 2) == [Send(2, Publish("r/1", b"new", 1, retain=True, packet_id=1))]
    live = core.received(1, Publish("r/1", b"live", 0, retain=True), 0.0)
    assert sent(live, 2) == [Publish("r/1", b"live", 0)]
    core.received(1, Publish("r/1", b"", 0, retain=True), 0.0)
    join(core, 3, "later")
    assert subscribe(core, 3, "r/#") == []


def test_nothing_is_retained_under_the_cloud_prefix() -> None:
    core = make_core()
    join(core, 1, "d", will=Will("/cloud/p/d/system", b"off", retain=True))
    core.received(1, Publish("/cloud/p/d/system", b"on", 1, retain=True), 0.0)
    core.closed(1, "lost")
    join(core, 2, "watcher")
    assert subscribe(core, 2, "/cloud/#") == []


def test_retained_messages_are_bounded() -> None:
    core = make_core(max_retained=1)
    join(core, 1, "d")
    for topic in ("a", "b"):
        core.received(1, Publish(topic, b"x", retain=True), 0.0)
    join(core, 2, "watcher")
    assert sent(subscribe(core, 2, "#"), 2) == [Publish("a", b"x", retain=True)]


def test_outbound_qos2_runs_through_its_four_packets() -> None:
    core = make_core()
    join(core, 1, "d")
    subscribe(core, 1, "a", 2)
    assert sent(core.publish("a", b"x", 2)[1], 1) == [Publish("a", b"x", 2, packet_id=1)]
    assert core.received(1, PubAck(1), 0.0) == []  # the wrong acknowledgement ends nothing
    assert core.received(1, PubComp(1), 0.0) == []
    assert core.received(1, PubRec(1), 0.0) == [Send(1, PubRel(1))]
    assert core.received(1, PubRec(1), 0.0) == [Send(1, PubRel(1))]
    assert core.received(1, PubComp(1), 0.0) == []
    assert core.received(1, PubRec(99), 0.0) == [Send(1, PubRel(99))]


def test_inflight_window_queue_and_their_bounds() -> None:
    core = make_core(max_inflight=2, max_queued=1)
    join(core, 1, "d")
    subscribe(core, 1, "a", 1)
    results = [core.publish("a", payload, 1) for payload in (b"1", b"2", b"3", b"4")]
    assert [count for count, _ in results] == [1, 1, 1, 0]
    assert [sent(effects, 1) for _, effects in results] == [
        [Publish("a", b"1", 1, packet_id=1)],
        [Publish("a", b"2", 1, packet_id=2)],
        [],
        [],
    ]
    assert core.publish("a", b"5", 0)[0] == 1  # QoS 0 needs no window
    assert core.received(1, PubAck(1), 0.0) == [Send(1, Publish("a", b"3", 1, packet_id=3))]
    assert core.received(1, PubAck(1), 0.0) == []


def test_pending_bytes_are_bounded_and_freed_by_acknowledgement() -> None:
    core = make_core(max_pending_bytes=10)
    join(core, 1, "d")
    subscribe(core, 1, "a", 1)
    assert core.publish("a", b"123456", 1)[0] == 1
    assert core.publish("a", b"123456", 1)[0] == 0
    core.received(1, PubAck(1), 0.0)
    assert core.publish("a", b"123456", 1)[0] == 1


def test_packet_ids_wrap_and_skip_those_in_flight() -> None:
    core = make_core()
    join(core, 1, "d")
    subscribe(core, 1, "a", 1)
    core.publish("a", b"stays", 1)
    seen = []
    for _ in range(65535):
        (packet,) = sent(core.publish("a", b"", 1)[1], 1)
        assert isinstance(packet, Publish)
        seen.append(packet.packet_id)
        core.received(1, PubAck(packet.packet_id), 0.0)
    assert seen == [*range(2, 65536), 2]


def test_persistent_session_gets_what_it_missed() -> None:
    core = make_core()
    join(core, 1, "d", clean_session=False)
    subscribe(core, 1, "a", 2)
    core.publish("a", b"unacked", 1)
    core.publish("a", b"released", 2)
    core.received(1, PubRec(2), 0.0)
    core.closed(1, "lost")
    assert not core.is_connected("d")
    assert core.publish("a", b"dropped", 0) == (0, [])
    assert core.publish("a", b"queued", 1) == (1, [])
    assert sent(join(core, 2, "d", clean_session=False), 2) == [
        ConnAck(session_present=True),
        Publish("a", b"unacked", 1, dup=True, packet_id=1),
        PubRel(2),
        Publish("a", b"queued", 1, packet_id=3),
    ]


def test_releases_are_repeated_in_the_order_of_the_receipts() -> None:
    """MQTT-4.6.0-4; what was not received comes again in its own order."""
    core = make_core()
    join(core, 1, "d", clean_session=False)
    subscribe(core, 1, "a", 2)
    for number in range(1, 5):
        core.publish("a", b"%d" % number, 2)
    for packet_id in (3, 1, 3):
        core.received(1, PubRec(packet_id), 0.0)
    core.closed(1, "lost")
    again = sent(join(core, 2, "d", clean_session=False), 2)
    assert [packet for packet in again if isinstance(packet, PubRel)] == [PubRel(3), PubRel(1)]
    assert [packet.packet_id for packet in again if isinstance(packet, Publish)] == [2, 4]


def test_persistent_session_remembers_received_qos2_ids() -> None:
    core = make_core()
    join(core, 1, "d", clean_session=False)
    message = Publish("t", b"", 2, packet_id=4)
    core.received(1, message, 0.0)
    core.closed(1, "lost")
    join(core, 2, "d", clean_session=False)
    assert core.received(2, message, 0.0) == [Send(2, PubRec(4))]


def test_clean_connect_discards_a_persistent_session() -> None:
    core = make_core()
    join(core, 1, "d", clean_session=False)
    subscribe(core, 1, "a", 1)
    core.closed(1, "lost")
    assert sent(join(core, 2, "d"), 2) == [ConnAck()]
    assert core.publish("a", b"", 1) == (0, [])


def test_oldest_offline_session_goes_first() -> None:
    core = make_core(max_offline_sessions=1)
    for connection, client_id in ((1, "old"), (2, "new")):
        join(core, connection, client_id, clean_session=False)
        core.closed(connection, "lost")
    assert sent(join(core, 3, "new", clean_session=False), 3) == [ConnAck(session_present=True)]
    assert sent(join(core, 4, "old", clean_session=False), 4) == [ConnAck()]


def test_connection_limit_frees_with_each_end() -> None:
    core = make_core(max_connections=1)
    assert core.opened(1, "192.0.2.1", 0.0) == []
    assert core.opened(2, "192.0.2.1", 0.0) == [Close(2)]
    core.closed(1, "lost")
    assert core.opened(3, "192.0.2.1", 0.0) == []


def test_publish_from_the_cloud_checks_its_arguments() -> None:
    core = make_core(max_packet_size=100)
    with pytest.raises(InvalidTopicError):
        core.publish("a/#", b"", 0)
    with pytest.raises(PacketTooLargeError):
        core.publish("a", b"x" * 100, 0)
    with pytest.raises(ValueError, match="QoS"):
        core.publish("a", b"", 3)
