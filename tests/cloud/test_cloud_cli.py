"""`cloudsim cloud`, on the database itself and through a running server."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cloud_helpers import write_package

from cloudsdk.errors import CloudSdkError, UsageError
from sim.cli.cloud import cloud
from sim.cloud.server import CloudConfig, CloudServer

Run = Callable[..., Any]


def text(data: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cloud, [*arguments, "--data", str(data)])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture(params=["offline", "served"])
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory; with a server on it, commands must not open the database themselves."""
    if request.param == "offline":
        yield tmp_path / "cloud"
        return
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)):
        monkeypatch.setattr("sim.cloud.service.Service.__init__", _must_not_open)
        yield tmp_path / "cloud"


def _must_not_open(*_arguments: object) -> None:
    raise AssertionError("the command did not go to the server")


@pytest.fixture
def run(data: Path) -> Run:
    return lambda *arguments: json.loads(text(data, *arguments, "--json"))


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(CloudSdkError) as error:
        call()
    return error.value.code


def test_from_product_to_task(run: Run, data: Path, tmp_path: Path) -> None:
    product = run("product", "create", "lamp", "--device-limit", "5", "--kind", "smart home")
    assert (product["name"], product["device_limit"], product["kind"]) == ("lamp", 5, "smart home")
    assert len(product["product_key"]) == 36
    [listed] = run("product", "list")
    assert "product_key" not in listed
    assert "product_key" not in run("product", "show", "lamp")
    assert (
        run("product", "show", product["product_id"], "--show-key")["product_key"] == product["product_key"]
    )
    run(
        "device",
        "add",
        "--product",
        product["product_id"],
        "--sn",
        "SN1",
        "--name",
        "[red]x",
        "--mac",
        "00:80:E1:12:34:56",
    )
    run("device", "add", "--product", "lamp", "--sn", "SN 2")
    assert [row["sn"] for row in run("device", "list", "--product", "lamp")] == ["SN1", "SN 2"]
    device = run("device", "show", "SN1")
    assert (device["name"], device["state"]) == ("[red]x", "inactive")
    assert len(run("device", "show", "SN 2", "--show-key")["device_key"]) == 32
    for name, version in (("app", "1.0.0"), ("app", "2.0.0"), ("filesystem", "0.1")):
        package = write_package(tmp_path, name, version)
        assert run("firmware", "upload", str(package), "--product", "lamp")["version"] == version
    assert [row["id"] for row in run("firmware", "list")] == [1, 2, 3]
    ordered = ("--firmware", "filesystem", "--firmware", "app:2.0.0")
    devices = ("--device", "SN1", "--device", "SN 2")
    task = run("task", "create", "--product", "lamp", *ordered, *devices, "--mode", "silent")
    assert (task["version"], task["mode"]) == ("1.0", "silent")
    assert [row["id"] for row in task["firmware"]] == [3, 2]
    assert [row["sn"] for row in task["devices"]] == ["SN1", "SN 2"]
    more = run("task", "create", "--product", "lamp", "--firmware", "1", "--device", "SN1", "--version", "7")
    assert more["version"] == "7"
    assert run("task", "show", str(task["id"])) == task
    assert [row["id"] for row in run("task", "list")] == [1, 2]
    cancelled = run("task", "cancel", "1")
    assert [row["state"] for row in cancelled["devices"]] == ["cancelled", "cancelled"]
    assert run("device", "transfers", "SN1") == []


def test_errors_are_coded(run: Run, data: Path, tmp_path: Path) -> None:
    run("product", "create", "lamp")
    run("device", "add", "--product", "lamp", "--sn", "SN1")
    for version in ("1", "2"):
        run("firmware", "upload", str(write_package(tmp_path, "app", version)), "--product", "lamp")
    create = ("task", "create", "--product", "lamp", "--device", "SN1", "--firmware")
    assert code_of(lambda: run("product", "create", "lamp")) == "cloud.duplicate-product"
    assert code_of(lambda: run("device", "show", "nobody")) == "cloud.unknown-device"
    assert code_of(lambda: run("device", "add", "--product", "no", "--sn", "x")) == "cloud.unknown-product"
    assert code_of(lambda: run("task", "show", "99")) == "cloud.unknown-task"
    assert code_of(lambda: run(*create, "99")) == "cloud.unknown-firmware"
    for reference in ("app", "app:3", "other"):
        with pytest.raises(UsageError):
            run(*create, reference)
    with pytest.raises(UsageError, match="No such file"):
        run("firmware", "upload", str(tmp_path / "none.rbl"), "--product", "lamp")
    os.mkfifo(tmp_path / "pipe.rbl")
    with pytest.raises(UsageError, match="not a regular file"):
        run("firmware", "upload", str(tmp_path / "pipe.rbl"), "--product", "lamp")
    broken = tmp_path / "broken.rbl"
    broken.write_bytes(b"RBL")
    assert (
        code_of(lambda: run("firmware", "upload", str(broken), "--product", "lamp"))
        == "cloud.package-refused"
    )


def test_tables_for_people(data: Path, tmp_path: Path) -> None:
    created = text(data, "product", "create", "lamp")
    assert "product key" in created
    text(data, "device", "add", "--product", "lamp", "--sn", "SN1", "--name", "[bold]x[/]")
    text(data, "firmware", "upload", str(write_package(tmp_path)), "--product", "lamp")
    shown = text(data, "task", "create", "--product", "lamp", "--firmware", "app", "--device", "SN1")
    assert "app:1.0.0" in shown
    assert "waiting" in shown
    devices = text(data, "device", "list")
    assert "[bold]x[/]" in devices  # text from outside is no markup
    for output in (created, shown, devices, text(data, "product", "list"), text(data, "task", "list")):
        assert "\x1b" not in output
    key = next(line.split()[-1] for line in created.splitlines() if line.startswith("product key"))
    assert key not in text(data, "product", "list") + text(data, "product", "show", "lamp")
    assert key in text(data, "product", "show", "lamp", "--show-key")


def test_endpoint_of_a_killed_server_is_not_believed(tmp_path: Path) -> None:
    with CloudServer(CloudConfig(tmp_path, http_port=0, mqtt_port=0)) as server:
        endpoint = (tmp_path / "endpoint.json").read_bytes()
        text(tmp_path, "product", "create", "lamp")
        # Another server answers there now: the token is not for it.
        other = tmp_path / "other"
        other.mkdir()
        forged = json.loads(endpoint)
        forged["instance"] = "0" * 16
        (other / "endpoint.json").write_text(json.dumps(forged))
        assert json.loads(text(other, "product", "list", "--json")) == []
        assert server.admin_token
    (tmp_path / "endpoint.json").write_bytes(endpoint)
    assert len(json.loads(text(tmp_path, "product", "list", "--json"))) == 1
    for damaged in ("", "{}", "[]", json.dumps({**json.loads(endpoint), "http_url": 5})):
        (tmp_path / "endpoint.json").write_text(damaged)
        assert len(json.loads(text(tmp_path, "product", "list", "--json"))) == 1


def test_data_directory_comes_from_the_environment(tmp_path: Path) -> None:
    environment = {"CLOUDSIM_DATA": str(tmp_path / "there")}
    result = CliRunner(env=environment).invoke(cloud, ["product", "create", "lamp"])
    assert result.exit_code == 0
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o700
    result = CliRunner(env={"HOME": str(tmp_path), "CLOUDSIM_DATA": None}).invoke(cloud, ["product", "list"])
    assert result.exit_code == 0
    assert (tmp_path / ".local/share/cloudsim/cloud/cloud.db").exists()
