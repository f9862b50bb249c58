"""Metrics, health, the history of devices online, and the log as JSON."""

import contextlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cloud_helpers import SN, code_of, online, twin, version_report
from conftest import Clock

from cloudsdk.activation import Credentials, parse_response, request_body
from cloudsdk.mqtt.packets import ConnAck, Connect, Decoder, Packet, Publish, encode
from sim.cli.log_format import JsonFormatter
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.errors import StorageError
from sim.cloud.model import history
from sim.cloud.model.history import HOUR, KEEP_HOURS, KEEP_MINUTES
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo
from sim.cloud.store import Store

DAY = 24 * HOUR


def metrics(server: CloudServer) -> dict[str, float]:
    response = requests.get(server.http_url + "/metrics", timeout=5)
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@contextlib.contextmanager
def mqtt(server: CloudServer, ids: Credentials, *publishes: Publish) -> Iterator[list[Packet]]:
    """A device that connects, publishes, and has read an answer to everything."""
    parts = urlsplit(server.mqtt_url)
    received: list[Packet] = []
    decoder = Decoder(65536)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(
            encode(Connect(ids.device_id, True, 30, None, ids.device_id, ids.password.encode()))
        )
        for publish in publishes:
            connection.sendall(encode(publish))
        while len(received) < 1 + len(publishes):
            received += decoder.feed(connection.recv(4096))
        yield received


def test_metrics_count_what_devices_do(server: CloudServer, admin: AdminClient, lamp: ProductInfo) -> None:
    before = metrics(server)
    assert before['cloudsim_devices{state="activated"}'] == 0
    fields = {"product_id": lamp["product_id"], "product_key": lamp["product_key"], "sn": SN}
    body = request_body(**fields)
    ids = parse_response(requests.post(server.activation_url, data=body, timeout=5).content)
    assert requests.post(server.activation_url, data="{}", timeout=5).status_code == 400
    topic = f"/cloud/{lamp['product_id']}/{ids.device_id}/system"
    with mqtt(server, ids, Publish(topic, online(True), qos=1, packet_id=1)):
        while not admin.show_device(SN)["online"]:
            pass  # bounded by the time limit of the test; each look is a request
    with mqtt(server, Credentials(ids.device_id, "0" * 32)) as received:
        assert isinstance(received[0], ConnAck)
        assert received[0].return_code != 0
    while admin.show_device(SN)["online"]:
        pass
    server_is_asked_again(server)
    after = metrics(server)
    for name, value in {
        'cloudsim_activations_total{result="accepted"}': 1,
        'cloudsim_activations_total{result="refused"}': 1,
        'cloudsim_mqtt_logins_total{result="accepted"}': 1,
        'cloudsim_mqtt_logins_total{result="refused"}': 1,
        "cloudsim_mqtt_connects_total": 1,
        'cloudsim_mqtt_messages_total{direction="in"}': 1,
        'cloudsim_mqtt_messages_total{direction="out"}': 1,
        'cloudsim_devices{state="activated"}': 1,
        'cloudsim_devices{state="online"}': 0,
        "cloudsim_database_queue": 0,
    }.items():
        assert after[name] == value, name
    assert after["cloudsim_transaction_seconds_count"] > before["cloudsim_transaction_seconds_count"]
    text = requests.get(server.http_url + "/metrics", timeout=5).text
    for secret in (lamp["product_key"], ids.device_key, ids.device_id, lamp["product_id"], SN):
        assert secret not in text


def server_is_asked_again(server: CloudServer) -> None:
    """Wait until numbers of the database are too old to be used again."""
    while metrics(server)['cloudsim_devices{state="activated"}'] == 0:
        pass


def test_two_clouds_in_one_process_count_for_themselves(server: CloudServer, tmp_path: Path) -> None:
    refused = 'cloudsim_activations_total{result="refused"}'
    before = metrics(server).get(refused)
    with CloudServer(CloudConfig(tmp_path, http_port=0, mqtt_port=0)) as other:
        requests.post(other.activation_url, data="{}", timeout=5)
        assert metrics(other)[refused] == 1
    assert metrics(server).get(refused) == before


