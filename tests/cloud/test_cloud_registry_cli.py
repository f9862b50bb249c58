"""`cloudsim cloud product` and `device`: modify, publish, delete, import, QR codes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudsdk.errors import CloudSdkError, UsageError
from sim.cli.cloud import cloud
from sim.cloud.server import CloudConfig, CloudServer

Run = Callable[..., Any]


@pytest.fixture(scope="module", params=["offline", "served"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("cloud")
    if request.param == "offline":
        yield directory
        return
    with CloudServer(CloudConfig(directory, http_port=0, mqtt_port=0)):
        yield directory


@pytest.fixture
def invoke(data: Path) -> Callable[..., Result]:
    def invoke(*arguments: str) -> Result:
        result = CliRunner().invoke(cloud, [*arguments, "--data", str(data)])
        if result.exception is not None:
            raise result.exception
        return result

    return invoke


@pytest.fixture
def run(invoke: Callable[..., Result]) -> Run:
    return lambda *arguments: json.loads(invoke(*arguments, "--json").stdout)


@pytest.fixture
def lamp(run: Run) -> Iterator[str]:
    """A product with device SN1, its ProductID."""
    product: str = run("product", "create", "lamp", "--device-limit", "5")["product_id"]
    run("device", "add", "--product", "lamp", "--sn", "SN1", "--tag", "b", "--tag", "a")
    yield product
    run("product", "delete", product, "--cascade", "--yes")


def code_of(call: Callable[..., object], *arguments: str) -> str:
    with pytest.raises(CloudSdkError) as error:
        call(*arguments)
    return error.value.code


def test_product_is_edited_published_and_deleted(run: Run, lamp: str) -> None:
    changed = run("product", "edit", "lamp", "--description", "green", "--device-limit", "3")
    assert (changed["description"], changed["device_limit"], changed["name"]) == ("green", 3, "lamp")
    assert run("product", "edit", "lamp", "--description", "")["description"] == ""
    assert code_of(run, "product", "delete", "lamp", "--yes") == "cloud.not-empty"
    other = run("product", "create", "frozen" + os.urandom(4).hex())["product_id"]
    assert run("product", "publish", other)["published"]
    assert code_of(run, "product", "edit", other, "--name", "x") == "cloud.published"
    assert code_of(run, "product", "delete", other, "--yes") == "cloud.published"
    spare = run("product", "create", "spare")["product_id"]
    assert run("product", "delete", "spare", "--yes") == {"deleted": spare}
    assert code_of(run, "product", "show", spare) == "cloud.unknown-product"


def test_device_is_edited_published_and_deleted(run: Run, lamp: str) -> None:
    changed = run("device", "edit", "SN1", "--sn", "SN2", "--name", "n")
    assert (changed["sn"], changed["name"], changed["tags"]) == ("SN2", "n", ["a", "b"])
    assert run("device", "edit", "SN2", "--tag", "c")["tags"] == ["c"]
    assert run("device", "edit", "SN2", "--no-tags")["tags"] == []
    assert run("device", "publish", "SN2", "--product", "lamp")["published"]
    assert code_of(run, "device", "edit", "SN2", "--sn", "SN3") == "cloud.published"
    gone = run("device", "show", "SN2")["device_id"]
    assert run("device", "delete", "SN2", "--yes") == {"deleted": gone}
    assert code_of(run, "device", "delete", "SN2", "--yes") == "cloud.unknown-device"


def test_edit_without_a_change_is_a_usage_error(run: Run, lamp: str) -> None:
    for arguments in (("product", "edit", "lamp"), ("device", "edit", "SN1")):
        assert code_of(run, *arguments) == "cloudsim.usage"
    assert code_of(run, "device", "edit", "SN1", "--tag", "x", "--no-tags") == "cloudsim.usage"


def test_deletion_without_yes_is_refused_in_a_pipe(run: Run, lamp: str) -> None:
    for arguments in (("product", "delete", "lamp", "--cascade"), ("device", "delete", "SN1")):
        with pytest.raises(UsageError, match="--yes"):
            run(*arguments)
    assert run("device", "show", "SN1")["sn"] == "SN1"


def test_deletion_asks_on_a_terminal(tmp_path: Path) -> None:
    here = ("--data", str(tmp_path))
    for arguments in (("product", "create", "lamp"), ("device", "add", "--product", "lamp", "--sn", "SN1")):
        assert CliRunner().invoke(cloud, [*arguments, *here]).exit_code == 0
    question = "Delete device SN1 of product lamp (inactive)?"
    for answer, left in ((b"n\n", ["SN1"]), (b"y\n", [])):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        command = [sys.executable, "-c", "from sim.cli.main import main; main()", "cloud", "device", "delete"]
        result = subprocess.run([*command, "SN1", *here], stdin=theirs, capture_output=True, timeout=60)
        os.close(ours)
        os.close(theirs)
        assert question.encode() in result.stderr
        assert result.stdout == b""
        listed = CliRunner().invoke(cloud, ["device", "list", "--json", *here]).stdout
        assert [row["sn"] for row in json.loads(listed)] == left


def test_devices_are_listed_by_filter(run: Run, invoke: Callable[..., Result], lamp: str) -> None:
    run("device", "add", "--product", "lamp", "--sn", "SN2", "--name", "kitchen")
    assert [row["sn"] for row in run("device", "list", "--search", "KIT")] == ["SN2"]
    assert [row["sn"] for row in run("device", "list", "--tag", "a", "--offline")] == ["SN1"]
    assert run("device", "list", "--state", "activated") == []
    assert run("device", "list", "--online") == []
    assert "a b" in invoke("device", "list").output


def test_table_is_imported_or_its_bad_rows_are_named(
    run: Run, invoke: Callable[..., Result], lamp: str, data: Path, tmp_path: Path
) -> None:
    table = tmp_path / "devices.csv"
    table.write_text("sn,tags\nT1,x y\nT2,\n")
    assert run("device", "import", str(table), "--product", "lamp")["added"] == 2
    assert run("device", "show", "T1")["tags"] == ["x", "y"]
    result = CliRunner().invoke(
        cloud, ["device", "import", str(table), "--product", "lamp", "--data", str(data)]
    )
    assert getattr(result.exception, "code", "") == "cloud.devices-refused"
    assert "row 2: the product has a device with SN T1 already" in result.stderr
    assert "row 3:" in result.stderr
    table.write_bytes(b"sn\n" + b"1\n" * 3_000_000)
    assert code_of(run, "device", "import", str(table), "--product", "lamp") == "cloud.too-large"
    with pytest.raises(UsageError, match="cannot read"):
        run("device", "import", str(tmp_path / "none.csv"), "--product", "lamp")


def test_qr_code_is_shown_or_written(
    run: Run, invoke: Callable[..., Result], lamp: str, tmp_path: Path
) -> None:
    shown = invoke("device", "qr", "SN1").output
    assert "\u2588" in shown
    assert shown.rstrip().endswith("/m/#/login?sn=SN1")
    for name, magic in (("code.svg", b"<?xml"), ("code.PNG", b"\x89PNG")):
        assert invoke("device", "qr", "SN1", "-o", str(tmp_path / name)).output == ""
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert code_of(run, "device", "qr", "SN1", "-o", str(tmp_path / "code.gif")) == "cloudsim.usage"
    assert run("device", "qr", "SN1")["bind_until"] is None


def test_bind_window_is_opened_and_closed(run: Run, lamp: str) -> None:
    assert run("device", "bind", "SN1", "--seconds", "60")["bind_until"] > 0
    assert run("device", "show", "SN1")["bind_until"] > 0
    assert run("device", "bind", "SN1", "--seconds", "0")["bind_until"] is None


def test_devices_are_counted(run: Run, lamp: str, invoke: Callable[..., Result]) -> None:
    here = ("--product", lamp)
    assert run("device", "counts", *here) == {"total": 1, "activated": 0, "online": 0}
    assert run("device", "tags", *here) == [{"tag": "a", "devices": 1}, {"tag": "b", "devices": 1}]
    assert run("device", "history", *here) == []
    assert invoke("device", "history", *here, "--hours", "1").exit_code == 0
