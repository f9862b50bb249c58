"""Activation and MQTT of a device (cloudsdk-protocol 1, 2)."""

import json
from typing import Final

from cloudsdk.cjson import JsonError, member, parse
from cloudsdk.datapoints import DataPoint, envelope
from cloudsdk.mqtt.packets import ReturnCode
from sim.conformance.case import Severity, expect, expect_equal, violated
from sim.conformance.device.bench import SUITE, DeviceBench
from sim.conformance.device.scripted_cloud import Answer, Message

PING_PATIENCE: Final = 45.0  # seconds: one and a half keep-alives (2.1)
_RUBBISH: Final = (
    b"",
    b"\xff\0",
    b"{",
    b"null",
    b'{"data":5}',
    b'{"data":[{"DP":"1010"}]}',
    b'{"data":[{"DP":9999,"value":1}]}',
    b'{"data":[{"DP":1012}]}',
    b'{"data":[{"DP":1012,"value":{"version":"1","firmwares":[]}}]}',
    b'{"data":[{"DP":1022,"value":{"host":"not an address","port":-1}}]}',
    b'{"data":[{"DP":1025,"value":7}]}',
    b"[" * 1500,
)


@SUITE.case(
    "activation-request", "The activation names SN and ProductId and is signed", "cloudsdk-protocol 1.2"
)
def activation_request(bench: DeviceBench) -> None:
    """Sign = lower-case hex MD5 of ProductKey followed by SN."""
    bench.start()
    bench.wait(lambda: bool(bench.cloud.requests), "an activation")
    request = bench.cloud.requests[0]
    expect_equal(request.method, "POST", "method")
    try:
        found = parse(request.body)
    except JsonError:
        violated("a JSON object", f"{len(request.body)} other bytes")
    wanted = {"Sign": bench.cloud.sign, "SN": bench.cloud.sn, "ProductId": bench.cloud.product_id}
    for name, value in wanted.items():
        expect(
            member(found, name) == value,
            f"the right {name}",
            "another" if name == "Sign" else member(found, name),
        )


@SUITE.case("activation-kept", "An activated device does not activate again", "cloudsdk-protocol 1.1, 1.4")
def activation_kept(bench: DeviceBench) -> None:
    """Power may go at any time; the identity lies in flash."""
    bench.online()
    connects, requests = len(bench.cloud.connects), len(bench.cloud.requests)
    bench.power_cycle()
    bench.wait(lambda: len(bench.cloud.connects) > connects, "a connection after the power cycle")
    expect_equal(len(bench.cloud.requests), requests, "HTTP requests")


@SUITE.case("activation-retried", "A refused activation is tried again", "cloudsdk-protocol 1.1")
def activation_retried(bench: DeviceBench) -> None:
    """The SN may be added to the cloud after the device was switched on."""
    bench.cloud.activations += [Answer(400, b"{}"), Answer(503)]
    bench.online()


@SUITE.case("activation-rubbish", "A 200 without an identity is no activation", "cloudsdk-protocol 1.3")
def activation_rubbish(bench: DeviceBench) -> None:
    """A captive portal answers 200 to everything."""
    bodies = (b"<html>Please log in</html>", b"{}", b'{"DeviceId":1,"DeviceKey":null}', b"")
    bench.cloud.activations += [Answer(200, body) for body in bodies]
    bench.online()
    expect_equal(bench.cloud.connects[-1].client_id, bench.cloud.credentials.device_id, "client id")


@SUITE.case("mqtt-connect", "CONNECT carries identity, password and will", "cloudsdk-protocol 2.1")
def connect(bench: DeviceBench) -> None:
    """Client id and user are the DeviceId, the password is the MD5 of DeviceKey; the will says offline."""
    bench.start()
    bench.wait(lambda: bool(bench.cloud.connects), "CONNECT")
    found, wanted = bench.cloud.connects[0], bench.cloud.credentials
    expect_equal(
        (found.client_id, found.username), (wanted.device_id, wanted.device_id), "client id and user"
    )
    expect(found.password == wanted.password.encode(), "the MD5 of the DeviceKey as password", "another")
    expect_equal(found.clean_session, True, "clean session")
    will = found.will
    expect(will is not None, "a will", "none")
    if will is not None:
        offline = envelope(wanted.device_id, DataPoint.ONLINE, False)
        expect_equal(
            (will.topic, will.payload), (bench.cloud.topics.publish(DataPoint.ONLINE), offline), "will"
        )
        expect_equal(will.retain, False, "will retained:")


