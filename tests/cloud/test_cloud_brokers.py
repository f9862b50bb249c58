"""A device played by paho against the whole cloud, on the embedded broker and on Mosquitto."""

import contextlib
import json
import queue
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
from sim.cloud.client import AdminClient
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.shapes import ProductInfo

PATIENCE = 10.0  # seconds for anything awaited here


class PahoDevice:
    """One connection of a device; what it receives is queued."""

    def __init__(self, server: CloudServer, product_id: str, device_id: str, password: str) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._events: queue.Queue[Any] = queue.Queue()
        self.device_id = device_id
        self.publish_topic = f"/cloud/{product_id}/{device_id}"
        self._filter = f"/device/{product_id}/{device_id}/#"
        parts = urlsplit(server.mqtt_url)
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device_id)
        self.client.username_pw_set(device_id, password)
        self.client.will_set(f"{self.publish_topic}/system", online(False), qos=1)
        self.client.on_connect = lambda _c, _d, _f, reason, _p: self._events.put(reason)
        self.client.on_subscribe = lambda *_: self._events.put("subscribed")
        self.client.on_message = lambda _c, _d, message: self.messages.put(json.loads(message.payload))
        self._address = (str(parts.hostname), int(parts.port or 0))

    def connect(self) -> bool:
        """True if the broker lets it in; it is subscribed then."""
        self.client.connect(*self._address, keepalive=30)
        self.client.loop_start()
        if self._events.get(timeout=PATIENCE).is_failure:
            self.client.disconnect()
            self.client.loop_stop()
            return False
        self.subscribe(self._filter)
        return True

    def subscribe(self, topic_filter: str) -> None:
        self.client.subscribe(topic_filter, qos=0)
        assert self._events.get(timeout=PATIENCE) == "subscribed"

    def publish(self, channel: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(
            f"{self.publish_topic}/{channel}", payload, qos=1, retain=retain
        ).wait_for_publish(PATIENCE)

    def answer(self) -> dict[str, Any]:
        """The next data point it is sent."""
        point: dict[str, Any] = self.messages.get(timeout=PATIENCE)["data"][0]
        return point

    def vanish(self) -> None:
        """Lose the connection, so that the will is published."""
        self.client.loop_stop()
        sock = self.client.socket()
        assert sock is not None
        sock.close()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


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
    device = PahoDevice(cloud, lamps["product_id"], ids.device_id, ids.password)
    assert device.connect()
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
    product_id = lamps["product_id"]
    inactive = operator.add_device("lamps", "D2-inactive")["device_id"]
    for device_id, password in (
        (ids.device_id, "0" * 32),
        (ids.device_id, ids.device_key),
        (inactive, ids.password),
        ("0" * 16, ids.password),
    ):
        assert not PahoDevice(cloud, product_id, device_id, password).connect()
    assert PahoDeviceOf(cloud, product_id, ids).connect_and_leave()


class PahoDeviceOf(PahoDevice):
    def __init__(self, cloud: CloudServer, product_id: str, ids: Credentials) -> None:
        super().__init__(cloud, product_id, ids.device_id, ids.password)

    def connect_and_leave(self) -> bool:
        ok = self.connect()
        self.leave()
        return ok


def test_foreign_topics_do_not_work(cloud: CloudServer, operator: AdminClient, lamps: ProductInfo) -> None:
    victim_ids = activated(cloud, operator, lamps, "D3-victim")
    thief_ids = activated(cloud, operator, lamps, "D3-thief")
    with connected(cloud, lamps, victim_ids) as victim, connected(cloud, lamps, thief_ids) as thief:
        for topic_filter in ("#", "/device/#", f"/device/{lamps['product_id']}/{victim.device_id}/#"):
            thief.subscribe(topic_filter)
        topic = thief.publish_topic
        thief.publish_topic = victim.publish_topic
        thief.publish("system", online(True))  # neither believed
        thief.publish_topic = f"/cloud/{'0' * 16}/{thief.device_id}"
        thief.publish("system", online(True))  # nor under a product that is not its own
        thief.publish_topic = topic
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
    device = PahoDeviceOf(cloud, lamps["product_id"], ids)
    assert device.connect()
    device.publish("system", online(True))
    assert device.answer() == {"DP": 1010}
    device.vanish()
    wait_until_online(operator, "D4", False)
    with connected(cloud, lamps, ids) as again:
        again.publish("system", online(True))
        assert again.answer() == {"DP": 1010}
        wait_until_online(operator, "D4", True)
    wait_until_online(operator, "D4", False)


def test_will_of_a_taken_over_connection_does_not_win(
    cloud: CloudServer, operator: AdminClient, lamps: ProductInfo
) -> None:
    ids = activated(cloud, operator, lamps, "D5")
    first = PahoDeviceOf(cloud, lamps["product_id"], ids)
    assert first.connect()
    first.publish("system", online(True))
    assert first.answer() == {"DP": 1010}
    first.client.loop_stop()  # it does not answer, nor reconnect, nor close
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
        task = operator.create_task("lamps", None, [firmware["id"]], ["D7"])
        assert device.answer() == {"DP": 1010}  # asked because of the new task
        device.publish("ota", version_report("0.0"))
        message = device.answer()
        assert message["DP"] == 1012
        assert message["value"]["version"] == task["version"]
        [item] = message["value"]["firmwares"]
        body = requests.get(item["file_url"], timeout=PATIENCE).content
        assert body == encrypted(package.read_bytes(), ids.device_key)
        assert operator.show_task(task["id"])["devices"][0]["state"] == "downloading"
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
