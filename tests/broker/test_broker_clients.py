"""The broker with the clients people use: paho-mqtt and the Mosquitto command line clients."""

import subprocess
from collections.abc import Iterator

import pytest
from broker_harness import PATIENCE, RunningBroker, running
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from stock_clients import PahoClient, Program, connected

from cloudsdk.mqtt.packets import Will


@pytest.fixture
def server() -> Iterator[RunningBroker]:
    with running() as server:
        yield server


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_publishes_and_receives_at_each_qos(server: RunningBroker, qos: int) -> None:
    with connected(server.port, "sender") as sender, connected(server.port, "reader") as reader:
        assert [code.value for code in reader.subscribe("t/+", qos)] == [qos]
        for number in range(50):
            sender.publish("t/x", str(number), qos)
        assert [reader.message() for _ in range(50)] == [
            ("t/x", str(number).encode(), qos, False) for number in range(50)
        ]
    messages = [call for call in server.policy.of("sender") if call[0] == "message"]
    assert [int(call[3]) for call in messages] == list(range(50))


def test_paho_receives_more_than_the_inflight_window_from_the_cloud(server: RunningBroker) -> None:
    with connected(server.port, "reader") as reader:
        reader.subscribe("t", 2)

        async def burst() -> list[int]:
            return [await server.broker.publish("t", b"%d" % number, 2) for number in range(60)]

        assert server.run(burst()) == [1] * 60
        assert [int(reader.message()[1]) for _ in range(60)] == list(range(60))


def test_paho_will_is_published_after_an_abrupt_end_only(server: RunningBroker) -> None:
    with connected(server.port, "watcher") as watcher:
        watcher.subscribe("wills", 1)
        with connected(server.port, "polite", will=Will("wills", b"polite is gone", 1)):
            pass
        server.policy.wait_for_call("disconnect", "polite")
        with connected(server.port, "abrupt", will=Will("wills", b"abrupt is gone", 1)) as abrupt:
            abrupt.cut()
            assert watcher.message() == ("wills", b"abrupt is gone", 1, False)
        server.policy.wait_for_call("will", "abrupt", "wills", b"abrupt is gone")
    assert not [call for call in server.policy.of("polite") if call[0] == "will"]


def test_paho_gets_retained_messages_but_none_under_the_cloud_prefix(server: RunningBroker) -> None:
    with connected(server.port, "sender") as sender, connected(server.port, "reader") as reader:
        sender.publish("/cloud/p/d/system", "garbage flag", 1, retain=True)
        sender.publish("kept", "value", 1, retain=True)
        reader.subscribe("#", 1)
        assert reader.message() == ("kept", b"value", 1, True)
        sender.publish("end", "", 1)
        assert reader.message()[0] == "end"


def test_paho_takeover_ends_the_first_client(server: RunningBroker) -> None:
    with connected(server.port, "d", will=Will("wills", b"first is gone", 1)) as first:
        first.stay_away()
        with connected(server.port, "d") as second:
            assert first.lost.wait(PATIENCE)
            second.publish("t", "from the second", 1)
            server.policy.wait_for_call("message", "d", "t", b"from the second")
    kinds = [call[0] for call in server.policy.of("d")][:5]
    assert kinds == ["connect", "will", "disconnect", "connect", "message"]


def test_paho_persistent_session_gets_what_it_missed(server: RunningBroker) -> None:
    with connected(server.port, "d", clean=False) as device:
        device.subscribe("t", 1)
    server.policy.wait_for_call("disconnect", "d")
    assert server.publish("t", b"missed", 1) == 1
    device = PahoClient("d", clean=False)
    try:
        _, flags = device.connect(server.port)
        assert flags.session_present
        assert device.message() == ("t", b"missed", 1, False)
    finally:
        device.client.disconnect()
        device.client.loop_stop()


def test_paho_is_refused_with_a_wrong_password_and_a_forbidden_filter(server: RunningBroker) -> None:
    stranger = PahoClient("stranger")
    stranger.client.username_pw_set("stranger", "wrong")
    try:
        reason, _ = stranger.connect(server.port)
        assert reason == ReasonCode(PacketTypes.CONNACK, "Not authorized")
    finally:
        stranger.client.disconnect()
        stranger.client.loop_stop()
    with connected(server.port, "d") as device:
        assert device.subscribe("forbidden/#", 1)[0].is_failure


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mosquitto_clients_exchange_a_message(server: RunningBroker, qos: int) -> None:
    listen = Program("mosquitto_sub", server.port).command(
        "-i", "reader", "-t", "t/#", "-q", str(qos), "-C", "1", "-v"
    )
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as reader:
        try:
            server.policy.wait_for_call("subscribe", "reader", "t/#")
            sender = Program("mosquitto_pub", server.port, ("-i", "sender", "-q", str(qos)))
            assert sender.run("-t", "t/x", "-m", "hello").returncode == 0
            output, _ = reader.communicate(timeout=PATIENCE)
            assert output == "t/x hello\n"
        finally:
            reader.kill()
    server.policy.wait_for_call("message", "sender", "t/x", b"hello")


def test_mosquitto_pub_reports_refused_credentials(server: RunningBroker) -> None:
    sender = Program("mosquitto_pub", server.port, ("-i", "d", "-u", "d", "-P", "wrong"))
    result = sender.run("-t", "t", "-m", "x")
    assert result.returncode == 5
    assert "not authorised" in result.stderr
    assert server.policy.calls == []


def test_mosquitto_pub_of_mqtt_5_is_told_the_version_is_wrong(server: RunningBroker) -> None:
    result = Program("mosquitto_pub", server.port, ("-V", "5")).run("-t", "t", "-m", "x")
    assert result.returncode != 0
    assert server.policy.calls == []