@SUITE.case("mqtt-subscribe", "The device subscribes to its own topics, then speaks", "cloudsdk-protocol 2.1")
def subscribe(bench: DeviceBench) -> None:
    """What the cloud answers to 1000 must find a subscriber."""
    bench.start()
    bench.wait(
        lambda: bool(bench.cloud.messages and bench.cloud.subscriptions), "a message and a subscription"
    )
    filters = [topic for topic, _ in bench.cloud.subscriptions]
    expect_equal(filters[:1], [bench.cloud.topics.subscription], "the first subscription")
    expect(bench.cloud.messages[0].subscribed, "a subscription before the first message", "none")


@SUITE.case("mqtt-envelope", "Messages have the envelope that clouds read", "cloudsdk-protocol 2.2")
def messages(bench: DeviceBench) -> None:
    """`device`, `vendor`, `data` with one data point; QoS 1 on the topic of its kind."""
    bench.online()
    found = {message.dp: message for message in bench.cloud.messages}
    for dp, value in ((DataPoint.ONLINE, True), (DataPoint.VERSION, {"version": "0.0"})):
        message = found.get(dp)
        if message is None:
            violated(f"data point {int(dp)}", sorted(found))
        _is_envelope(bench, message, dp, value)


def _is_envelope(bench: DeviceBench, message: Message, dp: DataPoint, value: object) -> None:
    expect_equal(message.publish.topic, bench.cloud.topics.publish(dp), f"for {int(dp)} topic")
    expect_equal(message.publish.qos, 1, f"for {int(dp)} QoS")
    wanted = {
        "device": bench.cloud.credentials.device_id,
        "vendor": "rtt",
        "data": [{"DP": int(dp), "value": value}],
    }
    expect_equal(json.loads(message.publish.payload), wanted, "payload")


@SUITE.case("mqtt-answers", "1010 is answered by 1011, each time", "cloudsdk-protocol 2.3 item 1")
def answers(bench: DeviceBench) -> None:
    """It is how a cloud learns what became of an upgrade."""
    bench.online()
    for _ in range(3):
        bench.answers("0.0")


@SUITE.case(
    "mqtt-reconnects", "A lost connection is made again", "cloudsdk-protocol 2.1, threats: broker restart"
)
def reconnects(bench: DeviceBench) -> None:
    """Brokers restart."""
    bench.online()
    for _ in range(2):
        connects, reports = len(bench.cloud.connects), len(bench.cloud.values(DataPoint.ONLINE))
        bench.cloud.drop()
        bench.wait(lambda before=connects: len(bench.cloud.connects) > before, "another CONNECT")  # type: ignore[misc]
        bench.wait(
            lambda before=reports: len(bench.cloud.values(DataPoint.ONLINE)) > before,  # type: ignore[misc]
            "1000 true after the reconnection",
        )


@SUITE.case("mqtt-refused", "A refused connection is tried again", "cloudsdk-protocol 2.1")
def refused(bench: DeviceBench) -> None:
    """A cloud that starts may not know its devices yet."""
    bench.cloud.admits += [ReturnCode.SERVER_UNAVAILABLE, ReturnCode.NOT_AUTHORIZED]
    bench.online()


@SUITE.case("mqtt-rubbish", "Messages that are none do no harm", "cloudsdk-protocol 2.4, threats")
def rubbish(bench: DeviceBench) -> None:
    """What comes from a network may be anything."""
    bench.online()
    connects = len(bench.cloud.connects)
    for payload in _RUBBISH:
        bench.cloud.say_raw(payload)
    bench.answers("0.0")
    expect_equal(len(bench.cloud.connects), connects, "connections")


@SUITE.case(
    "mqtt-ping", "A silent connection is kept alive", "cloudsdk-protocol 2.1", severity=Severity.SHOULD
)
def ping(bench: DeviceBench) -> None:
    """The keep-alive is 30 s; a broker ends the connection after 45 s of silence."""
    bench.online()
    pings = bench.cloud.pings
    bench.wait(lambda: bench.cloud.pings > pings, "PINGREQ", PING_PATIENCE)
