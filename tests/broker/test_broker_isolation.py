"""Clients that are hostile, broken or slow hurt themselves alone."""

import asyncio
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from broker_harness import PATIENCE, RawClient, RunningBroker, running

from cloudsdk.mqtt.packets import (
    SUBSCRIBE_FAILED,
    ConnAck,
    Connect,
    Decoder,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Will,
    encode,
)
from sim.cloud.broker import BrokerLimits

READ = 4096  # bytes the broker takes from a client at a time


@pytest.fixture
def server() -> Iterator[RunningBroker]:
    with running() as server:
        yield server


@pytest.fixture
def witness(server: RunningBroker) -> Iterator[RawClient]:
    """A client that must be served whatever the others do."""
    with RawClient(server.port) as client:
        client.connect("witness")
        yield client
        served(client)


def served(client: RawClient) -> None:
    client.send(PingReq())
    client.expect(PingResp())


def reset(client: RawClient) -> None:
    """End by RST instead of FIN."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


class AsyncClient:
    """Sends and receives packets on a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._decoder = Decoder(1 << 20)
        self._packets: list[Packet] = []

    @classmethod
    async def connected(cls, port: int, client_id: str, topic_filter: str) -> "AsyncClient":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.send(Connect(client_id), Subscribe(1, ((topic_filter, 1),)))
        assert await client.receive() == ConnAck()
        assert await client.receive() == SubAck(1, (1,))
        return client

    def send(self, *packets: Packet) -> None:
        self.writer.write(b"".join(encode(packet) for packet in packets))

    async def receive(self) -> Packet:
        while not self._packets:
            data = await self._reader.read(65536)
            assert data, "the broker closed the connection"
            self._packets += self._decoder.feed(data)
        return self._packets.pop(0)


async def exchange(sender: AsyncClient, receiver: AsyncClient, topic: str, payload: bytes) -> None:
    """One message at QoS 1 each way of the broker."""
    sender.send(Publish(topic, payload, 1, packet_id=1))
    assert await sender.receive() == PubAck(1)
    message = await receiver.receive()
    assert isinstance(message, Publish)
    assert (message.topic, message.payload) == (topic, payload)
    receiver.send(PubAck(message.packet_id))


def test_client_that_reads_nothing_delays_none_of_200_others() -> None:
    async def talk(port: int, pair: int) -> None:
        sender = await AsyncClient.connected(port, f"sender-{pair}", "unused")
        receiver = await AsyncClient.connected(port, f"receiver-{pair}", f"talk/{pair}")
        for number in range(8):
            await exchange(sender, receiver, f"talk/{pair}", b"%d" % number * 16_000)
        for client in (sender, receiver):
            client.writer.close()

    async def all_of_them(port: int) -> None:
        await asyncio.wait_for(asyncio.gather(*(talk(port, pair) for pair in range(100))), 2 * PATIENCE)

    with running(BrokerLimits(outbound_buffer=64 * 1024)) as server, RawClient(server.port) as deaf:
        deaf.connect("deaf", will=Will("wills", b"deaf"))
        deaf.send(Subscribe(1, (("talk/#", 0),)))
        deaf.expect(SubAck(1, (0,)))
        asyncio.run(all_of_them(server.port))
        # All of it is 13 MB: more than the sockets hold, and what it left in the broker was bounded.
        server.policy.wait_for_call("will", "deaf", "wills", b"deaf")


def test_slow_writers_and_half_open_connections_end_after_the_connect_timeout() -> None:
    limits = BrokerLimits(connect_timeout=0.3, sweep_interval=0.02)
    with running(limits) as server, RawClient(server.port) as witness, ExitStack() as stack:
        witness.connect("witness")
        opened = time.monotonic()
        silent = [stack.enter_context(RawClient(server.port)) for _ in range(100)]
        halves = [stack.enter_context(RawClient(server.port)) for _ in range(100)]
        for half in halves:
            half.socket.sendall(encode(Connect("half"))[:7])
        served(witness)
        assert all(client.at_end() for client in (*silent, *halves))
        assert time.monotonic() - opened >= 0.3
        served(witness)


