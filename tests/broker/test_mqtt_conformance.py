"""What MQTT 3.1.1 demands of a server, tried with stock clients on our broker and on a real Mosquitto.

The second one says whether a test is right; tests with `ours` are about what Mosquitto 2.0.11 does otherwise.
Numbers are those of the normative statements in the specification.
"""

import itertools
import queue
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from broker_harness import PATIENCE, RawClient, running
from stock_clients import PahoClient, Program, connected

from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
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
    encode,
)
from sim.certs import CertificateFiles, CertificatePlan, MadeCertificates, make_certificates
from sim.cloud.mosquitto import find_mosquitto
from sim.cloud.tls import ServerTls

EMBEDDED, MOSQUITTO = "embedded", "mosquitto"
TLS_ALERT = 0x15  # type of the record
LARGE = 60_000  # bytes; just within `BrokerLimits.max_packet_size`

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[EMBEDDED, MOSQUITTO])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with listening(request.param, tmp_path_factory.mktemp("broker")) as port:
        yield port


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with running() as server:
        yield server.port


@pytest.fixture
def name() -> str:
    """A prefix of client ids and topics that no other test uses: the brokers serve a whole module."""
    return f"t{next(_numbers)}"


@contextmanager
def listening(kind: str, directory: Path, tls: ServerTls | None = None) -> Iterator[int]:
    if kind == EMBEDDED:
        with running(tls=tls) as server:
            yield server.port
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "log_dest none"]
    if tls is not None:
        lines += [f"certfile {tls.certificate}", f"keyfile {tls.key}"]
        lines += [f"cafile {tls.client_ca}", "require_certificate true"]
    config = directory / "mosquitto.conf"
    config.write_text("\n".join([*lines, "user root", ""]))
    with subprocess.Popen([find_mosquitto(), "-c", str(config)]) as process:
        try:
            until_listening(port)
            yield port
        finally:
            process.terminate()


