"""Whatever passes, recorder, masks and decoders go on, and bytes that nobody changed stay as they are."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.mqtt.packets import Connect, Publish, encode
from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.addresses import lead_packet, lead_request, lead_response
from sim.traffic.bindings import Bindings, meaning
from sim.traffic.conversation import conversations
from sim.traffic.events import Data, Event, Header, Opened, event_line, parse_event
from sim.traffic.fields import Placeholders, as_they_are, fields_of
from sim.traffic.filters import HttpFilter, MqttFilter
from sim.traffic.mask import Mask
from sim.traffic.pcapng import pcapng

URLS = st.sampled_from(["http://h:1/a", "http://[", "http://h:x/", "https://h", "http://:0"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | URLS
NAMES = st.sampled_from(["data", "DP", "value", "device", "Sign", "SN", "sn", "DeviceKey"])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
FIRMWARES = st.lists(st.fixed_dictionaries({"file_url": URLS | JSON}) | JSON, max_size=3)
SERVERS = st.fixed_dictionaries({"host": st.sampled_from(["10.0.0.5", "", "a:b", 7]), "port": LEAVES})
TASKS = st.fixed_dictionaries({"createdTime": LEAVES, "firmwares": FIRMWARES | JSON})
POINTS = st.fixed_dictionaries(
    {"DP": st.sampled_from([1012, 1022, 1025, 1e300, "1012"]), "value": SERVERS | TASKS | JSON}
)
MESSAGES = st.fixed_dictionaries({"data": st.lists(POINTS | JSON, max_size=4)}, optional={"device": JSON})
TEXT = (MESSAGES | JSON).map(lambda value: json.dumps(value).encode())
HEADS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nLocation: //[\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x01\x00\x00\x30",
    ]
)
PACKETS = TEXT.map(lambda payload: encode(Publish("/device/p/d/x", payload, qos=1)))
LOGIN = st.just(encode(Connect("d", username="d", password=b"\xff\x00")))
PIECES = st.lists(st.binary(max_size=60) | TEXT | HEADS | PACKETS | LOGIN, max_size=6)
LINKS, DIRECTIONS = st.sampled_from(Link), st.sampled_from(Direction)


def lead(_link: Link, _host: str, _port: int) -> Address | None:
    return "127.0.0.1", 1


def through(each: Any, pieces: list[bytes]) -> bytes:
    return b"".join([*map(each.feed, pieces), each.rest()])


@settings(max_examples=150, deadline=None)
@given(LINKS, DIRECTIONS, PIECES)
def test_streams_of_anything(link: Link, direction: Direction, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    through(Mask("0" * 36).filter(link, direction), pieces)
    through(MqttFilter(lambda packet: lead_packet(packet, lead)), pieces)
    through(HttpFilter(lambda head: lead_request(head, ("h", 1)) + lead_response(head, lead)), pieces)
    assert through(MqttFilter(lambda packet: packet), pieces) == data
    assert through(HttpFilter(lambda head: head.raw, lambda body: body), pieces) == data

    events: list[Event] = [Opened(0.0, 1, link, ("h", 1))]
    events += [Data(0.0, 1, link, direction, piece) for piece in pieces if piece]
    assert [parse_event(event_line(event)) for event in events] == events
    b"".join(pcapng(Header(0.0), events))
    bindings = Bindings(lead=lead)
    for conversation in conversations(events):
        for said in conversation.said:
            json.dumps(fields_of(said.message, as_they_are, exact=True))
            assert meaning(said.message, Placeholders()) == meaning(said.message, Placeholders())
            bindings.learn(1, said.message, said.message)
            bindings.outgoing(1, said.message, "h")
