import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import COMMAND, Cli, one_line_error

from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.shapes import ProductInfo

SN = "SIM0001"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudServer]:
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)) as server:
        yield server


@pytest.fixture
def admin(cloud: CloudServer) -> Iterator[AdminClient]:
    with contextlib.closing(AdminClient(cloud.http_url, cloud.admin_token)) as client:
        yield client


@pytest.fixture
def product(admin: AdminClient) -> ProductInfo:
    return admin.show_product(admin.create_product("p")["product_id"], keys=True)


def arguments(cloud: CloudServer, product: ProductInfo, *more: str, sn: str = SN) -> list[str]:
    return [
        "device", "run", "b", "--sn", sn, "--product-id", product["product_id"],
        "--activation-url", cloud.activation_url, "--mqtt-url", cloud.mqtt_url, *more,
    ]  # fmt: skip


@contextlib.contextmanager
def running(directory: Path, product: ProductInfo, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "CLOUDSIM_PRODUCT_KEY": product["product_key"]}
    process = subprocess.Popen(
        [COMMAND, *command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[str] | subprocess.Popen[bytes] | None = None
) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("profile", ["manual", "v2.0.0"])
def test_device_activates_goes_online_and_ends_on_interrupt(
    cli: Cli, tmp_path: Path, cloud: CloudServer, admin: AdminClient, product: ProductInfo, profile: str
) -> None:
    admin.add_device("p", SN)
    assert cli("board", "new", "b").returncode == 0

    def online() -> bool:
        device = admin.show_device(SN)
        return device["online"] and device["version"] == "0.0"

    for boot in range(2):
        with running(tmp_path, product, arguments(cloud, product, "--profile", profile)) as process:
            wait_until(online, process)
            assert "in use" in one_line_error(cli("board", "boot", "b"), 1, "board.in-use")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
        assert ("now will activate!" in output) == (boot == 0)
        assert "[I/MQTT] MQTT server connect success" in output
        assert product["product_key"] not in output
        wait_until(lambda: not admin.show_device(SN)["online"])


def test_a_terminal_is_asked_for_the_product_key(
    cli: Cli, tmp_path: Path, cloud: CloudServer, admin: AdminClient, product: ProductInfo
) -> None:
    admin.add_device("p", SN)
    cli("board", "new", "b")
    terminal = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])"]
    environment = {name: value for name, value in os.environ.items() if name != "CLOUDSIM_PRODUCT_KEY"}
    output = tmp_path / "output"
    with (
        output.open("wb") as shown,
        subprocess.Popen(
            [*terminal, COMMAND, *arguments(cloud, product)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=shown,
            stderr=shown,
        ) as process,
    ):
        try:
            assert process.stdin is not None
            wait_until(lambda: b"ProductKey: " in output.read_bytes(), process)
            process.stdin.write(product["product_key"].encode() + b"\n")
            process.stdin.flush()
            wait_until(lambda: admin.show_device(SN)["online"], process)
            process.stdin.write(b"\x1d")  # Ctrl-] leaves
            process.stdin.flush()
            process.wait(20)
        finally:
            process.kill()
    assert product["product_key"].encode() not in output.read_bytes()


def test_unknown_sn_is_one_line_after_the_original_ones(
    cli: Cli, tmp_path: Path, cloud: CloudServer, product: ProductInfo
) -> None:
    cli("board", "new", "b")
    more = ("--activation-attempts", "1")
    result = cli(*arguments(cloud, product, *more, sn="NOBODY"), CLOUDSIM_PRODUCT_KEY=product["product_key"])
    assert "[E/web] post failed, handle response(400) error." in result.stdout
    assert "Device activate failed! HTTP response error !" in result.stdout
    line = one_line_error(result, 1, "device.not-activated")
    assert "HTTP status 400" in line
    assert product["product_key"] not in line
    assert cli("board", "boot", "b").returncode == 0


def test_cloud_that_is_not_there(cli: Cli, tmp_path: Path, product: ProductInfo, cloud: CloudServer) -> None:
    cli("board", "new", "b")
    cloud.stop()
    more = ("--activation-attempts", "1")
    result = cli(*arguments(cloud, product, *more), CLOUDSIM_PRODUCT_KEY=product["product_key"])
    assert "no connection" in one_line_error(result, 1, "device.not-activated")


def test_board_without_an_application(cli: Cli, cloud: CloudServer, product: ProductInfo) -> None:
    cli("board", "new", "b", "--blank")
    result = cli(*arguments(cloud, product), CLOUDSIM_PRODUCT_KEY=product["product_key"])
    assert "no application" in one_line_error(result, 1, "device.no-application")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--activation-url", "ftp://x"), ("--mqtt-url", "nonsense"), ("--sn", "x" * 33), ("--product-id", "ü")],
)
def test_values_no_device_could_hold(
    cli: Cli, cloud: CloudServer, product: ProductInfo, option: str, value: str
) -> None:
    command = [*arguments(cloud, product), option, value]
    one_line_error(cli(*command, CLOUDSIM_PRODUCT_KEY=product["product_key"]), 2, "cloudsim.usage")
