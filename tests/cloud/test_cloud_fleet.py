"""A campaign to many devices at once, and clouds that are killed in the middle of one."""

import asyncio
import contextlib
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cloud_fleet import Device, Fleet
from cloud_helpers import activate, new_database, write_package

from cloudsdk.errors import CloudSdkError
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.rollout import Selection
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import TaskInfo

ROOT = Path(__file__).parent.parent.parent
FLEET = {"sqlite": 200, "postgresql": 50}  # devices
DEVICES = 6  # of a cloud that is killed
PATIENCE = 60.0  # seconds for anything awaited here


def furnished(data: DataDir, count: int) -> tuple[str, list[tuple[str, str]]]:
    """A product "lamp" with activated devices: its ProductID, and the devices' ids and keys."""
    service = Service(data)
    product = service.create_product("lamp", device_limit=count)
    with service.core.store.batch():
        for number in range(count):
            service.add_device("lamp", f"SN{number}")
        ids = [activate(service, product, f"SN{number}") for number in range(count)]
    service.close()
    return product["product_id"], [(one.device_id, one.device_key) for one in ids]


def campaign(admin: AdminClient, firmware: int, count: int, version: str | None = None) -> TaskInfo:
    """A task for all devices of `furnished`."""
    return admin.create_task(
        "lamp",
        firmware_ids=[firmware],
        selection=Selection(tuple(f"SN{number}" for number in range(count))),
        version=version,
    )


def done(task: TaskInfo) -> int:
    """How many devices are done with it."""
    return task["counts"]["done"]


def new_data(request: pytest.FixtureRequest, directory: Path, database: str) -> DataDir:
    data = DataDir(directory / "cloud")
    url = new_database(request, database)
    if url is not None:
        data.remember_database(url)
    return data


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


class FleetProcess:
    """`benchmarks/cloud_fleet.py` in a process of its own; `states` counts devices by state."""

    def __init__(self, order: dict[str, Any]) -> None:
        command = [sys.executable, str(ROOT / "benchmarks" / "cloud_fleet.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self.states: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.states = json.loads(line)

    def __enter__(self) -> "FleetProcess":
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(10) != 0:
            raise AssertionError("the fleet has failed")
        self._reader.join()


def test_silent_and_slow_devices_delay_nobody(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    data, count = new_data(request, tmp_path, database), FLEET[database]
    product_id, ids = furnished(data, count)
    manners = {0: ("silent",), 1: ("slow",)}
    package = write_package(tmp_path, "app", "2.0.0", random.Random(1).randbytes(64 * 1024))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(CloudServer(CloudConfig(data.root, http_port=0, mqtt_port=0)))
        admin = stack.enter_context(contextlib.closing(AdminClient(server.http_url, server.admin_token)))
        order = {
            "mqtt": address(server.mqtt_url),
            "product_id": product_id,
            "devices": [(*one, *manners.get(number, ())) for number, one in enumerate(ids)],
        }
        fleet = stack.enter_context(FleetProcess(order))
        until(lambda: fleet.states.get("reported 0.0") == count - 1)
        firmware = admin.upload_firmware(package, "lamp")
        task = campaign(admin, firmware["id"], count, "2.0")
        until(lambda: fleet.states.get("reported 2.0") == count - 2)
        until(lambda: done(admin.show_task(task["id"])) == count - 2)
        assert fleet.states["downloading"] == 1  # the slow one was overtaken by all others
        found = {row["sn"]: row for row in admin.list_devices("lamp")}
        assert found["SN0"]["online"]  # silent, but its connection stands
        assert found["SN0"]["version"] is None


# Kills


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@contextlib.contextmanager
def serving(data: DataDir, ports: tuple[int, int], broker: BrokerKind) -> Iterator["subprocess.Popen[str]"]:
    """A cloud that devices can reach; it is killed at the end."""
    command = [sys.executable, "-c", "from sim.cli.main import main; main()", "cloud", "serve", "--json"]
    options = [
        f"--data={data.root}",
        f"--http-port={ports[0]}",
        f"--mqtt-port={ports[1]}",
        "--shell-port=0",
        "--log-port=0",
    ]
    with subprocess.Popen(
        [*command, *options, f"--broker={broker}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the cloud does not start"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def living(fleet: Fleet) -> Iterator[None]:
    """The devices, in a thread of their own."""
    loop = asyncio.new_event_loop()
    life = loop.create_task(fleet.run())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(life)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
        assert not life.done(), "the devices have died"
    finally:
        loop.call_soon_threadsafe(life.cancel)
        thread.join()
        loop.close()


class Operator:
    """Uploads and creates tasks until it is told to stop, and knows what was acknowledged."""

    def __init__(self, data: DataDir, directory: Path) -> None:
        self.firmware: dict[int, str] = {}  # SHA-256 by id
        self.tasks: list[int] = []
        self._data = data
        self._directory = directory
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Operator":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def client(self) -> AdminClient:
        endpoint = self._data.endpoint()
        if endpoint is None:
            raise CloudSdkError("no server runs")
        return AdminClient(endpoint.admin_url, endpoint.admin_token)

    def _work(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            package = write_package(
                self._directory, "app", f"1.{number}", random.Random(number).randbytes(200_000)
            )
            with contextlib.suppress(CloudSdkError), contextlib.closing(self.client()) as admin:
                firmware = admin.upload_firmware(package, "lamp")["id"]
                self.firmware[firmware] = hashlib.sha256(package.read_bytes()).hexdigest()
                self.tasks.append(campaign(admin, firmware, DEVICES)["id"])
            self._stop.wait(0.3)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("database", "broker", "kills"),
    [
        ("sqlite", "embedded", 7),
        ("postgresql", "mosquitto", 3),
        pytest.param("sqlite", "embedded", 100, marks=pytest.mark.full),
        pytest.param("postgresql", "embedded", 100, marks=pytest.mark.full),
        pytest.param("sqlite", "mosquitto", 100, marks=pytest.mark.full),
    ],
    scope="function",
)
def test_kills_lose_nothing_and_every_device_finishes(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, broker: BrokerKind, kills: int
) -> None:
    """SIGKILL at random moments of uploads, tasks, downloads and reports."""
    data, ports, chance = new_data(request, tmp_path, database), free_ports(), random.Random(kills)
    product_id, ids = furnished(data, DEVICES)
    fleet = Fleet(("127.0.0.1", ports[1]), [Device(product_id, *one) for one in ids])
    with living(fleet), Operator(data, tmp_path) as operator:
        for _ in range(kills):
            with serving(data, ports, broker):
                time.sleep(chance.uniform(0.1, 1.5))
    assert operator.tasks, "nothing was acknowledged between the kills"
    with living(fleet), serving(data, ports, broker), contextlib.closing(operator.client()) as admin:
        stored = {row["id"]: row for row in admin.list_firmware("lamp")}
        assert operator.firmware == {number: stored[number]["sha256"] for number in operator.firmware}
        campaign(admin, max(operator.firmware), DEVICES, "last")
        until(lambda: all(device.version == "last" for device in fleet.devices))
        tasks = {task["id"]: task for task in admin.list_tasks("lamp")}
        assert set(operator.tasks) <= set(tasks)
        until(lambda: all(done(task) == DEVICES for task in admin.list_tasks("lamp")))
        for device in fleet.devices:
            assert device.digest == operator.firmware[max(operator.firmware)]
        for digest in operator.firmware.values():
            assert hashlib.sha256((data.blobs / digest).read_bytes()).hexdigest() == digest