def until_listening(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "mosquitto does not listen"


def subscribed(client: RawClient, topic_filter: str, qos: int) -> None:
    client.send(Subscribe(1, ((topic_filter, qos),)))
    client.expect(SubAck(1, (qos,)))


def received_publish(client: RawClient) -> Publish:
    packet = client.receive()
    assert isinstance(packet, Publish)
    return packet


# CONNECT


def test_zero_length_client_id_gets_a_name_of_its_own(port: int, name: str) -> None:
    """MQTT-3.1.3-6."""
    with connected(port, "") as first, connected(port, "") as second:
        first.subscribe(name, 0)
        second.publish(name, "x", 0)
        assert first.message()[1] == b"x"


def test_zero_length_client_id_needs_a_clean_session(port: int) -> None:
    """MQTT-3.1.3-8."""
    with RawClient(port) as client:
        assert client.connect("", clean_session=False) == ConnAck(ReturnCode.IDENTIFIER_REJECTED)
        assert client.at_end()


def test_unknown_protocol_level_is_answered_with_code_1(port: int) -> None:
    """MQTT-3.1.2-2."""
    with RawClient(port) as client:
        client.socket.sendall(bytes.fromhex("10 0d 00044d515454 09 02 0000 0001 61"))
        assert client.receive() == ConnAck(ReturnCode.UNACCEPTABLE_PROTOCOL)
        assert client.at_end()


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(encode(PingReq()), id="MQTT-3.1.0-1 no CONNECT first"),
        pytest.param(bytes.fromhex("10 0d 00044d515458 04 02 0000 0001 61"), id="MQTT-3.1.2-1 protocol name"),
        pytest.param(bytes.fromhex("10 0d 00044d515454 04 03 0000 0001 61"), id="MQTT-3.1.2-3 reserved flag"),
        pytest.param(
            bytes.fromhex("10 0d 00044d515454 04 42 0000 0001 61"), id="MQTT-3.1.2-22 password only"
        ),
        pytest.param(
            bytes.fromhex("10 0d 00044d515454 04 0a 0000 0001 61"), id="MQTT-3.1.2-13 will QoS, no will"
        ),
    ],
)
def test_connection_without_a_sound_connect_is_closed(port: int, attack: bytes) -> None:
    with RawClient(port) as client:
        client.socket.sendall(attack)
        assert client.at_end()


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(bytes.fromhex("36 07 0001 74 0001 78 79"), id="MQTT-3.3.1-4 QoS 3"),
        pytest.param(encode(Publish("a/+", b"")), id="MQTT-3.3.2-2 wildcard in a topic name"),
        pytest.param(bytes.fromhex("30 04 0002 c3 28"), id="MQTT-1.5.3-1 not UTF-8"),
        pytest.param(bytes.fromhex("30 05 0003 eda080"), id="MQTT-1.5.3-1 surrogate"),
        pytest.param(bytes.fromhex("30 05 0003 610062"), id="MQTT-1.5.3-2 U+0000"),
        pytest.param(bytes.fromhex("80 06 0001 0001 61 00"), id="MQTT-3.8.1-1 SUBSCRIBE flags"),
        pytest.param(bytes.fromhex("82 02 0001"), id="MQTT-3.8.3-3 SUBSCRIBE of nothing"),
        pytest.param(bytes.fromhex("82 06 0001 0001 61 03"), id="MQTT-3.8.3-4 SUBSCRIBE for QoS 3"),
        pytest.param(bytes.fromhex("82 06 0000 0001 61 00"), id="MQTT-2.3.1-1 SUBSCRIBE with id 0"),
        pytest.param(bytes.fromhex("a0 05 0001 0001 61"), id="MQTT-3.10.1-1 UNSUBSCRIBE flags"),
        pytest.param(bytes.fromhex("a2 02 0001"), id="MQTT-3.10.3-2 UNSUBSCRIBE of nothing"),
        pytest.param(bytes.fromhex("60 02 0001"), id="MQTT-3.6.1-1 PUBREL flags"),
        pytest.param(bytes.fromhex("e1 00"), id="MQTT-3.14.1-1 DISCONNECT flags"),
        pytest.param(bytes.fromhex("f0 00"), id="MQTT-2.2.2-2 reserved type"),
        pytest.param(encode(ConnAck()), id="a packet only servers send"),
    ],
)
def test_protocol_violation_closes_the_connection_and_publishes_the_will(
    port: int, name: str, attack: bytes
) -> None:
    """MQTT-4.8.0-1, MQTT-3.1.2-8."""
    with connected(port, f"{name}-watcher") as watcher, RawClient(port) as client:
        watcher.subscribe(f"{name}/will", 0)
        client.connect(name, will=Will(f"{name}/will", b"gone"))
        client.socket.sendall(attack)
        assert client.at_end()
        assert watcher.message()[1] == b"gone"


def test_second_connect_closes_the_connection_and_publishes_the_will(ours: int, name: str) -> None:
    """MQTT-3.1.0-2. Mosquitto forgets the will."""
    with connected(ours, f"{name}-watcher") as watcher, RawClient(ours) as client:
        watcher.subscribe(f"{name}/will", 0)
        client.connect(name, will=Will(f"{name}/will", b"gone"))
        client.send(Connect(f"{name}-other"))
        assert client.at_end()
        assert watcher.message()[1] == b"gone"


def test_takeover_ends_the_older_connection(port: int, name: str) -> None:
    """MQTT-3.1.4-2, MQTT-3.1.2-8."""
    with connected(port, f"{name}-watcher") as watcher, RawClient(port) as first:
        watcher.subscribe(f"{name}/will", 0)
        first.connect(name, will=Will(f"{name}/will", b"gone"))
        with connected(port, name):
            assert first.at_end()
            assert watcher.message()[1] == b"gone"


def test_packets_need_not_wait_for_the_connack(port: int, name: str) -> None:
    """MQTT-3.1.4-5."""
    with RawClient(port) as client:
        client.send(Connect(name), Subscribe(1, ((name, 0),)), Publish(name, b"x"), PingReq())
        client.expect(ConnAck(), SubAck(1, (0,)), Publish(name, b"x"), PingResp())


