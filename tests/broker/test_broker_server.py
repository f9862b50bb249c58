"""The broker over loopback with raw sockets: bounds, faults, order, and the end of connections."""

import errno
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from broker_harness import RawClient, RecordingPolicy, RunningBroker, running

from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    PubRec,
    ReturnCode,
    SubAck,
    Subscribe,
    Will,
    encode,
)
from sim.cloud.broker import BrokerLimits, EmbeddedBroker


@pytest.fixture
def server() -> Iterator[RunningBroker]:
    with running() as server:
        yield server


def test_device_session_from_connect_to_disconnect(server: RunningBroker) -> None:
    with RawClient(server.port) as device:
        assert device.connect("d", keepalive=30, username="d", password=b"ok") == ConnAck()
        device.send(Subscribe(1, (("/device/p/d/#", 0),)))
        device.expect(SubAck(1, (0,)))
        device.send(Publish("/cloud/p/d/system", b"on", 1, packet_id=1))
        device.expect(PubAck(1))
        assert server.is_connected("d")
        assert server.publish("/device/p/d/ota", b"1010") == 1
        device.expect(Publish("/device/p/d/ota", b"1010"))
        device.send(PingReq())
        device.expect(PingResp())
        device.send(Disconnect())
        assert device.at_end()
    server.policy.wait_for_call("disconnect", "d")
    assert server.policy.calls == [
        ("connect", "d", "127.0.0.1"),
        ("subscribe", "d", "/device/p/d/#"),
        ("message", "d", "/cloud/p/d/system", b"on"),
        ("disconnect", "d"),
    ]
    assert not server.is_connected("d")
    assert server.publish("/device/p/d/ota", b"") == 0


@pytest.mark.parametrize("qos", [1, 2])
def test_packet_id_zero_and_repeated_ids_are_served(server: RunningBroker, qos: int) -> None:
    with RawClient(server.port) as device:
        device.connect("d")
        ids = [0, 0x2200] if qos == 2 else [0, 0, 1, 1, 0x2200]
        for packet_id in ids:
            device.send(Publish("t", b"%d" % packet_id, qos, packet_id=packet_id))
        device.expect(*(PubAck(i) if qos == 1 else PubRec(i) for i in ids))
        server.policy.wait_for(lambda calls: len(calls) == 1 + len(ids))
        assert [call[3] for call in server.policy.calls[1:]] == [b"%d" % i for i in ids]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"username": "d", "password": b"wrong"}, ReturnCode.NOT_AUTHORIZED),
        ({"username": "explode"}, ReturnCode.SERVER_UNAVAILABLE),
        ({"protocol_level": 5}, ReturnCode.UNACCEPTABLE_PROTOCOL),
    ],
)
def test_refused_connect_gets_its_code_and_the_connection_ends(
    server: RunningBroker, fields: dict[str, object], code: ReturnCode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with RawClient(server.port) as device:
        assert device.connect("d", **fields) == ConnAck(code)
        assert device.at_end()
    assert server.policy.calls == []
    assert "wrong" not in caplog.text


def test_packets_sent_along_with_connect_wait_for_its_answer(server: RunningBroker) -> None:
    with RawClient(server.port) as device:
        device.send(Connect("d"), Subscribe(1, (("t", 0),)), Publish("t", b"x"), PingReq())
        device.expect(ConnAck(), SubAck(1, (0,)), Publish("t", b"x"), PingResp())


def test_packets_before_a_malformed_one_are_served(server: RunningBroker) -> None:
    with RawClient(server.port) as device:
        device.socket.sendall(encode(Connect("d", will=Will("w", b"gone"))) + encode(PingReq()) + b"\xff\x00")
        device.expect(ConnAck(), PingResp())
        assert device.at_end()
    server.policy.wait_for_call("disconnect", "d")
    assert server.policy.calls[1] == ("will", "d", "w", b"gone")


@pytest.mark.parametrize(
    "attack",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x30\x84\x80\x80\x01\x00\x00",  # a 2 MiB topic
        b"\x10\xff\xff\xff\xff",
        encode(PingReq()),
        encode(ConnAck()),
    ],
    ids=["http", "2 MiB", "endless length", "PINGREQ first", "CONNACK"],
)
def test_faulty_client_hurts_only_itself(server: RunningBroker, attack: bytes) -> None:
    with RawClient(server.port) as device, RawClient(server.port) as attacker:
        device.connect("d")
        attacker.socket.sendall(attack)
        assert attacker.at_end()
        device.send(PingReq())
        device.expect(PingResp())


def test_deep_json_and_binary_payloads_pass_as_they_are(server: RunningBroker) -> None:
    bomb = b"[" * 60_000
    with RawClient(server.port) as device:
        device.connect("d")
        device.send(Publish("t", bomb, 1, packet_id=1))
        device.expect(PubAck(1))
        server.policy.wait_for_call("message", "d", "t", bomb)


def test_connect_timeout_and_keepalive_end_silent_clients() -> None:
    with running(BrokerLimits(connect_timeout=0.3, sweep_interval=0.02)) as server:
        with RawClient(server.port) as mute, RawClient(server.port) as silent:
            silent.connect("d", keepalive=1, will=Will("w", b"gone"))
            start = time.monotonic()
            assert mute.at_end()
            assert silent.at_end()
            assert time.monotonic() - start >= 1.4
        server.policy.wait_for_call("disconnect", "d")
        assert server.policy.calls[1] == ("will", "d", "w", b"gone")


