"""MQTT: who gets in, what is asked and answered, whose topics are whose (cloudsdk-protocol 2)."""

from typing import Final

from cloudsdk.datapoints import DataPoint, Topics, envelope, received
from cloudsdk.mqtt.packets import Publish, ReturnCode
from sim.conformance.case import Severity, expect, expect_equal, violated
from sim.conformance.cloud.bench import SUITE, CloudBench
from sim.conformance.cloud.mqtt_device import MqttDevice


def _still_serves(device: MqttDevice, after: str) -> None:
    expect(
        device.ping(), f"PINGRESP after {after}", "the end of the connection" if device.ended else "silence"
    )


@SUITE.case("mqtt-connect", "An activated device is let in", "cloudsdk-protocol 2.1, 9")
def connect(bench: CloudBench) -> None:
    """User and client id are the DeviceId, the password is the MD5 of the DeviceKey, the will has QoS 1."""
    bench.connected(bench.identity())


@SUITE.case("mqtt-wrong-password", "A wrong password is refused", "cloudsdk-protocol 9")
def wrong_password(bench: CloudBench) -> None:
    """DeviceIds are no secret."""
    identity = bench.identity()
    device = bench.dial(identity, bench.activate(identity))
    code = device.hello(password=b"0" * 32)
    expect(code is not ReturnCode.ACCEPTED, "a refusal", "CONNACK 0")


@SUITE.case("mqtt-no-password", "A device without credentials is refused", "cloudsdk-protocol 9")
def no_password(bench: CloudBench) -> None:
    """An empty password is a wrong one."""
    identity = bench.identity()
    device = bench.dial(identity, bench.activate(identity))
    expect(device.hello(password=b"") is not ReturnCode.ACCEPTED, "a refusal", "CONNACK 0")


@SUITE.case(
    "mqtt-borrowed-user",
    "One device cannot log in with the user name of another",
    "cloudsdk-protocol 9",
    needs=["admin"],
)
def borrowed_user(bench: CloudBench) -> None:
    """The password belongs to one DeviceId."""
    mine, other = bench.identity(), bench.identity()
    device = bench.dial(mine, bench.activate(mine))
    other_id = bench.activate(other).device_id
    code = device.hello(user=other_id, client_id=other_id)
    expect(code is not ReturnCode.ACCEPTED, "a refusal", "CONNACK 0")


@SUITE.case("mqtt-ping", "PINGREQ is answered", "cloudsdk-protocol 2.1")
def ping(bench: CloudBench) -> None:
    """The device gives the connection up after 5 s without an answer."""
    _still_serves(bench.connected(bench.identity()), "PINGREQ")


@SUITE.case("mqtt-acknowledged", "A message of QoS 1 is acknowledged with its packet id", "MQTT 3.1.1 4.3.2")
def acknowledged(bench: CloudBench) -> None:
    """A client that keeps to the standard repeats it otherwise."""
    device = bench.connected(bench.identity())
    device.say(DataPoint.ONLINE, True, packet_id=0x2200)
    _still_serves(device, "1000 true")
    expect(0x2200 in device.acknowledged, "PUBACK 0x2200", device.acknowledged)


@SUITE.case("mqtt-query-after-online", "1000 true is answered by 1010", "cloudsdk-protocol 2.3 item 1, 9")
def query(bench: CloudBench) -> None:
    """The report that the device sends by itself is usually lost, so the cloud has to ask."""
    bench.serving(bench.identity())


@SUITE.case(
    "mqtt-query-at-every-connection", "1010 comes after every 1000 true", "cloudsdk-protocol 2.3 item 1, 9"
)
def query_again(bench: CloudBench) -> None:
    """After each reboot the version may be another one."""
    identity = bench.identity()
    credentials = bench.activate(identity)
    for _ in range(2):
        bench.serving(identity, credentials).vanish()


@SUITE.case(
    "mqtt-unsolicited-report", "A report that was not asked for is accepted", "cloudsdk-protocol 2.3 item 1"
)
def unsolicited(bench: CloudBench) -> None:
    """Devices whose transport loses nothing send 1000 and 1011 in one piece."""
    device = bench.connected(bench.identity())
    device_id = device.topics.device_id
    points = ((DataPoint.ONLINE, True), (DataPoint.VERSION, {"version": "0.0"}))
    packets = [
        Publish(device.topics.publish(dp), envelope(device_id, dp, value), 1, packet_id=1)  # type: ignore[arg-type]
        for dp, value in points
    ]
    device.send(*packets)
    device.needs(DataPoint.VERSION_QUERY, "after 1000 true and 1011 in one piece")
    _still_serves(device, "1011")


@SUITE.case("mqtt-one-point-per-message", "Each message holds one data point", "cloudsdk-protocol 2.3 item 1")
def one_point(bench: CloudBench) -> None:
    """Of several replies that one message provokes, the device sends the first only."""
    device = bench.serving(bench.identity())
    device.report("0.0")
    device.drain(bench.settle)
    for message in device.messages:
        expect_equal(len(list(received(message.payload))), 1, "data points in one message:")