def test_health_names_what_fails(
    server: CloudServer, admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = requests.get(server.http_url + "/healthz", timeout=5)
    found = answer.json()
    instance = found.pop("instance")
    assert (answer.status_code, found) == (200, {"status": "ok", "database": "ok", "broker": "ok"})

    def broken(_store: Store) -> None:
        raise StorageError("the disk is on fire")

    monkeypatch.setattr(Store, "check", broken)
    answer = requests.get(server.http_url + "/healthz", timeout=5)
    assert answer.status_code == 503
    assert answer.json()["database"] == "the disk is on fire"
    assert admin.healthy(instance)  # it is there; commands go on asking it


# History


def sampled(service: Service, clock: Clock, at: float, thinned: int = 0) -> None:
    clock.now = at
    service.sample_online(thinned)


def test_history_counts_devices_by_product(service: Service, product: ProductInfo, clock: Clock) -> None:
    other = service.create_product("other")
    first = twin(service, product, "S1")
    twin(service, product, "S2")
    service.add_device("lamp", "S3")
    twin(service, other, "S1").boot("1")
    start = int(clock.now) // 60 * 60
    sampled(service, clock, start + 5)
    first.boot("1")
    sampled(service, clock, start + 61)
    sampled(service, clock, start + 119)  # the same minute again, after a restart
    assert service.online_history(product["product_id"]) == [
        {"at": start, "online": 0, "activated": 2},
        {"at": start + 60, "online": 1, "activated": 2},
    ]
    assert service.online_history() == [
        {"at": start, "online": 1, "activated": 3},
        {"at": start + 60, "online": 2, "activated": 3},
    ]
    assert service.online_history(since=start + 1) == service.online_history()[1:]
    assert code_of(service.online_history, since=-1) == "cloud.bad-request"
    assert code_of(service.online_history, "nobody") == "cloud.unknown-product"


def test_history_is_thinned_to_hours_and_ends(service: Service, product: ProductInfo, clock: Clock) -> None:
    twin(service, product, "S1")
    start = int(clock.now) // HOUR * HOUR
    for minute in (1, 2, 59, 60, 61, 120):  # nobody sampled at the full hour of the first
        sampled(service, clock, start + 60 * minute)
    end = start + KEEP_MINUTES + 61 * 60
    sampled(service, clock, end)

    def minutes() -> list[int]:
        return [(point["at"] - start) // 60 for point in service.online_history()]

    assert minutes() == [1, 60, 61, 120, (end - start) // 60]
    sampled(service, clock, end + DAY, thinned=end)  # only looks at what is new
    assert minutes()[:3] == [1, 60, 61]
    sampled(service, clock, end + DAY)
    assert minutes()[:3] == [1, 60, 120]
    sampled(service, clock, end + KEEP_HOURS)
    assert minutes()[0] == (end - start) // 60


def test_a_server_samples_by_itself(tmp_path: Path) -> None:
    service = Service(DataDir(tmp_path))
    twin(service, service.create_product("lamp"), "S1")
    service.close()
    with CloudServer(CloudConfig(tmp_path, http_port=0, mqtt_port=0)) as server:
        with contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin:
            while not (points := admin.online_history("lamp")):
                pass  # bounded by the time limit of the test
            assert (points[0]["online"], points[0]["activated"]) == (0, 1)
            assert code_of(admin.online_history, "lamp", -1) == "cloud.bad-request"


def test_task_counts(service: Service, product: ProductInfo) -> None:
    device = twin(service, product, "S1")
    assert device.boot("1") == []
    assert device.send(version_report("2"), "ota") == []
    with service.core.look(OPERATOR_CALLER) as work:
        assert history.task_counts(work) == {}
        assert history.device_counts(work) == {"known": 1, "activated": 1, "online": 1}


# Logs


def test_log_lines_are_json_objects() -> None:
    formatter = JsonFormatter()
    record = logging.LogRecord("sim.cloud.app", logging.WARNING, "", 1, 'said "%s"\n', ("hi",), None)
    record.created = 1539684200.5
    assert json.loads(formatter.format(record)) == {
        "time": "2018-10-16T10:03:20.500Z",
        "level": "warning",
        "logger": "sim.cloud.app",
        "message": 'said "hi"\n',
    }
    try:
        raise ValueError("x")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert "\n" not in line
    assert "ValueError: x" in json.loads(line)["exception"]


def test_serve_logs_json(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from sim.cli.main import main; main()", "cloud", "serve", "--json"]
    options = ["--http-port=0", "--mqtt-port=0", f"--data={tmp_path}", "--log-format=json"]
    with subprocess.Popen(
        command + options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        facts = json.loads(process.stdout.readline())
        assert requests.post(facts["activation_url"], data="{}", timeout=5).status_code == 400
        assert json.loads(process.stderr.readline())["message"] == "activation refused [cloud.bad-request]"
        process.terminate()
        assert process.wait(10) == 0
