"""Deleted devices lose their MQTT connection and do not get in again, on both brokers."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from cloudsdk.activation import Credentials, parse_response, request_body
from cloudsdk.mqtt.packets import ConnAck, Connect, Decoder, ReturnCode, encode
from sim.cloud.broker.core import BrokerCore
from sim.cloud.broker.effects import Close
from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.client import AdminClient
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.shapes import ProductInfo

PATIENCE = 10.0  # seconds


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CloudServer]:
    kind: BrokerKind = request.param
    config = CloudConfig(tmp_path_factory.mktemp("cloud"), http_port=0, mqtt_port=0, broker=kind)
    with CloudServer(config) as server:
        yield server


@pytest.fixture
def operator(running: CloudServer) -> Iterator[AdminClient]:
    client = AdminClient(running.http_url, running.admin_token)
    yield client
    client.close()


def activate(server: CloudServer, product: ProductInfo, sn: str) -> Credentials:
    body = request_body(product_id=product["product_id"], product_key=product["product_key"], sn=sn)
    return parse_response(requests.post(server.activation_url, body, timeout=PATIENCE).content)


def connect(server: CloudServer, ids: Credentials) -> tuple[socket.socket, int]:
    """A connection, and the return code of its CONNACK."""
    parts = urlsplit(server.mqtt_url)
    assert parts.hostname is not None
    assert parts.port is not None
    connection = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    connect = Connect(ids.device_id, True, 30, None, ids.device_id, ids.password.encode())
    connection.sendall(encode(connect))
    [answer] = Decoder(1000).feed(connection.recv(100))
    assert isinstance(answer, ConnAck)
    return connection, answer.return_code


def ended(connection: socket.socket) -> bool:
    with connection:
        try:
            return connection.recv(100) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def test_deleted_device_is_disconnected_and_refused(running: CloudServer, operator: AdminClient) -> None:
    product = operator.create_product("single")
    devices = {}
    for sn in ("SN1", "SN2"):
        operator.add_device("single", sn)
        devices[sn] = activate(running, product, sn)
    first, code = connect(running, devices["SN1"])
    second, _ = connect(running, devices["SN2"])
    assert code == 0
    operator.delete_device("SN1")
    assert ended(first)
    again, code = connect(running, devices["SN1"])
    again.close()
    assert code != 0
    second.sendall(b"\xc0\x00")  # PINGREQ: the other device is served as before
    assert second.recv(10) == b"\xd0\x00"
    second.close()


def test_devices_of_a_deleted_product_are_disconnected(running: CloudServer, operator: AdminClient) -> None:
    product = operator.create_product("whole")
    connections = []
    for sn in ("SN1", "SN2"):
        operator.add_device("whole", sn)
        connections.append(connect(running, activate(running, product, sn))[0])
    operator.delete_product("whole", cascade=True)
    assert [ended(connection) for connection in connections] == [True, True]


def test_bound_device_logs_in_without_activating_itself(running: CloudServer, operator: AdminClient) -> None:
    operator.create_product("bound")
    operator.add_device("bound", "QR1")
    operator.bind_device("QR1")
    keys = requests.get(f"{running.http_url}/devices?sn=QR1", timeout=PATIENCE).json()
    connection, code = connect(running, Credentials(keys["DeviceId"], keys["DeviceKey"]))
    assert code == 0
    deadline = time.monotonic() + PATIENCE
    while operator.show_device("QR1")["bind_until"] is not None:  # its log-in closes the window
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert requests.get(f"{running.http_url}/devices?sn=QR1", timeout=PATIENCE).status_code == 404
    connection.close()


class _Anything:
    def may_publish(self, client_id: str, topic: str) -> bool:
        return True

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        return True


def test_core_forgets_a_dropped_client_online_or_not() -> None:
    core = BrokerCore(_Anything(), BrokerLimits(), new_client_id=lambda: "x")
    for connection in (1, 2):
        core.opened(connection, "10.0.0.1", 0.0)
        core.received(connection, Connect("kept", False, 30, None, None, None), 0.0)
        effects = core.authenticated(connection, ReturnCode.ACCEPTED, 0.0)
        assert f"session_present={False}" in repr(effects[0])
        if connection == 1:
            assert Close(1) in core.dropped("kept", "deleted")
        assert core.is_connected("kept") is (connection == 2)
    core.closed(2, "lost")
    assert core.dropped("kept", "deleted") == []
    core.opened(3, "10.0.0.1", 0.0)
    core.received(3, Connect("kept", False, 30, None, None, None), 0.0)
    assert f"session_present={False}" in repr(core.authenticated(3, ReturnCode.ACCEPTED, 0.0)[0])
    assert core.dropped("nobody", "deleted") == []