@SUITE.case(
    "mqtt-own-topic", "Messages come below /device/<pid>/<did>/, not retained", "cloudsdk-protocol 0, 2.4"
)
def own_topic(bench: CloudBench) -> None:
    """It is all that the device subscribes to."""
    device = bench.serving(bench.identity())
    prefix = device.topics.subscription.removesuffix("#")
    for message in device.messages:
        expect(message.topic.startswith(prefix), f"a topic below {prefix}", message.topic)


@SUITE.case(
    "mqtt-packet-id-zero",
    "Packet id 0 is tolerated",
    "cloudsdk-protocol 2.3 item 2",
    severity=Severity.SHOULD,
)
def id_zero(bench: CloudBench) -> None:
    """The device's packet id is uninitialised memory. Mosquitto drops such a device."""
    device = bench.connected(bench.identity())
    device.say(DataPoint.ONLINE, True, packet_id=0)
    device.needs(DataPoint.VERSION_QUERY, "after 1000 true with packet id 0")


@SUITE.case(
    "mqtt-packet-id-repeated",
    "The same packet id at every message is tolerated",
    "cloudsdk-protocol 2.3 item 2",
)
def id_repeated(bench: CloudBench) -> None:
    """The device uses one id for all messages and does not wait for PUBACK."""
    device = bench.connected(bench.identity())
    for _ in range(3):
        device.say(DataPoint.ONLINE, True, packet_id=0x0100)
    for _ in range(3):
        device.needs(DataPoint.VERSION_QUERY, "after each of three 1000 true with one packet id")


@SUITE.case("mqtt-retain-ignored", "Nothing is retained below /cloud/", "cloudsdk-protocol 2.3 item 3")
def retain(bench: CloudBench) -> None:
    """The device's retain bit is garbage; a retained 1000 would come back to every later subscriber."""
    identity = bench.identity()
    credentials = bench.activate(identity)
    first = bench.connected(identity, credentials)
    first.say(DataPoint.ONLINE, True, retain=True)
    first.needs(DataPoint.VERSION_QUERY, "after 1000 true with the retain bit")
    first.leave()
    second = bench.connected(identity, credentials)
    for topic_filter in (first.topics.publish(DataPoint.ONLINE), "/cloud/#", "#"):
        if second.ended or second.subscribe(topic_filter) is None:
            return
    second.drain(bench.settle)
    kept = [message.topic for message in second.messages if message.topic.startswith("/cloud/")]
    expect(not kept, "no message below /cloud/", kept)


@SUITE.case("mqtt-takeover", "A new connection takes the place of the old one", "cloudsdk-protocol 9")
def takeover(bench: CloudBench) -> None:
    """After a reset the cloud still holds the connection of before; the device must get in all the same."""
    identity = bench.identity()
    credentials = bench.activate(identity)
    old = bench.serving(identity, credentials)
    new = bench.serving(identity, credentials)
    expect(old.until_end(), "the end of the older connection", "an open connection")
    _still_serves(new, "the takeover")


@SUITE.case(
    "mqtt-stale-will",
    "The will of a replaced connection does not put the device offline",
    "cloudsdk-protocol 9",
    needs=["admin"],
)
def stale_will(bench: CloudBench) -> None:
    """It may arrive after the 1000 true of the new one."""
    identity = bench.identity()
    credentials = bench.activate(identity)
    old = bench.serving(identity, credentials)
    new = bench.serving(identity, credentials)
    old.until_end()
    new.drain(bench.settle)
    expect(_is_online(bench, identity.product.product_id, identity.sn, True), "the device online", "offline")


def _is_online(bench: CloudBench, product_id: str, sn: str, wanted: bool) -> bool:
    return bench.scope.until(lambda: bench.admin.is_online(product_id, sn) is wanted, bench.target.patience)


@SUITE.case(
    "mqtt-online", "1000 true puts the device online", "platform 4.3, cloudsdk-protocol 9", needs=["admin"]
)
def online(bench: CloudBench) -> None:
    """It is the first thing that an engineer looks for in the console."""
    identity = bench.identity()
    bench.serving(identity)
    expect(_is_online(bench, identity.product.product_id, identity.sn, True), "the device online", "offline")


@SUITE.case(
    "mqtt-will", "A lost connection puts the device offline", "cloudsdk-protocol 2.1, 9", needs=["admin"]
)
def will(bench: CloudBench) -> None:
    """The will says so; boards lose power, they do not say good-bye."""
    identity = bench.identity()
    device = bench.serving(identity)
    device.vanish()
    expect(_is_online(bench, identity.product.product_id, identity.sn, False), "the device offline", "online")