def test_connections_that_are_reset_at_any_byte_leave_nothing_behind(
    server: RunningBroker, witness: RawClient
) -> None:
    talk = encode(Connect("victim", will=Will("wills", b"gone"))) + encode(Publish("t", b"x", 1, packet_id=1))
    for end in range(len(talk) + 1):
        client = RawClient(server.port)
        client.socket.sendall(talk[:end])
        reset(client)
    with RawClient(server.port) as last:
        assert last.connect("victim") == ConnAck()
    deadline = time.monotonic() + PATIENCE
    while server.is_connected("victim"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.policy.wait_for(
        lambda calls: (
            [call[0] for call in calls if call[1] == "victim"].count("connect")
            == [call[0] for call in calls if call[1] == "victim"].count("disconnect")
        )
    )


def test_topic_of_2_mib_is_refused_by_its_length_alone(server: RunningBroker, witness: RawClient) -> None:
    with RawClient(server.port) as attacker:
        attacker.connect("attacker")
        attacker.socket.sendall(b"\x30\x84\x80\x80\x01" + b"\xff\xff")  # none of the 2 MiB is waited for
        assert attacker.at_end()


@pytest.mark.parametrize(
    "payload",
    [b"[" * 60_000, b'{"a":' * 10_000, b'{"DP":1' + b"0" * 60_000 + b"}"],
    ids=["lists", "objects", "number"],
)
def test_json_bombs_are_bytes_to_the_broker(
    server: RunningBroker, witness: RawClient, payload: bytes
) -> None:
    with RawClient(server.port) as client:
        client.connect("d")
        client.send(Publish("/cloud/p/d/system", payload, 1, packet_id=0))
        client.expect(PubAck(0))
        server.policy.wait_for_call("message", "d", "/cloud/p/d/system", payload)


def test_thousands_of_subscriptions_are_answered_and_few_are_kept(
    server: RunningBroker, witness: RawClient
) -> None:
    limit = BrokerLimits().max_subscriptions
    filters = tuple((f"{number}/+", 0) for number in range(5000))
    with RawClient(server.port) as client:
        client.connect("greedy")
        client.send(Subscribe(1, filters))
        client.expect(SubAck(1, (0,) * limit + (SUBSCRIBE_FAILED,) * (5000 - limit)))
        served(witness)
        assert server.publish("1/x", b"") == 1
        assert server.publish("4999/x", b"") == 0


def test_filter_of_many_levels_is_refused(server: RunningBroker, witness: RawClient) -> None:
    with RawClient(server.port) as client:
        client.connect("deep")
        client.send(Subscribe(1, (("+/" * 30_000 + "#", 0),)))
        client.expect(SubAck(1, (SUBSCRIBE_FAILED,)))
        client.send(Publish("/" * 60_000, b"", 1, packet_id=1))
        client.expect(PubAck(1))


def test_who_asks_for_all_retained_messages_again_and_again_lets_others_in(
    server: RunningBroker, witness: RawClient
) -> None:
    times, kept = 40, 1000
    with RawClient(server.port) as client:
        client.connect("attacker")
        client.send(*(Publish(f"{number}", b"x", retain=True) for number in range(kept)), PingReq())
        client.expect(PingResp())
        asked = encode(Subscribe(1, (("#", 0),))) * times
        assert len(asked) < READ
        client.socket.sendall(asked)
        server.policy.wait_for_call("subscribe", "attacker")
        served(witness)
        done = [call for call in server.policy.of("attacker") if call[0] == "subscribe"]
        assert len(done) < times
        received = [client.receive() for _ in range(times * (kept + 1))]
        assert received.count(SubAck(1, (0,))) == times


def test_repeated_filter_in_one_packet_gets_retained_messages_once(server: RunningBroker) -> None:
    with RawClient(server.port) as client:
        client.connect("d")
        client.send(Publish("r", b"x", retain=True), Subscribe(1, (("r", 0),) * 1000), PingReq())
        client.expect(SubAck(1, (0,) * 1000), Publish("r", b"x", retain=True), PingResp())


def test_flood_of_one_client_waits_for_its_own_callbacks(server: RunningBroker, witness: RawClient) -> None:
    server.policy.blocked_topics.add("slow")
    with RawClient(server.port) as flood:
        flood.connect("flood")
        flood.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):  # what it sends is no longer taken
            flood.socket.sendall(encode(Publish("slow", b"x" * 1000)) * 50_000)
        served(witness)
        limit = BrokerLimits().max_backlog
        assert len([call for call in server.policy.of("flood") if call[0] == "message"]) <= limit
        server.unblock()
