"""`cloudsim record`, `replay`, `diff` and `traffic` as a user runs them."""

import json
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from traffic_rig import PATIENCE, World, address, wait_until

from cloudsdk.errors import CloudSdkError
from sim.cli.main import cli
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.traffic.recording import load_recording

COMMAND = str(Path(sys.executable).parent / "cloudsim")
TRANSCRIPTS = Path(__file__).parents[1] / "data" / "transcripts" / "cloudsdk"


def run(*arguments: object) -> Result:
    """A command that comes to an end, in this process."""
    return CliRunner().invoke(cli, list(map(str, arguments)))


def failed(*arguments: object) -> CloudSdkError:
    error = run(*arguments).exception
    assert isinstance(error, CloudSdkError), error
    assert len(str(error).splitlines()) == 1
    return error


class Running:
    """A command that goes on until it is interrupted; its output line by line."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def fields(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lines.get(timeout=PATIENCE))
        return found

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        _, _ = self.process.wait(PATIENCE), self._thread.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return self.process.returncode


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cli")
    with CloudServer(CloudConfig(folder / "cloud", http_port=0, mqtt_port=0)) as server:
        admin = AdminClient(server.http_url, server.admin_token)
        yield World(admin, server, folder)
        admin.close()


@pytest.fixture(scope="module")
def recording(world: World) -> Path:
    """An upgrade, recorded by a process that is killed by kill -9 in the end."""
    path = world.folder / "upgrade.jsonl"
    urls = ("--to-activation", world.server.activation_url, "--to-mqtt", world.server.mqtt_url)
    recorder = Running("record", *urls, "-o", path, "--json")
    facts = recorder.fields()
    assert facts["file"] == str(path)
    done = world.task("SN0001")
    with world.device("SN0001", address(facts["activation_url"]), address(facts["mqtt_url"])):
        wait_until(done)
        assert recorder.end(signal.SIGKILL) == -signal.SIGKILL
    return path


def test_a_recording_compares_equal_to_itself_and_not_to_another(recording: Path, tmp_path: Path) -> None:
    assert run("diff", recording, recording).exit_code == 0
    other = tmp_path / "other.jsonl"
    other.write_text(
        recording.read_text().replace('"keep', '"keep').replace("RT-Thread HTTP", "RT-Thread FTP")
    )
    done = run("diff", recording, other)
    assert done.exit_code == 1
    assert 'request fields.user-agent: "RT-Thread HTTP Agent" -> "RT-Thread FTP Agent"' in done.stdout
    found = json.loads(run("diff", recording, other, "--json").stdout)
    assert not found["same"]
    assert {each["link"] for each in found["differences"]} == {"http"}
    assert run("diff", recording, other, "--link", "mqtt").exit_code == 0


def test_show_prints_no_secret(world: World, recording: Path) -> None:
    device_key = world.admin.show_device("SN0001", product=world.product, keys=True)["device_key"]
    assert device_key in recording.read_text()
    for options in ((), ("--json",)):
        done = run("traffic", "show", recording, *options)
        assert done.exit_code == 0
        assert "PUBLISH" in done.stdout
        assert device_key not in done.stdout
    exact = run("diff", recording, recording, "--identifiers", "--json")
    assert json.loads(exact.stdout) == {"same": True, "differences": []}


def test_an_export_is_a_capture(recording: Path, tmp_path: Path) -> None:
    capture = tmp_path / "upgrade.pcapng"
    assert run("traffic", "pcapng", recording, capture).exit_code == 0
    assert stat.S_IMODE(capture.stat().st_mode) == 0o600
    done = subprocess.run(
        ["tshark", "-r", capture, "-Y", "http || mqtt"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert "Connect Command" in done.stdout
    assert "POST /devices/active" in done.stdout


def test_replay_as_device(world: World, recording: Path) -> None:
    done = world.task("SN0002")
    urls = ("--to-activation", world.server.activation_url, "--to-mqtt", world.server.mqtt_url)
    identity = ("--sn", "SN0002", "--product-key", world.product_key)
    replayed = run("replay", recording, "--as", "device", *urls, *identity, "--json")
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["event"] == "same"
    assert done()
    error = failed("replay", recording, "--as", "device", *urls, "--sn", "X", "--product-key", "wrong")
    assert (error.code, error.exit_status) == ("traffic.deviation", 1)


def test_replay_as_cloud(world: World, recording: Path) -> None:
    cloud = Running("replay", recording, "--as", "cloud", "--json")
    facts = cloud.fields()
    with world.device("SN0003", address(facts["activation_url"]), address(facts["mqtt_url"])):
        assert cloud.fields()["event"] == "same"
        assert cloud.end() == 0


def test_transcripts_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "t4.jsonl"
    parts = ("--mqtt", "tap", "--shell", "shell", "--log", "log")
    names = [TRANSCRIPTS / f"{part}.t4.log" if not part.startswith("-") else part for part in parts]
    assert run("traffic", "import", *names, "-o", path).exit_code == 0
    assert len({event.connection for event in load_recording(path).events}) == 3


def test_a_wrong_call_is_one_line(recording: Path, tmp_path: Path) -> None:
    for arguments, code in (
        (("record", "-o", tmp_path / "a"), "cloudsim.usage"),
        (("record", "--to-mqtt", "mqtts://h:1", "-o", tmp_path / "a"), "cloudsim.usage"),
        (("record", "--to-mqtt", "h:1", "-o", recording), "cloudsim.usage"),
        (("replay", recording, "--as", "device", "--to-mqtt", "h:1"), "cloudsim.usage"),
        (("diff", recording, tmp_path / "none"), "traffic.recording"),
        (("diff", recording, __file__), "traffic.recording"),
        (("traffic", "pcapng", tmp_path, tmp_path / "a"), "traffic.recording"),
    ):
        error = failed(*arguments)
        assert (error.code, error.exit_status) == (code, 2)
    assert not (tmp_path / "a").exists()


def test_a_port_in_use_leaves_no_recording_behind(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        recorder = Running("record", "--to-mqtt", "127.0.0.1:1", "--mqtt-port", port, "-o", path)
        assert recorder.end() == 1
    assert not path.exists()
