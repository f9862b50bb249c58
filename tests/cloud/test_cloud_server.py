"""Life of a server: addresses, locks, stops, kills, and the Mosquitto it owns."""

import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud_helpers import twin, write_package

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.pack import pack
from sim.cloud import mosquitto
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir, make_private
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.service import Service

SERVE = "from sim.cli.main import main; main()", "cloud", "serve", "--http-port=0", "--mqtt-port=0", "--json"


def config(data: Path, **changes: Any) -> CloudConfig:
    return CloudConfig(**{"data": data, "http_port": 0, "mqtt_port": 0, **changes})


def start_error(settings: CloudConfig) -> CloudSdkError:
    with pytest.raises(CloudSdkError) as error:
        CloudServer(settings).start()
    assert "\n" not in str(error.value)
    return error.value


@contextlib.contextmanager
def serving(data: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`cloudsim cloud serve` in a process of its own, and what it printed when it was ready."""
    command = [sys.executable, "-c", *SERVE, "--data", str(data), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def client_of(data: Path) -> AdminClient:
    endpoint = DataDir(data).endpoint()
    assert endpoint is not None
    return AdminClient(endpoint.http_url, endpoint.admin_token)


def test_addresses_and_endpoint_file(tmp_path: Path) -> None:
    with CloudServer(config(tmp_path)) as server:
        assert requests.get(server.http_url + "/healthz", timeout=5).json()["status"] == "ok"
        assert server.activation_url == server.http_url + "/devices/active"
        assert server.mqtt_url.startswith("mqtt://127.0.0.1:")
        path = tmp_path / "endpoint.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(server.http_url, timeout=5)


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
@pytest.mark.parametrize("option", ["http_port", "mqtt_port"])
def test_port_in_use_is_one_line_with_a_remedy(tmp_path: Path, kind: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = start_error(config(tmp_path, broker=kind, **{option: port}))
    assert error.code == "cloud.port-in-use"
    flag = "--" + option.replace("_", "-")
    assert str(error) == f"port {port} on 127.0.0.1 is already in use: choose another with {flag}"
    with DataDir(tmp_path).locked():
        pass  # nothing was left locked


def test_address_of_another_machine_is_a_coded_error(tmp_path: Path) -> None:
    assert start_error(config(tmp_path, host="192.0.2.1")).code == "cloud.listen"
    assert start_error(config(tmp_path, host="no.such.host.invalid")).code == "cloud.listen"


def test_two_servers_on_one_directory_are_refused(tmp_path: Path) -> None:
    with CloudServer(config(tmp_path)):
        assert start_error(config(tmp_path)).code == "cloud.data-in-use"


def test_bad_public_urls_are_refused(tmp_path: Path) -> None:
    good = "http://10.0.0.5:8090"
    config(tmp_path, public_url=good)
    bad = (
        "",
        "host",
        "ftp://h",
        "http://",
        "http://h:x",
        good + "?a",
        good + " ",
        good + '"',
        good + "/" * 160,
    )
    for url in bad:
        with pytest.raises(UsageError):
            config(tmp_path, public_url=url)


def test_stop_does_not_wait_for_idle_connections(tmp_path: Path) -> None:
    server = CloudServer(config(tmp_path))
    server.start()
    port = int(server.http_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(b"POST /devices/active HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        server.stop()


def test_admin_api_needs_the_token(tmp_path: Path) -> None:
    with CloudServer(config(tmp_path)) as server:
        url = server.http_url + "/api/v1/products"
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": server.admin_token}):
            response = requests.get(url, headers=headers, timeout=5)
            assert (response.status_code, response.json()["code"]) == (401, "cloud.unauthorized")
            assert response.headers["WWW-Authenticate"] == "Bearer"
        with pytest.raises(CloudSdkError) as error:
            AdminClient(server.http_url, "wrong").list_products()
        assert error.value.code == "cloud.unauthorized"


def test_client_errors_keep_their_code(tmp_path: Path) -> None:
    with CloudServer(config(tmp_path)) as server:
        client = AdminClient(server.http_url, server.admin_token)
        client.create_product("lamp")
        calls: dict[str, Callable[[], object]] = {
            "cloud.unknown-product": lambda: client.show_product("none"),
            "cloud.duplicate-product": lambda: client.create_product("lamp"),
            "cloud.unknown-device": lambda: client.show_device("none"),
            "cloud.unknown-task": lambda: client.show_task(7),
            "cloud.bad-request": lambda: client.add_device("lamp", "x" * 33),
            "cloud.task-refused": lambda: client.create_task(
                "lamp", firmware_ids=[], selection=Selection(("x",))
            ),
        }
        for code, call in calls.items():
            with pytest.raises(CloudSdkError) as error:
                call()
            assert error.value.code == code
    with pytest.raises(CloudSdkError) as error:
        client.list_products()
    assert error.value.code == "cloud.unreachable"
    assert server.admin_token not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"name":1}',
        b'{"name":["x"]}',
        b'{"name":"a","account":["x"]}',
        b'{"name":"a","account":{}}',
        b'{"name":"a","device_limit":1e999}',
        b'{"name":"a","device_limit":' + b"9" * 100 + b"}",
        b'{"name":"\\ud800"}',
        b'{"name":"a","account":"\\ud800"}',
        b'{"name":"a","extra":"x"}',
        b"\xff",
    ],
)
def test_malformed_admin_requests_are_coded(body: bytes, server: CloudServer) -> None:
    headers = {"Authorization": f"Bearer {server.admin_token}"}
    response = requests.post(server.http_url + "/api/v1/products", body, headers=headers, timeout=5)
    assert (response.status_code, response.json()["code"]) == (400, "cloud.bad-request")


def test_download_cut_by_stopping_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sim.cloud.server.STOP_TIMEOUT", 0)
    package = tmp_path / "large.rbl"
    raw = bytes(24 * 1024 * 1024)
    package.write_bytes(pack(raw, name="app", version="1", timestamp=1, flavour="qboot"))
    data = DataDir(tmp_path / "cloud")
    service = Service(data)
    product = service.create_product("lamp")
    device = twin(service, product, "SN1")
    firmware = service.upload_firmware(package, "lamp")
    server = CloudServer(config(data.root))
    server.start()
    service = Service(data)  # knows the server's address
    service.create_task("lamp", firmware_ids=[firmware["id"]], selection=Selection(("SN1",)))
    device.service = service
    device.boot("0.0")
    url = json.loads(device.answers[0].payload)["data"][0]["value"]["firmwares"][0]["file_url"]
    with requests.get(url, stream=True, timeout=5) as response:
        assert response.raw.read(1000)
        server.stop()
    [transfer] = service.transfers("SN1")
    assert transfer["outcome"] == "aborted"
    assert not [record for record in caplog.records if record.exc_info]
    assert 1000 <= transfer["bytes_sent"] < package.stat().st_size
    service.close()


def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_private(DataDir(shared).database)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "cloud.db").stat().st_mode) == 0o600


def test_start_clears_what_a_kill_left_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    left_over = DataDir(tmp_path).uploads / "left-over"
    left_over.touch()
    with serving(tmp_path) as (process, facts):
        assert not left_over.exists()
        assert facts["pid"] == process.pid
        assert set(facts) == {
            "data",
            "http_url",
            "activation_url",
            "mqtt_url",
            "shell_address",
            "log_address",
            "broker",
            "pid",
        }
        process.terminate()
        assert process.wait(10) == 0
    assert not (tmp_path / "endpoint.json").exists()


def upload_until_it_fails(
    client: AdminClient,
    directory: Path,
    run: int,
    firmware: list[int],
    tasks: list[int],
    enough: threading.Event,
) -> None:
    """Note the ids of everything that the server acknowledged."""
    with contextlib.suppress(CloudSdkError):
        for number in range(10_000):
            package = write_package(directory, "app", f"{run}.{number}", bytes(50_000))
            firmware.append(client.upload_firmware(package, "lamp")["id"])
            tasks.append(
                client.create_task("lamp", firmware_ids=[firmware[-1]], selection=Selection(("SN1",)))["id"]
            )
            if number == 1:
                enough.set()


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed in the middle of requests; whatever was answered is there afterwards."""
    data = tmp_path / "cloud"
    service = Service(DataDir(data))
    service.create_product("lamp")
    service.add_device("lamp", "SN1")
    service.close()
    firmware: list[int] = []
    tasks: list[int] = []
    for run in range(2):
        with serving(data) as (process, _):
            enough = threading.Event()
            arguments = (client_of(data), tmp_path, run, firmware, tasks, enough)
            worker = threading.Thread(target=upload_until_it_fails, args=arguments)
            worker.start()
            assert enough.wait(20)
            process.kill()
            process.wait(10)
            worker.join(20)
        service = Service(DataDir(data))
        stored = {row["id"]: row for row in service.list_firmware()}
        assert set(firmware) <= set(stored)
        assert set(tasks) <= {row["id"] for row in service.list_tasks()}
        for row in stored.values():
            assert service.blobs.path(row["sha256"]).stat().st_size == row["file_size"]
        service.close()


# Mosquitto


def test_mosquitto_files_are_private_and_hold_no_password(tmp_path: Path) -> None:
    with CloudServer(config(tmp_path, broker="mosquitto")):
        files = list((tmp_path / "mosquitto").iterdir())
        assert {path.name for path in files} == {"mosquitto.conf", "passwords", "acl"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert ":$7$" in (tmp_path / "mosquitto" / "passwords").read_text()


def mosquitto_pid(data: Path) -> int:
    """The process that runs on this directory's configuration."""
    wanted = str(data / "mosquitto" / "mosquitto.conf").encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if wanted in words and words[0].endswith(b"mosquitto"):
                return int(path.parent.name)
    raise AssertionError("no mosquitto runs")


def test_death_of_mosquitto_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    server = CloudServer(config(tmp_path, broker="mosquitto"))
    server.start()
    os.kill(mosquitto_pid(tmp_path), signal.SIGKILL)
    with pytest.raises(CloudSdkError) as error:
        server.wait()
    assert error.value.code == "cloud.mosquitto-failed"
    assert "died" in str(error.value)


def test_mosquitto_does_not_outlive_a_killed_server(tmp_path: Path) -> None:
    with serving(tmp_path, "--broker=mosquitto") as (process, _):
        pidfd = os.pidfd_open(mosquitto_pid(tmp_path))
        process.kill()
    with contextlib.closing(os.fdopen(pidfd)):
        assert select.select([pidfd], [], [], 10)[0], "mosquitto still runs"
    with CloudServer(config(tmp_path, broker="mosquitto")):
        pass


def test_missing_mosquitto_is_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    error = start_error(config(tmp_path, broker="mosquitto"))
    assert error.code == "cloud.mosquitto-missing"
    assert "apt-get install mosquitto" in str(error)


def test_mosquitto_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "configuration", lambda *_args: "nonsense yes\n")
    error = start_error(config(tmp_path, broker="mosquitto"))
    assert error.code == "cloud.mosquitto-failed"
    assert "nonsense" in str(error)