def test_keepalive_ends_the_silent_and_spares_those_that_ping(port: int, name: str) -> None:
    """MQTT-3.1.2-24."""
    with connected(port, f"{name}-watcher") as watcher, RawClient(port) as mute, RawClient(port) as alive:
        watcher.subscribe(f"{name}/will", 0)
        start = time.monotonic()
        mute.connect(name, keepalive=1, will=Will(f"{name}/will", b"gone"))
        alive.connect(f"{name}-alive", keepalive=1)
        while True:
            alive.send(PingReq())
            alive.expect(PingResp())
            try:
                assert watcher.messages.get(timeout=0.25)[1] == b"gone"
                break
            except queue.Empty:
                assert time.monotonic() - start < PATIENCE
        assert time.monotonic() - start >= 1.4
        assert mute.at_end()
        alive.send(PingReq())
        alive.expect(PingResp())


# Messages


@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("sent", [0, 1, 2])
def test_message_arrives_at_the_lower_qos(port: int, name: str, sent: int, granted: int) -> None:
    """MQTT-3.8.4-6, MQTT-3.9.3-1."""
    with connected(port, name) as client:
        assert [code.value for code in client.subscribe(f"{name}/+", granted)] == [granted]
        client.publish(f"{name}/x", "hello", sent)
        assert client.message() == (f"{name}/x", b"hello", min(sent, granted), False)


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_arrive_in_order(port: int, name: str, qos: int) -> None:
    """MQTT-4.6.0-5, MQTT-4.6.0-6: more of them than any window holds at once."""
    with connected(port, f"{name}-sender") as sender, connected(port, f"{name}-reader") as reader:
        reader.subscribe(name, qos)
        sent = [sender.client.publish(name, str(number), qos) for number in range(60)]
        for message in sent:
            message.wait_for_publish(PATIENCE)
        assert [int(reader.message()[1]) for _ in range(60)] == list(range(60))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_large_and_empty_messages_pass_unchanged(port: int, name: str, qos: int) -> None:
    """MQTT-3.3.3-2."""
    payloads = [bytes(range(256)) * (LARGE // 256), b"", "\ufeff\0".encode()]
    with connected(port, name) as client:
        client.subscribe(name, qos)
        for payload in payloads:
            client.publish(name, payload, qos)
        assert [client.message()[1] for _ in payloads] == payloads


def test_qos2_message_arrives_once_however_often_it_is_sent(ours: int, name: str) -> None:
    """MQTT-4.3.3-2. Mosquitto closes the connection when a message is repeated on it."""
    message = Publish(name, b"once", 2, packet_id=7)
    again = Publish(name, b"once", 2, dup=True, packet_id=7)
    with connected(ours, f"{name}-reader") as reader, RawClient(ours) as client:
        reader.subscribe(name, 2)
        client.connect(name)
        client.send(message, again, again)
        client.expect(PubRec(7), PubRec(7), PubRec(7))
        client.send(PubRel(7), PubRel(7))
        client.expect(PubComp(7), PubComp(7))
        client.send(Publish(name, b"another", 2, packet_id=7))  # the identifier is free again
        client.expect(PubRec(7))
        client.send(PubRel(7))
        client.expect(PubComp(7))
        assert [reader.message()[1] for _ in range(2)] == [b"once", b"another"]
        assert reader.messages.empty()


def test_qos2_state_survives_a_reconnection_of_the_sender(port: int, name: str) -> None:
    """MQTT-4.1.0-1, MQTT-3.1.2-4: the repeated message is known."""
    with connected(port, f"{name}-reader") as reader:
        reader.subscribe(name, 2)
        with RawClient(port) as client:
            client.connect(name, clean_session=False)
            client.send(Publish(name, b"once", 2, packet_id=7))
            client.expect(PubRec(7))
        with RawClient(port) as client:
            assert client.connect(name, clean_session=False) == ConnAck(session_present=True)
            client.send(Publish(name, b"once", 2, dup=True, packet_id=7), PubRel(7))
            client.expect(PubRec(7), PubComp(7))
            client.send(Publish(name, b"end", 2, packet_id=8))
            client.expect(PubRec(8))
            client.send(PubRel(8))
            client.expect(PubComp(8))
        assert [reader.message()[1] for _ in range(2)] == [b"once", b"end"]


def test_acknowledgements_of_nothing_do_no_harm(port: int, name: str) -> None:
    with RawClient(port) as client:
        client.connect(name)
        client.send(PubAck(99), PubComp(98), PubRel(97), PingReq())
        client.expect(PubComp(97), PingResp())


# Subscriptions


@pytest.mark.parametrize(
    ("topic_filter", "selected", "others"),
    [
        (
            "sport/tennis/#",
            ["sport/tennis", "sport/tennis/p", "sport/tennis/p/r"],
            ["sport", "sport/tennisp"],
        ),
        ("sport/+", ["sport/", "sport/a"], ["sport", "sport/a/b"]),
        ("+/+", ["/finance", "a/b"], ["a", "a/b/c"]),
        ("/+", ["/finance"], ["a/b", "finance"]),
        ("+/b/#", ["a/b", "a/b/c", "/b"], ["a/c", "b"]),
        ("Ac counts/\u4e2d\u6587", ["Ac counts/\u4e2d\u6587"], ["ac counts/\u4e2d\u6587"]),
        ("a//b", ["a//b"], ["a/b", "a///b"]),
    ],
)
def test_filters_select_topics(
    port: int, name: str, topic_filter: str, selected: list[str], others: list[str]
) -> None:
    """MQTT-4.7.1-1 to MQTT-4.7.3-4."""
    with connected(port, name) as client:
        client.subscribe(f"{name}/{topic_filter}", 0)
        client.subscribe(f"{name}-end", 0)
        for topic in (*others, *selected):
            client.publish(f"{name}/{topic}", topic, 0)
        client.publish(f"{name}-end", "", 0)
        received = [client.message()[1].decode() for _ in selected]
        assert (received, client.message()[0]) == (selected, f"{name}-end")


def test_leading_wildcards_leave_dollar_topics_alone(port: int, name: str) -> None:
    """MQTT-4.7.2-1."""
    with connected(port, f"{name}-reader") as reader, connected(port, f"{name}-sender") as sender:
        for topic_filter in ("#", f"+/{name}"):
            reader.subscribe(topic_filter, 0)
        sender.publish(f"$own/{name}", "hidden", 0)
        sender.publish(f"own/{name}", "seen", 0)
        while (message := reader.message())[0] != f"own/{name}":
            assert not message[0].startswith("$")
        reader.subscribe(f"$own/{name}", 0)
        sender.publish(f"$own/{name}", "named", 0)
        while (message := reader.message())[1] != b"named":
            assert message[1] != b"hidden"
        assert message[0] == f"$own/{name}"


def test_overlapping_subscriptions_deliver_with_the_highest_qos(ours: int, name: str) -> None:
    """MQTT-3.3.5-1: one copy, or one for each subscription."""
    with connected(ours, name) as client:
        client.subscribe(f"{name}/#", 2)
        client.subscribe(f"{name}/+", 1)
        client.publish(f"{name}/x", "both", 2)
        client.publish(f"{name}/x/y", "end", 2)
        copies = []
        while (message := client.message())[1] != b"end":
            copies.append(message[2])
        assert max(copies) == 2
        assert len(copies) <= 2


def test_subscribing_again_replaces_the_qos_and_repeats_the_retained_message(port: int, name: str) -> None:
    """MQTT-3.8.4-3."""
    with connected(port, name) as client:
        client.publish(name, "kept", 1, retain=True)
        client.subscribe(name, 1)
        assert client.message() == (name, b"kept", 1, True)
        client.subscribe(name, 0)
        assert client.message() == (name, b"kept", 0, True)
        client.publish(name, "live", 1)
        assert client.message() == (name, b"live", 0, False)
        client.publish(name, "", 0, retain=True)


def test_many_filters_in_one_packet_are_answered_in_order(port: int, name: str) -> None:
    """MQTT-3.8.4-4, MQTT-3.8.4-5."""
    filters = tuple((f"{name}/{number}", number % 3) for number in range(30))
    with RawClient(port) as client:
        client.connect(name)
        client.send(Subscribe(500, filters))
        client.expect(SubAck(500, tuple(qos for _, qos in filters)))


def test_unsubscribe_ends_messages_and_is_answered_for_unknown_filters_too(port: int, name: str) -> None:
    """MQTT-3.10.4-1, MQTT-3.10.4-4, MQTT-3.10.4-5."""
    with connected(port, name) as client:
        for topic_filter in (f"{name}/+", f"{name}/#", f"{name}-end"):
            client.subscribe(topic_filter, 1)
        client.unsubscribe(f"{name}/+")
        client.publish(f"{name}/x", "still", 1)
        client.unsubscribe(f"{name}/#")
        client.publish(f"{name}/x", "never", 1)
        client.unsubscribe(f"{name}/unknown")
        client.publish(f"{name}-end", "end", 1)
        assert [client.message()[1] for _ in range(2)] == [b"still", b"end"]


def test_unsubscribe_lets_a_message_on_its_way_be_finished(port: int, name: str) -> None:
    """MQTT-3.10.4-3."""
    with RawClient(port) as client:
        client.connect(name)
        subscribed(client, name, 2)
        client.send(Publish(name, b"x", 0), Publish(name, b"y", 2, packet_id=5))
        arrived = [client.receive() for _ in range(2)]
        assert PubRec(5) in arrived
        client.send(PubRel(5))
        arrived += [client.receive() for _ in range(2)]
        [delivered] = [packet for packet in arrived if isinstance(packet, Publish) and packet.qos == 2]
        client.send(Unsubscribe(9, (name,)))
        client.expect(UnsubAck(9))
        client.send(PubRec(delivered.packet_id))
        client.expect(PubRel(delivered.packet_id))


def test_refused_filter_is_answered_with_0x80_beside_granted_ones(ours: int, name: str) -> None:
    """MQTT-3.9.3-2. Mosquitto's access rules refuse no subscription."""
    with connected(ours, name) as client:
        client.client.subscribe([(f"{name}/a", 1), ("forbidden/#", 1), (f"{name}/b", 2)])
        assert [code.value for code in client.answers.get(timeout=PATIENCE)] == [1, 0x80, 2]


# Retained messages


def test_retained_message_is_kept_replaced_and_removed(port: int, name: str) -> None:
    """MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-8, MQTT-3.3.1-9, MQTT-3.3.1-10."""
    with connected(port, f"{name}-sender") as sender, connected(port, f"{name}-early") as early:
        early.subscribe(f"{name}/#", 2)
        for payload, qos in (("old", 0), ("new", 1), ("newest", 2)):
            sender.publish(f"{name}/x", payload, qos, retain=True)
            assert early.message() == (f"{name}/x", payload.encode(), qos, False)
        with connected(port, f"{name}-late") as late:
            late.subscribe(f"{name}/+", 1)
            assert late.message() == (f"{name}/x", b"newest", 1, True)
        sender.publish(f"{name}/x", "", 1, retain=True)
        assert early.message() == (f"{name}/x", b"", 1, False)  # a message like others to those who are here
        with connected(port, f"{name}-later") as later:
            later.subscribe(f"{name}/#", 1)
            sender.publish(f"{name}/end", "end", 1)
            assert later.message()[1] == b"end"


def test_message_without_the_flag_leaves_the_retained_one(port: int, name: str) -> None:
    """MQTT-3.3.1-12."""
    with connected(port, name) as client:
        client.publish(name, "kept", 1, retain=True)
        client.publish(name, "passing", 1)
        client.subscribe(name, 1)
        assert client.message() == (name, b"kept", 1, True)
        client.publish(name, "", 1, retain=True)


# Wills


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_will_is_published_as_it_was_given(port: int, name: str, qos: int, retain: bool) -> None:
    """MQTT-3.1.2-8, MQTT-3.1.2-16, MQTT-3.1.2-17."""
    will = Will(f"{name}/will", b"gone", qos, retain)
    with connected(port, f"{name}-watcher") as watcher:
        watcher.subscribe(will.topic, 2)
        with RawClient(port) as client:
            client.connect(name, will=will)
            client.abort()
            assert watcher.message() == (will.topic, b"gone", qos, False)
        with connected(port, f"{name}-late") as late:
            late.subscribe(f"{name}/#", 2)
            if retain:
                assert late.message() == (will.topic, b"gone", qos, True)
            late.publish(f"{name}/end", "end", 1)
            assert late.message()[1] == b"end"
        watcher.publish(will.topic, "", 1, retain=True)


def test_disconnect_discards_the_will(port: int, name: str) -> None:
    """MQTT-3.1.2-10, MQTT-3.14.4-3."""
    with connected(port, f"{name}-watcher") as watcher:
        watcher.subscribe(f"{name}/#", 1)
        with RawClient(port) as client:
            client.connect(name, will=Will(f"{name}/will", b"gone"))
            client.send(Disconnect())
            assert client.at_end()
        watcher.publish(f"{name}/end", "end", 1)
        assert watcher.message()[1] == b"end"


# Sessions


def test_persistent_session_collects_what_its_client_misses(port: int, name: str) -> None:
    """MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-3.2.2-2."""
    with connected(port, name, clean=False) as client:
        client.subscribe(name, 2)
    with connected(port, f"{name}-sender") as sender:
        for number in range(40):
            sender.publish(name, str(number), 1 + number % 2)
    client = PahoClient(name, clean=False)
    try:
        _, flags = client.connect(port)
        assert flags.session_present
        received = [client.message() for _ in range(40)]
        for qos in (1, 2):  # each in order
            assert [int(payload) for _, payload, got, _ in received if got == qos] == [*range(qos - 1, 40, 2)]
    finally:
        client.client.disconnect()
        client.client.loop_stop()


def test_clean_session_discards_the_earlier_one(port: int, name: str) -> None:
    """MQTT-3.1.2-6, MQTT-3.2.2-1, MQTT-3.2.2-3."""
    for clean, present in ((False, False), (False, True), (True, False), (False, False)):
        with RawClient(port) as client:
            assert client.connect(name, clean_session=clean) == ConnAck(session_present=present)
            subscribed(client, name, 1)
            client.send(Disconnect())
            assert client.at_end()


def test_unacknowledged_messages_are_sent_again_as_duplicates(port: int, name: str) -> None:
    """MQTT-4.4.0-1, MQTT-3.3.1-1."""
    with RawClient(port) as client, connected(port, f"{name}-sender") as sender:
        client.connect(name, clean_session=False)
        subscribed(client, f"{name}/#", 2)
        for qos in (1, 2):
            sender.publish(f"{name}/{qos}", "x", qos)
        first = [received_publish(client) for _ in range(2)]
        assert [packet.dup for packet in first] == [False, False]
        client.abort()
        with RawClient(port) as again:
            assert again.connect(name, clean_session=False) == ConnAck(session_present=True)
            second = [received_publish(again) for _ in range(2)]
            assert [(p.topic, p.packet_id, p.qos, p.dup) for p in second] == [
                (p.topic, p.packet_id, p.qos, True) for p in first
            ]
            one, two = (packet.packet_id for packet in second)
            again.send(PubAck(one), PubRec(two))
            again.expect(PubRel(two))
        with RawClient(port) as last:  # released, but not completed
            last.connect(name, clean_session=False)
            last.expect(PubRel(two))
            last.send(PubComp(two), PingReq())
            last.expect(PingResp())
        with RawClient(port) as finished:
            finished.connect(name, clean_session=False)
            finished.send(PingReq())
            finished.expect(PingResp())


# The command line programs


def test_mosquitto_programs_with_retained_messages(port: int, name: str) -> None:
    send = Program("mosquitto_pub", port)
    assert send.run("-t", name, "-m", "kept", "-r", "-q", "2").returncode == 0
    listened = Program("mosquitto_sub", port).run(
        "-t", f"{name}/#", "-C", "1", "-F", "%t %q %r %p", "-q", "2"
    )
    assert listened.stdout == f"{name} 2 1 kept\n"
    assert send.run("-t", name, "-n", "-r").returncode == 0


@pytest.mark.parametrize("qos", ["1", "2"])
def test_mosquitto_programs_with_a_persistent_session(port: int, name: str, qos: str) -> None:
    listen = Program("mosquitto_sub", port, ("-i", name, "-c", "-q", qos, "-t", f"{name}/#"))
    assert listen.run("-E").returncode == 0
    lines = [str(number) for number in range(30)]
    command = Program("mosquitto_pub", port).command("-t", f"{name}/x", "-q", qos, "-l")
    subprocess.run(command, input="\n".join(lines), text=True, check=True, timeout=PATIENCE)
    assert listen.run("-C", "30").stdout.splitlines() == lines


# TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> MadeCertificates:
    now = datetime.now(UTC).replace(tzinfo=None)
    return make_certificates(tmp_path_factory.mktemp("pki"), CertificatePlan(devices=("device",)), now)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A device of another CA."""
    now = datetime.now(UTC).replace(tzinfo=None)
    plan = CertificatePlan(devices=("device",))
    return make_certificates(tmp_path_factory.mktemp("stranger"), plan, now).devices["device"]


@pytest.fixture(scope="module", params=[EMBEDDED, MOSQUITTO])
def tls_port(
    request: pytest.FixtureRequest, pki: MadeCertificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    tls = ServerTls(pki.server.certificate, pki.server.key, pki.ca.certificate)
    with listening(request.param, tmp_path_factory.mktemp("tls"), tls) as port:
        yield port


def context(pki: MadeCertificates, device: CertificateFiles | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(pki.ca.certificate))
    if device is not None:
        made.load_cert_chain(device.certificate, device.key)
    return made


def test_messages_pass_over_tls_with_a_client_certificate(
    tls_port: int, pki: MadeCertificates, name: str
) -> None:
    with connected(tls_port, name, tls=context(pki, pki.devices["device"])) as client:
        client.subscribe(name, 2)
        payloads = [b"small", b"x" * LARGE]
        for payload in payloads:
            client.publish(name, payload, 2)
        assert [client.message()[1] for _ in payloads] == payloads


def test_burst_over_tls_arrives_whole(tls_port: int, pki: MadeCertificates, name: str) -> None:
    with connected(tls_port, name, tls=context(pki, pki.devices["device"])) as client:
        client.subscribe(name, 1)
        for number in range(200):
            client.client.publish(name, f"{number}".zfill(500), 1)
        assert [int(client.message()[1]) for _ in range(200)] == list(range(200))


def test_client_without_a_certificate_of_the_ca_is_refused(
    tls_port: int, pki: MadeCertificates, stranger: CertificateFiles
) -> None:
    for device in (None, stranger):
        with socket.create_connection(("127.0.0.1", tls_port), timeout=PATIENCE) as connection:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                answer_over(context(pki, device), connection)


def answer_over(tls: ssl.SSLContext, connection: socket.socket) -> bytes:
    """What a CONNECT is answered. TLS 1.3 tells a client of a refusal only when it reads."""
    with tls.wrap_socket(connection, server_hostname="localhost") as secure:
        secure.sendall(encode(Connect("d")))
        if not (answer := secure.recv(4)):
            raise ConnectionError("closed without an answer")
        return answer


def test_mosquitto_pub_over_tls(tls_port: int, pki: MadeCertificates, name: str) -> None:
    device = pki.devices["device"]
    files = ("--cafile", str(pki.ca.certificate), "--cert", str(device.certificate), "--key", str(device.key))
    send = Program("mosquitto_pub", tls_port, files)
    assert send.run("-t", name, "-m", "kept", "-q", "1", "-r").returncode == 0
    assert Program("mosquitto_sub", tls_port, files).run("-t", name, "-C", "1").stdout == "kept\n"
    without = Program("mosquitto_pub", tls_port, files[:2])
    assert without.run("-t", name, "-m", "x").returncode != 0


def test_plain_client_on_a_tls_port_is_closed(tls_port: int) -> None:
    with RawClient(tls_port) as client:
        client.send(Connect("d"))
        with suppress(ConnectionResetError):
            while data := client.socket.recv(4096):
                assert data[0] == TLS_ALERT