def test_takeover_orders_old_will_before_new_messages(server: RunningBroker) -> None:
    with RawClient(server.port) as old, RawClient(server.port) as new:
        old.connect("d", will=Will("s", b"off"))
        new.send(Connect("d", will=Will("s", b"off")), Publish("s", b"on", 1, packet_id=1))
        new.expect(ConnAck(), PubAck(1))
        assert old.at_end()
        assert server.is_connected("d")
        server.policy.wait_for_call("message", "d")
    assert server.policy.calls[:5] == [
        ("connect", "d", "127.0.0.1"),
        ("will", "d", "s", b"off"),
        ("disconnect", "d"),
        ("connect", "d", "127.0.0.1"),
        ("message", "d", "s", b"on"),
    ]


def test_slow_consumer_is_disconnected_and_delays_nobody() -> None:
    with running(BrokerLimits(outbound_buffer=64 * 1024)) as server:
        with RawClient(server.port) as slow, RawClient(server.port) as quick:
            for client in (slow, quick):
                client.connect("slow" if client is slow else "quick")
                client.send(Subscribe(1, (("t", 0),)))
                client.expect(SubAck(1, (0,)))
            message = Publish("t", b"x" * 32_000)
            receivers = 2
            for _ in range(2000):  # 64 MB, more than any socket buffer holds
                receivers = server.publish("t", message.payload)
                quick.expect(message)
                if receivers == 1:
                    break
            assert receivers == 1
            server.policy.wait_for_call("disconnect", "slow")
            assert server.is_connected("quick")


def test_slow_callback_stalls_its_client_only_and_reading_from_it_pauses() -> None:
    with running(BrokerLimits(max_backlog=8)) as server:
        server.policy.blocked_topics.add("slow")
        with RawClient(server.port) as flood, RawClient(server.port) as other:
            flood.connect("flood")
            other.connect("other")
            server.policy.wait_for_call("connect", "flood")
            flood.send(*(Publish("slow", b"%d" % i, 1, packet_id=i) for i in range(1, 101)))
            flood.expect(*(PubAck(i) for i in range(1, 9)))  # the backlog is full: no more is read

            other.send(Publish("t", b"x", 1, packet_id=1))
            other.expect(PubAck(1))
            server.policy.wait_for_call("message", "other", "t", b"x")
            assert flood.has_nothing()
            assert server.policy.of("flood")[1:] == [("message", "flood", "slow", b"1")]

            with RawClient(server.port) as again:  # reconnecting does not get around it
                assert again.connect("flood") == ConnAck(ReturnCode.SERVER_UNAVAILABLE)

            server.unblock()
            flood.expect(*(PubAck(i) for i in range(9, 101)))
            server.policy.wait_for_call("message", "flood", "slow", b"100")
            payloads = [int(call[3]) for call in server.policy.of("flood")[1:]]
            assert payloads == list(range(1, 101))


def test_paused_client_does_not_run_into_its_keepalive() -> None:
    with running(BrokerLimits(max_backlog=1, sweep_interval=0.02)) as server:
        server.policy.blocked_topics.add("slow")
        with RawClient(server.port) as device, RawClient(server.port) as reference:
            device.connect("d", keepalive=1)
            server.policy.wait_for_call("connect", "d")
            device.send(Publish("slow", b"", 1, packet_id=1))
            device.expect(PubAck(1))
            device.send(PingReq())
            reference.connect("reference", keepalive=1)
            assert reference.at_end()  # as long as `d` would have had
            assert server.is_connected("d")
            server.unblock()
            device.expect(PingResp())


def test_failing_callback_is_logged_and_the_next_one_runs(
    server: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with RawClient(server.port) as device:
        device.connect("d")
        device.send(Publish("explode", b"1"), Publish("t", b"2"))
        server.policy.wait_for_call("message", "d", "t", b"2")
    assert "callback for client 'd' failed" in caplog.text


def test_connection_limit_refuses_the_newcomer() -> None:
    with running(BrokerLimits(max_connections=1)) as server:
        with RawClient(server.port) as first, RawClient(server.port) as second:
            first.connect("d")
            assert second.at_end()
            first.send(PingReq())
            first.expect(PingResp())


def test_stop_ends_clients_publishes_wills_and_frees_the_port() -> None:
    with running() as server:
        with RawClient(server.port) as device:
            device.connect("d", will=Will("w", b"gone"))
            server.run(server.broker.stop())
            assert device.at_end()
        assert server.policy.calls == [
            ("connect", "d", "127.0.0.1"),
            ("will", "d", "w", b"gone"),
            ("disconnect", "d"),
        ]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)
        server.run(server.broker.start("127.0.0.1", server.port))
        with RawClient(server.port) as device:
            assert device.connect("d") == ConnAck()


def test_stop_does_not_wait_for_ever_for_a_callback() -> None:
    with running(BrokerLimits(close_timeout=0.1)) as server:
        server.policy.blocked_topics.add("slow")
        with RawClient(server.port) as device:
            device.connect("d")
            device.send(Publish("slow", b""))
            server.policy.wait_for_call("message", "d")
            server.run(server.broker.stop())
            assert device.at_end()


def test_stop_cuts_off_a_client_that_reads_nothing() -> None:
    limits = BrokerLimits(close_timeout=0.2, outbound_buffer=64 * 1024 * 1024)
    with running(limits) as server, RawClient(server.port) as slow:
        slow.connect("slow")
        slow.send(Subscribe(1, (("t", 0),)))
        slow.expect(SubAck(1, (0,)))
        for _ in range(400):  # 24 MB, more than the socket buffers hold
            server.publish("t", b"x" * 60_000)
        server.run(server.broker.stop())
        assert not server.is_connected("slow")


def test_taken_port_is_reported_as_it_is(server: RunningBroker) -> None:
    with pytest.raises(OSError, match="address already in use") as caught:
        server.run(EmbeddedBroker(RecordingPolicy()).start("127.0.0.1", server.port))
    assert caught.value.errno == errno.EADDRINUSE
