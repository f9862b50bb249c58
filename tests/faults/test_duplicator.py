"""MQTT packets delivered twice, without sockets."""

import pytest

from cloudsdk.mqtt.packets import Connect, PingReq, PubAck, Publish, Subscribe, encode
from sim.faults.network.duplicate import MAX_PACKET, Duplicator
from sim.faults.network.rules import Direction, Duplicates

UP, DOWN = Direction
CONNECT = encode(Connect("d"))
QOS0, QOS1, QOS2 = (encode(Publish("t", b"x", qos=qos, packet_id=5)) for qos in range(3))
AGAIN = encode(Publish("t", b"x", qos=1, packet_id=5, dup=True))


def duplicator(wanted: Duplicates = Duplicates.QOS1) -> Duplicator:
    made = Duplicator(lambda _direction: wanted)
    assert made.feed(UP, CONNECT) == CONNECT
    return made


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Duplicates.NONE, QOS0 + QOS1 + QOS2),
        (Duplicates.QOS1, QOS0 + QOS1 + AGAIN + QOS2),
        (Duplicates.ALL, QOS0 + QOS0 + QOS1 + AGAIN + QOS2),
    ],
)
def test_only_qos1_comes_twice_with_dup_and_qos0_on_demand(wanted: Duplicates, expected: bytes) -> None:
    whole = QOS0 + QOS1 + QOS2
    assert duplicator(wanted).feed(DOWN, whole) == expected
    slowly = duplicator(wanted)
    assert b"".join(slowly.feed(DOWN, whole[at : at + 1]) for at in range(len(whole))) == expected


@pytest.mark.parametrize(("there", "back"), [(DOWN, UP), (UP, DOWN)])
def test_sender_gets_one_acknowledgement_after_the_second_delivery(there: Direction, back: Direction) -> None:
    own = duplicator()
    own.feed(there, QOS1)
    assert own.feed(back, encode(PubAck(5))) == b""
    assert own.feed(back, encode(PubAck(5))) == encode(PubAck(5))
    assert own.feed(back, encode(PubAck(5))) == encode(PubAck(5))  # of a third the proxy knows nothing


def test_what_is_no_mqtt_passes_as_it_is() -> None:
    own = Duplicator(lambda _direction: Duplicates.ALL)
    assert own.feed(DOWN, QOS1) == QOS1  # nobody has connected
    assert own.feed(UP, b"GET / HTTP/1.1\r\n") == b"GET / HTTP/1.1\r\n"
    assert own.feed(DOWN, QOS1) == QOS1


@pytest.mark.parametrize("bad", [b"\xf0\x00", b"\x32\x03\x00\x05t", b"\x30\xff\xff\xff\xff\x01"])
def test_after_a_malformed_packet_everything_passes_and_nothing_is_lost(bad: bytes) -> None:
    own = duplicator()
    assert own.feed(UP, QOS1[:3]) == b""
    assert own.feed(DOWN, QOS1 + bad + QOS1) == QOS1 + AGAIN + bad + QOS1
    assert own.feed(UP, QOS1[3:]) == QOS1
    assert own.feed(DOWN, QOS1) == QOS1


def test_packet_too_long_to_hold_passes_as_it_comes() -> None:
    own = duplicator()
    start = encode(Publish("t", bytes(MAX_PACKET), qos=1, packet_id=5))[:100]
    assert own.feed(DOWN, start) == start
    assert own.feed(DOWN, b"and so on") == b"and so on"


def test_what_is_held_back_comes_out_at_the_end() -> None:
    own = duplicator()
    assert own.feed(UP, encode(PingReq()) + encode(Subscribe(1, (("t", 0),)))[:4]) == encode(PingReq())
    assert own.rest(UP) == encode(Subscribe(1, (("t", 0),)))[:4]
    assert own.rest(DOWN) == b""
