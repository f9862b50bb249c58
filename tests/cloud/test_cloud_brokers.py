"""A device played by paho against the whole cloud, on the embedded broker and on Mosquitto."""

import contextlib
import json
import queue
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
import requests
from cloud_helpers import encrypted, online, version_report, write_package
from paho.mqtt.enums import CallbackAPIVersion

from cloudsdk.activation import Credentials, parse_response, request_body
from cloudsdk.datapoints import DataPoint, Topics
from cloudsdk.mqtt.packets import ConnAck, Connect, Decoder, Packet, PubAck, Publish, Will, encode
from sim.cloud.client import AdminClient
from sim.cloud.messages import publish_prefix
from sim.cloud.rollout import Selection
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.shapes import ProductInfo

PATIENCE = 10.0  # seconds for anything awaited here


class PahoDevice:
    """A device on paho; what it receives is queued."""

    def __init__(self, server: CloudServer, product_id: str, ids: Credentials) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._events: queue.Queue[Any] = queue.Queue()
        topics = Topics(product_id, ids.device_id)
        self.publish_prefix = publish_prefix(topics)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=ids.device_id)
        self._client.username_pw_set(ids.device_id, ids.password)
        self._client.on_connect = lambda _c, _d, _f, reason, _p: self._events.put(reason)
        self._client.on_subscribe = lambda *_: self._events.put("subscribed")
        self._client.on_message = lambda _c, _d, message: self.messages.put(json.loads(message.payload))
        self._client.connect(*address(server), keepalive=30)
        self._client.loop_start()
        assert not self._events.get(timeout=PATIENCE).is_failure
        self.subscribe(topics.subscription)

    def subscribe(self, topic_filter: str) -> None:
        self._client.subscribe(topic_filter, qos=0)
        assert self._events.get(timeout=PATIENCE) == "subscribed"

    def publish(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish as the original does, at QoS 1, and wait for the PUBACK."""
        sent = self._client.publish(self.publish_prefix + channel, payload, qos=1, retain=retain)
        sent.wait_for_publish(PATIENCE)

    def answer(self) -> dict[str, Any]:
        """The next data point it is sent."""
        point: dict[str, Any] = self.messages.get(timeout=PATIENCE)["data"][0]
        return point

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class RawDevice:
    """A device on a bare socket, that can be let down in ways a client library does not offer."""

    def __init__(self, server: CloudServer, product_id: str, ids: Credentials) -> None:
        self._socket = socket.create_connection(address(server), timeout=PATIENCE)
        self._decoder = Decoder(65_536)
        self._received: list[Packet] = []
        self._topic = Topics(product_id, ids.device_id).publish(DataPoint.ONLINE)
        will = Will(self._topic, online(False), 1)
        self._send(Connect(ids.device_id, True, 30, will, ids.device_id, ids.password.encode()))
        answer = self._next()
        self.accepted = isinstance(answer, ConnAck) and answer.return_code == 0

    def come_online(self) -> None:
        self._send(Publish(self._topic, online(True), qos=1, packet_id=1))
        assert isinstance(self._next(), PubAck)

    def close(self) -> None:
        """Without a DISCONNECT, so that the will is published."""
        self._socket.close()

    def _send(self, packet: Packet) -> None:
        self._socket.sendall(encode(packet))

    def _next(self) -> Packet:
        while not self._received:
            data = self._socket.recv(4096)
            assert data
            self._received += self._decoder.feed(data)
        return self._received.pop(0)


def address(server: CloudServer) -> tuple[str, int]:
    parts = urlsplit(server.mqtt_url)
    return str(parts.hostname), int(parts.port or 0)


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def cloud(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    kind: BrokerKind = request.param
    config = CloudConfig(tmp_path_factory.mktemp(kind), http_port=0, mqtt_port=0, broker=kind)
    with CloudServer(config) as server:
        yield server


@pytest.fixture(scope="module")
def operator(cloud: CloudServer) -> Iterator[AdminClient]:
    with contextlib.closing(AdminClient(cloud.http_url, cloud.admin_token)) as client:
        yield client


@pytest.fixture(scope="module")
def lamps(operator: AdminClient) -> ProductInfo:
    return operator.create_product("lamps")


def activated(cloud: CloudServer, operator: AdminClient, lamps: ProductInfo, sn: str) -> Credentials:
    operator.add_device("lamps", sn)
    body = request_body(product_id=lamps["product_id"], product_key=lamps["product_key"], sn=sn)
    return parse_response(requests.post(cloud.activation_url, data=body, timeout=PATIENCE).content)


@contextlib.contextmanager
def connected(cloud: CloudServer, lamps: ProductInfo, ids: Credentials) -> Iterator[PahoDevice]:
    device = PahoDevice(cloud, lamps["product_id"], ids)
    try:
        yield device
    finally:
        device.leave()


def wait_until_online(operator: AdminClient, sn: str, state: bool) -> None:
    while operator.show_device(sn)["online"] is not state:
        pass  # bounded by the time limit of the test; each look is a request


def test_device_activated_while_running_logs_in_at_once_and_is_asked(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D1")
    with connected(cloud, lamps, ids) as device:
        device.publish("system", online(True))
        assert device.answer() == {"DP": 1010}
        shown = operator.show_device("D1")
        assert (shown["online"], shown["last_login_ip"]) == (True, "127.0.0.1")


def test_wrong_logins_are_refused(cloud: CloudServer, operator: AdminClient, lamps: ProductInfo) -> None:
    ids = activated(cloud, operator, lamps, "D2")
    operator.add_device("lamps", "D2-inactive")
    inactive = operator.show_device("D2-inactive", keys=True)
    for wrong in (
        Credentials(ids.device_id, "0" * 32),
        Credentials("0" * 16, ids.device_key),
        Credentials(inactive["device_id"], inactive["device_key"]),
    ):
        with contextlib.closing(RawDevice(cloud, lamps["product_id"], wrong)) as device:
            assert not device.accepted
    with contextlib.closing(RawDevice(cloud, lamps["product_id"], ids)) as device:
        assert device.accepted


def test_foreign_topics_do_not_work(cloud: CloudServer, operator: AdminClient, lamps: ProductInfo) -> None:
    victim_ids = activated(cloud, operator, lamps, "D3-victim")
    thief_ids = activated(cloud, operator, lamps, "D3-thief")
    with connected(cloud, lamps, victim_ids) as victim, connected(cloud, lamps, thief_ids) as thief:
        for topic_filter in ("#", "/device/#", f"/device/{lamps['product_id']}/{victim_ids.device_id}/#"):
            thief.subscribe(topic_filter)
        own = thief.publish_prefix
        for foreign in (victim.publish_prefix, f"/cloud/{'0' * 16}/{thief_ids.device_id}/"):
            thief.publish_prefix = foreign
            thief.publish("system", online(True))
        thief.publish_prefix = own
        victim.publish("ota", version_report("3.3"))
        victim.publish("system", online(True))
        assert victim.answer() == {"DP": 1010}
        assert victim.messages.empty()
        thief.publish("system", online(True))
        assert thief.answer() == {"DP": 1010}
        assert thief.messages.empty()  # not the victim's


def test_offline_by_will_and_by_leaving(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D4")
    with contextlib.closing(RawDevice(cloud, lamps["product_id"], ids)) as lost:
        lost.come_online()
        wait_until_online(operator, "D4", True)
    wait_until_online(operator, "D4", False)
    with connected(cloud, lamps, ids) as device:
        device.publish("system", online(True))
        assert device.answer() == {"DP": 1010}
        wait_until_online(operator, "D4", True)
    wait_until_online(operator, "D4", False)


def test_will_of_a_taken_over_connection_does_not_win(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D5")
    with contextlib.closing(RawDevice(cloud, lamps["product_id"], ids)) as first:
        first.come_online()
        with connected(cloud, lamps, ids) as second:
            second.publish("system", online(True))
            assert second.answer() == {"DP": 1010}
            assert operator.show_device("D5")["online"] is True


def test_retain_flag_of_a_device_is_meaningless(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D6")
    with connected(cloud, lamps, ids) as device:
        device.publish("system", online(True), retain=True)
        assert device.answer() == {"DP": 1010}


def test_task_from_message_to_download_to_done(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo, tmp_path: Path
) -> None:
    ids = activated(cloud, operator, lamps, "D7")
    package = write_package(tmp_path, "app", "2.0.0", bytes(5000))
    firmware = operator.upload_firmware(package, "lamps")
    with connected(cloud, lamps, ids) as device:
        device.publish("system", online(True))
        assert device.answer() == {"DP": 1010}
        device.publish("ota", version_report("0.0"))
        while operator.show_device("D7")["version"] is None:
            pass  # Mosquitto acknowledges before the cloud has seen the report
        task = operator.create_task("lamps", firmware_ids=[firmware["id"]], selection=Selection(("D7",)))
        assert device.answer() == {"DP": 1010}  # asked because of the new task
        device.publish("ota", version_report("0.0"))
        message = device.answer()
        assert message["DP"] == 1012
        assert message["value"]["version"] == task["version"]
        [item] = message["value"]["firmwares"]
        body = requests.get(item["file_url"], timeout=PATIENCE).content
        assert body == encrypted(package.read_bytes(), ids.device_key)
        assert operator.show_task(task["id"])["devices"][0]["state"] in ("downloading", "installing")
        assert device.answer() == {"DP": 1010}
        device.publish("ota", version_report(task["version"]))
        device.publish("system", online(True))
        assert device.answer() == {"DP": 1010}
    assert operator.show_task(task["id"])["devices"][0]["state"] == "done"


def test_new_logins_do_not_disturb_connected_devices(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D8")
    with connected(cloud, lamps, ids) as device:
        activated(cloud, operator, lamps, "D8-later")
        device.publish("system", online(True))
        assert device.answer() == {"DP": 1010}
