"""The MQTT codec: golden bytes, round trips, hostile input."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.mqtt.errors import MalformedPacketError, PacketTooLargeError
from cloudsdk.mqtt.packets import (
    SUBSCRIBE_FAILED,
    ConnAck,
    Connect,
    Decoder,
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
    encode,
)

TAP = Path(__file__).parents[1] / "data" / "transcripts" / "cloudsdk" / "tap.t2.log"
MAX = 64 * 1024

PID, DID = "8fa1b2c3d4e5f607", "9017444f3bec4453"
PASSWORD = b"d32a11a42d956d347d9863510e024f19"
WILL_TOPIC = f"/cloud/{PID}/{DID}/system"
WILL_PAYLOAD = b'{"device":"9017444f3bec4453","vendor":"rtt","data":[{"DP":1000,"value":false}]}'
DEVICE_CONNECT = Connect(
    DID, True, 30, Will(WILL_TOPIC, WILL_PAYLOAD, qos=1), username=DID, password=PASSWORD
)

ONE_OF_EACH: list[Packet] = [
    DEVICE_CONNECT,
    ConnAck(),
    ConnAck(ReturnCode.ACCEPTED, session_present=True),
    ConnAck(ReturnCode.NOT_AUTHORIZED),
    Publish("a/b", b""),
    Publish("a/b", b"payload", 1, retain=True, dup=True, packet_id=0x1234),
    Publish("a/b", b"x" * 20_000, 2, packet_id=7),
    PubAck(1),
    PubRec(0xFFFF),
    PubRel(3),
    PubComp(4),
    Subscribe(1, (("a/#", 0), ("+/b", 2))),
    SubAck(1, (0, 1, 2, SUBSCRIBE_FAILED)),
    Unsubscribe(2, ("a/#", "b")),
    UnsubAck(2),
    PingReq(),
    PingResp(),
    Disconnect(),
]


def decode(data: bytes) -> list[Packet]:
    return Decoder(MAX).feed(data)


def text16(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


def test_connect_of_the_original_device_has_the_recorded_bytes() -> None:
    recorded = TAP.read_text().split("<br", 1)[0]
    field = {
        name: re.search(rf"\b{name}=b'([^']*)'", recorded)[1].encode()  # type: ignore[index]
        for name in ("proto", "clientid", "topic", "msg", "user", "pass")
    }
    number = {
        name: int(re.search(rf"\b{name}=(\w+)", recorded)[1], 0)  # type: ignore[index]
        for name in ("level", "connflags", "keepalive")
    }
    assert number == {"level": 4, "connflags": 0xCE, "keepalive": 30}
    body = (
        text16(field["proto"])
        + bytes([number["level"], number["connflags"]])
        + number["keepalive"].to_bytes(2, "big")
        + b"".join(text16(field[name]) for name in ("clientid", "topic", "msg", "user", "pass"))
    )
    length = len(body)
    assert 128 <= length < 16384
    golden = bytes([0x10, length & 0x7F | 0x80, length >> 7]) + body

    assert encode(DEVICE_CONNECT) == golden
    assert decode(golden) == [DEVICE_CONNECT]


@pytest.mark.parametrize(
    ("packet", "golden"),
    [
        (ConnAck(ReturnCode.NOT_AUTHORIZED), "20 02 00 05"),
        (ConnAck(session_present=True), "20 02 01 00"),
        (Publish("t", b"hi"), "30 05 00 01 74 68 69"),
        (Publish("t", b"hi", 1, dup=True, packet_id=10), "3a 07 00 01 74 00 0a 68 69"),
        (Publish("t", b"", 2, retain=True, packet_id=10), "35 05 00 01 74 00 0a"),
        (PubAck(0x2200), "40 02 22 00"),
        (PubRec(1), "50 02 00 01"),
        (PubRel(1), "62 02 00 01"),
        (PubComp(1), "70 02 00 01"),
        (Subscribe(1, (("a/#", 1),)), "82 08 00 01 00 03 61 2f 23 01"),
        (SubAck(1, (0, SUBSCRIBE_FAILED)), "90 04 00 01 00 80"),
        (Unsubscribe(2, ("a",)), "a2 05 00 02 00 01 61"),
        (UnsubAck(2), "b0 02 00 02"),
        (PingReq(), "c0 00"),
        (PingResp(), "d0 00"),
        (Disconnect(), "e0 00"),
    ],
)
def test_packet_has_the_bytes_of_the_standard(packet: Packet, golden: str) -> None:
    raw = bytes.fromhex(golden)
    assert encode(packet) == raw
    assert decode(raw) == [packet]


@pytest.mark.parametrize("size", [0, 121, 122, 16_377, 16_378, 60_000])
def test_remaining_length_grows_at_the_right_sizes(size: int) -> None:
    packet = Publish("abc", b"p" * size)  # body: 5 bytes and the payload
    raw = encode(packet)
    header = 2 if size + 5 < 128 else 3 if size + 5 < 16_384 else 4
    assert len(raw) == header + 5 + size
    assert decode(raw) == [packet]


@pytest.mark.parametrize("packet", ONE_OF_EACH, ids=lambda packet: type(packet).__name__)
def test_a_packet_survives_a_cut_at_every_byte(packet: Packet) -> None:
    raw = encode(packet)
    step = max(1, len(raw) // 400)
    for cut in {*range(1, min(len(raw), 300)), *range(1, len(raw), step)}:
        decoder = Decoder(MAX)
        assert decoder.feed(raw[:cut]) == []
        assert decoder.feed(raw[cut:]) == [packet]


def test_a_stream_fed_byte_by_byte_gives_the_same_packets() -> None:
    raw = b"".join(encode(packet) for packet in ONE_OF_EACH)
    decoder = Decoder(MAX)
    packets = [packet for index in range(len(raw)) for packet in decoder.feed(raw[index : index + 1])]
    assert packets == ONE_OF_EACH
    assert decode(raw) == ONE_OF_EACH


ids = st.integers(1, 0xFFFF)
any_ids = st.integers(0, 0xFFFF)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = texts.filter(lambda text: text and "+" not in text and "#" not in text)
qos = st.integers(0, 2)
payloads = st.binary(max_size=300)


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    level = draw(qos)
    return Publish(
        draw(names),
        draw(payloads),
        level,
        retain=draw(st.booleans()),
        dup=bool(level) and draw(st.booleans()),
        packet_id=draw(any_ids) if level else 0,
    )


@st.composite
def connects(draw: st.DrawFn) -> Connect:
    username = draw(st.none() | texts)
    return Connect(
        draw(texts),
        draw(st.booleans()),
        draw(any_ids),
        draw(st.none() | st.builds(Will, names, payloads, qos, st.booleans())),
        username,
        None if username is None else draw(st.none() | payloads),
    )


packets = st.one_of(
    publishes(),
    connects(),
    st.builds(ConnAck, st.sampled_from(ReturnCode)),
    *(st.builds(kind, any_ids) for kind in (PubAck, PubRec, PubRel, PubComp)),
    st.builds(UnsubAck, ids),
    st.builds(
        Subscribe, ids, st.lists(st.tuples(texts.filter(bool), qos), min_size=1, max_size=5).map(tuple)
    ),
    st.builds(SubAck, ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=5).map(tuple)),
    st.builds(Unsubscribe, ids, st.lists(texts.filter(bool), min_size=1, max_size=5).map(tuple)),
    st.sampled_from([PingReq(), PingResp(), Disconnect()]),
)


@settings(deadline=None)
@given(st.lists(packets, max_size=6), st.integers(1, 50))
def test_round_trip_whatever_the_chunks(sent: list[Packet], chunk: int) -> None:
    raw = b"".join(encode(packet) for packet in sent)
    decoder = Decoder(MAX)
    got = [packet for at in range(0, len(raw), chunk) for packet in decoder.feed(raw[at : at + chunk])]
    assert got == sent


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_random_bytes_raise_only_coded_errors(chunks: list[bytes]) -> None:
    decoder = Decoder(1000)
    try:
        for chunk in chunks:
            decoder.feed(chunk)
    except (MalformedPacketError, PacketTooLargeError):
        return


@settings(max_examples=300, deadline=None)
@given(packets, st.data())
def test_a_damaged_packet_raises_only_coded_errors(packet: Packet, data: st.DataObject) -> None:
    raw = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(raw))
    except (MalformedPacketError, PacketTooLargeError):
        return
    assert decode(b"".join(encode(packet) for packet in decoded)) == decoded


CONNECT_HEAD = "00 04 4d 51 54 54 04"  # "MQTT", level 4

MALFORMED = {
    "packet type 0": "00 00",
    "packet type 15": "f0 00",
    "CONNECT header flags": "11 0c" + CONNECT_HEAD + "02 00 00 00 00",
    "PUBACK header flags": "42 02 00 01",
    "PUBREL without its header flags": "60 02 00 01",
    "SUBSCRIBE without its header flags": "80 06 00 01 00 01 61 00",
    "UNSUBSCRIBE without its header flags": "a0 05 00 01 00 01 61",
    "PINGREQ header flags": "c1 00",
    "five length bytes": "30 80 80 80 80 01",
    "remaining length never ends": "30 ff ff ff ff",
    "QoS 3": "36 07 00 01 74 00 01 68 69",
    "QoS 0 duplicate": "38 05 00 01 74 68 69",
    "no topic": "30 02 00 00",
    "topic with +": "30 03 00 01 2b",
    "topic with #": "30 03 00 01 23",
    "topic with NUL": "30 04 00 02 61 00",
    "topic cut by the packet": "30 03 00 02 61",
    "topic length cut": "30 01 00",
    "empty PUBLISH": "30 00",
    "packet id cut": "32 04 00 01 74 00",
    "bad UTF-8": "30 04 00 02 c3 28",
    "overlong UTF-8": "30 04 00 02 c0 af",
    "UTF-8 surrogate": "30 05 00 03 ed a0 80",
    "PUBACK too long": "40 03 00 01 00",
    "PUBACK too short": "40 01 00",
    "PINGREQ with a body": "c0 01 00",
    "another protocol": "10 0c 00 04 48 54 54 50 04 02 00 00 00 00",
    "old name with the new level": "10 0e 00 06 4d 51 49 73 64 70 04 02 00 00 00 00",
    "CONNECT reserved flag": "10 0c" + CONNECT_HEAD + "03 00 00 00 00",
    "password without user": "10 0e" + CONNECT_HEAD + "42 00 00 00 00 00 00",
    "will QoS without will": "10 0c" + CONNECT_HEAD + "0a 00 00 00 00",
    "will retain without will": "10 0c" + CONNECT_HEAD + "22 00 00 00 00",
    "will QoS 3": "10 11" + CONNECT_HEAD + "1e 00 00 00 00 00 01 74 00 00",
    "empty will topic": "10 10" + CONNECT_HEAD + "06 00 00 00 00 00 00 00 00",
    "CONNECT with trailing bytes": "10 0d" + CONNECT_HEAD + "02 00 00 00 00 ff",
    "CONNECT cut": "10 0a" + CONNECT_HEAD + "02 00 00",
    "CONNECT user missing": "10 0c" + CONNECT_HEAD + "82 00 00 00 00",
    "SUBSCRIBE with id 0": "82 06 00 00 00 01 61 00",
    "SUBSCRIBE without filters": "82 02 00 01",
    "SUBSCRIBE with an empty filter": "82 05 00 01 00 00 00",
    "SUBSCRIBE QoS 3": "82 06 00 01 00 01 61 03",
    "SUBSCRIBE QoS missing": "82 05 00 01 00 01 61",
    "UNSUBSCRIBE with id 0": "a2 05 00 00 00 01 61",
    "UNSUBSCRIBE without filters": "a2 02 00 01",
    "SUBACK reserved code": "90 03 00 01 03",
    "SUBACK without codes": "90 02 00 01",
    "CONNACK reserved flags": "20 02 02 00",
    "CONNACK reserved code": "20 02 00 06",
    "CONNACK refusal with session": "20 02 01 05",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_packet_is_refused(raw: str) -> None:
    with pytest.raises(MalformedPacketError) as caught:
        decode(bytes.fromhex(raw))
    assert caught.value.code == "mqtt.malformed"
    assert "\n" not in str(caught.value)


def test_too_large_packet_is_refused_before_its_body_comes() -> None:
    two_mib_topic = bytes.fromhex("30 84 80 80 01")  # remaining length 2 MiB + 4
    decoder = Decoder(MAX)
    assert decoder.feed(two_mib_topic[:-1]) == []
    with pytest.raises(PacketTooLargeError) as caught:
        decoder.feed(two_mib_topic[-1:])
    assert caught.value.code == "mqtt.packet-too-large"


@pytest.mark.parametrize("first", [0x00, 0x11, 0x36, 0x38, 0x47, 0xF0])
def test_impossible_first_byte_is_refused_at_once(first: int) -> None:
    with pytest.raises(MalformedPacketError, match=f"0x{first:02x}"):
        decode(bytes([first]))


def test_packet_size_limit_counts_the_whole_packet() -> None:
    raw = encode(Publish("t", b"p" * 95))
    assert len(raw) == 100
    assert len(Decoder(100).feed(raw)) == 1
    with pytest.raises(PacketTooLargeError):
        Decoder(99).feed(raw)


def test_packets_before_a_malformed_one_are_not_lost_and_later_bytes_are_refused() -> None:
    decoder = Decoder(MAX)
    with pytest.raises(MalformedPacketError) as caught:
        decoder.feed(encode(PingReq()) + encode(PubAck(1)) + b"\xf0\x00" + encode(PingReq()))
    assert caught.value.packets == [PingReq(), PubAck(1)]
    with pytest.raises(MalformedPacketError) as again:
        decoder.feed(encode(PingReq()))
    assert again.value.packets == []


@pytest.mark.parametrize("qos", [1, 2])
def test_publish_with_packet_id_zero_or_repeated_is_accepted(qos: int) -> None:
    zero = Publish("t", b"", qos, packet_id=0)
    same = Publish("t", b"", qos, packet_id=5)
    assert decode(encode(zero) + encode(same) + encode(same)) == [zero, same, same]


@pytest.mark.parametrize(("name", "level"), [("MQTT", 5), ("MQTT", 3), ("MQIsdp", 3)])
def test_connect_of_another_level_is_decoded_for_its_level(name: str, level: int) -> None:
    body = text16(name.encode()) + bytes([level]) + b"whatever that level puts here"
    assert decode(bytes([0x10, len(body)]) + body) == [Connect("", protocol_level=level)]


@pytest.mark.parametrize(
    "packet",
    [
        Publish("t", b"", 3, packet_id=1),
        Publish("t", b"", 0, dup=True),
        Publish("t", b"", 1, packet_id=65536),
        Publish("t" * 65536, b""),
        Publish("a\0b", b""),
        Publish("\ud800", b""),
        PubAck(-1),
        Connect("c", keepalive=65536),
        Connect("c", password=b"x"),
        Connect("c", will=Will("t", b"", qos=3)),
        Connect("c", will=Will("t", b"x" * 65536)),
        SubAck(1, (256,)),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_field_that_does_not_fit_is_not_encoded(packet: Packet) -> None:
    with pytest.raises(MalformedPacketError):
        encode(packet)


def test_password_is_not_in_the_repr() -> None:
    assert PASSWORD.decode() not in repr(DEVICE_CONNECT)


@given(st.lists(st.tuples(st.sampled_from(["a", "b/c", "\u4e2d", "x" * 300]), st.integers(0, 2)), max_size=8))
def test_publishes_in_a_row_keep_their_own_topics(sent: list[tuple[str, int]]) -> None:
    packets = [Publish(topic, b"p", qos, packet_id=qos) for topic, qos in sent]
    decoder = Decoder(MAX)
    assert [decoder.feed(encode(packet))[0] for packet in packets] == packets
    assert decode(b"".join(encode(packet) for packet in packets)) == packets


@pytest.mark.parametrize("bad", ["30 02 0000", "30 03 0001 2b", "30 01 00", "32 03 0001 61", "30 03 0002 61"])
def test_a_bad_publish_after_a_good_one_is_still_refused(bad: str) -> None:
    decoder = Decoder(MAX)
    decoder.feed(encode(Publish("a", b"")))
    with pytest.raises(MalformedPacketError):
        decoder.feed(bytes.fromhex(bad))
