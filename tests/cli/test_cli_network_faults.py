"""`cloudsim proxy`, and `cloudsim device run` with faults on its network."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import COMMAND, Cli, one_line_error

from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer

PATIENCE = 30.0  # seconds until a line that does not come fails the test
SN = "SIM0001"


class Process:
    """A running `cloudsim`; its lines are taken one by one."""

    def __init__(self, directory: Path, *command: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *command],
            cwd=directory,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self, part: str) -> str:
        """The next line with `part` in it."""
        while part not in (line := self._lines.get(timeout=PATIENCE)):
            pass
        return line

    def event(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line(f'"event": "{kind}"'))
        return found

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)) as server:
        yield server


def test_proxy_tells_its_events_and_reads_its_faults_again(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("seed: 3\nfaults: [reset@10]\n")
    with socket.create_server(("127.0.0.1", 0)) as cloud:
        place = f"127.0.0.1:{cloud.getsockname()[1]}"
        with contextlib.closing(
            Process(tmp_path, "proxy", "--to", place, "--faults", str(file), "--json")
        ) as proxy:
            listening = proxy.event("listening")
            assert (listening["host"], listening["rules"], listening["seed"]) == ("127.0.0.1", 1, 3)
            address = ("127.0.0.1", listening["port"])
            with socket.create_connection(address, PATIENCE) as device, cloud.accept()[0] as peer:
                peer.sendall(b"secret and more")
                assert proxy.event("opened") == {
                    "event": "opened", "link": None, "connection": 1, "faults": ["all:reset=10"],
                }  # fmt: skip
                assert proxy.event("struck") == {
                    "event": "struck", "link": None, "connection": 1,
                    "fault": "reset", "direction": "down", "at": 10,
                }  # fmt: skip
                assert proxy.event("closed") == {
                    "event": "closed", "link": None, "connection": 1, "up": 0, "down": 10, "reset": True,
                }  # fmt: skip
                assert device.recv(100) == b"secret and"
            file.write_text("faults: [resett]\n")
            proxy.hang_up()
            assert proxy.event("not-reloaded")["code"] == "faults.spec"
            file.write_text("faults: []\n")
            proxy.hang_up()
            assert proxy.event("reloaded") == {"event": "reloaded", "rules": 0, "seed": 0}
            assert proxy.end() == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--to", "10.0.0.5:80"), "faults.not-loopback"),
        (("--to", "127.0.0.1:65536"), "cloudsim.usage"),
        (("--to", "127.0.0.1:80", "--fault", "mqtt:reset"), "cloudsim.usage"),
        (("--to", "127.0.0.1:80", "--faults", "missing.yaml"), "faults.spec"),
    ],
)
def test_wrong_calls_of_the_proxy(cli: Cli, arguments: tuple[str, ...], code: str) -> None:
    one_line_error(cli("proxy", *arguments), 2, code)


def test_proxy_on_a_port_in_use(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        one_line_error(cli("proxy", "--to", place, "--listen", place), 1, "faults.listen")


def test_device_runs_through_faults_that_change_at_hangup(
    cli: Cli, tmp_path: Path, cloud: CloudServer
) -> None:
    assert cli("board", "new", "b").returncode == 0
    file = tmp_path / "faults.yaml"
    file.write_text("faults: ['mqtt:latency=60s']\n")
    with contextlib.closing(AdminClient(cloud.http_url, cloud.admin_token)) as admin:
        product = admin.show_product(admin.create_product("p")["product_id"], keys=True)
        admin.add_device("p", SN)
        command = (
            "-v", "device", "run", "b", "--sn", SN, "--product-id", product["product_id"],
            "--activation-url", cloud.activation_url, "--mqtt-url", cloud.mqtt_url,
            "--fault", "http:slice=1..7", "--faults", str(file), "--fault-seed", "1",
        )  # fmt: skip
        key = product["product_key"]
        with contextlib.closing(Process(tmp_path, *command, CLOUDSIM_PRODUCT_KEY=key)) as device:
            device.line("The device has been activated successfully!")
            assert "mqtt:latency" in device.line("Opened(link=<Link.MQTT")
            assert not admin.show_device(SN)["online"]
            file.write_text("faults: []\n")
            device.hang_up()
            device.line("MQTT server connect success")
            assert device.end() == 0


def test_device_with_faults_on_another_machine_is_refused(cli: Cli) -> None:
    result = cli(
        "device", "run", "b", "--sn", SN, "--product-id", "p", "--product-key", "k",
        "--activation-url", "http://127.0.0.1:8090", "--mqtt-url", "mqtt://10.0.0.5", "--fault", "latency=1s",
    )  # fmt: skip
    one_line_error(result, 2, "faults.not-loopback")