@SUITE.case(
    "mqtt-disconnect",
    "DISCONNECT puts the device offline",
    "cloudsdk-protocol 2.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def disconnect(bench: CloudBench) -> None:
    """A clean stop sends no offline message."""
    identity = bench.identity()
    bench.serving(identity).leave()
    expect(_is_online(bench, identity.product.product_id, identity.sn, False), "the device offline", "online")


@SUITE.case(
    "mqtt-foreign-subscription",
    "A device hears nothing of another",
    "cloudsdk-protocol 9, threats",
    needs=["admin"],
)
def foreign_subscription(bench: CloudBench) -> None:
    """Task messages hold download addresses."""
    mine, other = bench.identity(), bench.identity()
    spy = bench.connected(mine)
    other_credentials = bench.activate(other)
    other_topics = Topics(other.product.product_id, other_credentials.device_id)
    for topic_filter in (other_topics.subscription, "#", "/device/#", "/+/+/+/system", "/cloud/#"):
        if not spy.ended:
            spy.subscribe(topic_filter)
    if spy.ended:
        spy = bench.connected(mine)
    bench.serving(other, other_credentials)
    spy.online()
    spy.needs(DataPoint.VERSION_QUERY, "after 1000 true")
    heard = [m.topic for m in spy.messages if other_credentials.device_id in m.topic]
    expect(not heard, "nothing of the other device", heard)


@SUITE.case(
    "mqtt-foreign-publication",
    "A device cannot speak for another",
    "cloudsdk-protocol 9, threats",
    needs=["admin"],
)
def foreign_publication(bench: CloudBench) -> None:
    """Else any device could report versions for all the others."""
    mine, other = bench.identity(), bench.identity()
    liar, victim = bench.serving(mine), bench.connected(other)
    liar.say(DataPoint.ONLINE, True, topic=victim.topics.publish(DataPoint.ONLINE))
    liar.ping()
    victim.drain(bench.settle)
    expect_equal(victim.count(DataPoint.VERSION_QUERY), 0, "questions that a foreign 1000 true provokes:")
    victim.online()
    victim.needs(DataPoint.VERSION_QUERY, "after its own 1000 true")


@SUITE.case(
    "mqtt-rubbish-payload", "A payload that is no message does no harm", "cloudsdk-protocol 2.4, threats"
)
def rubbish(bench: CloudBench) -> None:
    """Firmware has mistakes, and strangers have ideas."""
    device = bench.connected(bench.identity())
    topic = device.topics.publish(DataPoint.ONLINE)
    payloads = (
        b"",
        b"\0\xff",
        b"{",
        b"null",
        b'{"data":5}',
        b'{"data":[{"DP":"1000","value":true}]}',
        b'{"data":[{"DP":1e999}]}',
        b'{"data":[{"DP":1011,"value":{"version":[]}}]}',
        b'{"data":[{"DP":1011,"value":{"version":"' + b"9" * 3000 + b'"}}]}',
        b'{"data":' + b"[" * 3000,
    )
    for payload in payloads:
        device.send(Publish(topic, payload, 1, packet_id=1))
    device.online()
    if device.point(DataPoint.VERSION_QUERY) is None:
        violated("1010 after 1000 true that follows rubbish", "the end" if device.ended else "silence")


_MALFORMED_PACKETS: Final = (
    b"\x00\x00",
    b"\xf0\x00",
    b"\x30\xff\xff\xff\xff\xff",  # a remaining length of five bytes
    b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
    b"\x82\x02\x00\x01",  # SUBSCRIBE without a filter
    b"\x30\x04\x00\x02\xc3\x28",  # a topic that is not UTF-8
)


@SUITE.case("mqtt-malformed-packet", "A malformed packet ends that connection only", "threats")
def malformed(bench: CloudBench) -> None:
    """One broken device must not take the others with it."""
    identity = bench.identity()
    bystander = bench.connected(identity)
    other = bench.identity() if bench.target.hook is not None else None
    for data in _MALFORMED_PACKETS:
        if other is not None:
            broken = bench.connected(other)
        else:
            broken = bench.dial(identity, bench.activate(identity))
        broken.send_raw(data)
        expect(broken.until_end(), f"the end of a connection that sent {data!r}", "an open connection")
    _still_serves(bystander, "malformed packets of others")


@SUITE.case("mqtt-first-packet", "Nothing goes before CONNECT", "MQTT 3.1.1 3.1")
def first_packet(bench: CloudBench) -> None:
    """A stranger may not publish."""
    identity = bench.identity()
    stranger = bench.dial(identity, bench.activate(identity))
    stranger.online()
    expect(stranger.until_end(), "the end of the connection", "an open connection")


@SUITE.case("mqtt-huge-topic", "A topic of 64 KiB in a packet of 2 MiB does no harm", "threats")
def huge_topic(bench: CloudBench) -> None:
    """The length fields of a packet promise up to 256 MiB to whoever believes them."""
    identity = bench.identity()
    device = bench.connected(identity)
    topic = device.topics.publish(DataPoint.ONLINE) + "x" * 65_000
    device.send(Publish(topic[:65_535], bytes(2 * 1024 * 1024), 1, packet_id=1))
    device.ping()
    bench.serving(identity)
