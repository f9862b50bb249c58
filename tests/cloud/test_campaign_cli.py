"""`cloudsim cloud firmware` and `cloudsim cloud task` beyond the basics."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cloud_helpers import Twin, activate, write_package
from rich.console import Console

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.header import Encryption
from cloudsdk.ota.pack import pack
from sim.cli.cloud import cloud
from sim.cli.cloud.watch import _bars
from sim.cloud.datadir import DataDir
from sim.cloud.service import Service

KEY, IV = "k" * 32, "i" * 16


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A cloud with product `lamp`, two devices, and firmware `app`."""
    directory = tmp_path / "cloud"
    service = Service(DataDir(directory))
    service.create_product("lamp")
    for sn in ("SN1", "SN2"):
        service.add_device("lamp", sn)
    service.upload_firmware(write_package(tmp_path, "app", "2.0", bytes(100)), "lamp")
    service.close()
    return directory


def call(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cloud, [*arguments, "--data", str(data)])


def run(data: Path, *arguments: str) -> Any:
    result = call(data, *arguments, "--json")
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def create(data: Path, *arguments: str) -> Any:
    return run(data, "task", "create", "--product", "lamp", "--firmware", "app", *arguments)


def report(data: Path, sn: str, version: str) -> None:
    """Have the device come online with this version."""
    service = Service(DataDir(data))
    try:
        product = service.show_product("lamp", keys=True)
        device_id = activate(service, product, sn).device_id
        Twin(service, product["product_id"], device_id).boot(version)
        service.due()
    finally:
        service.close()


def test_every_option_of_a_task(data: Path) -> None:
    options = (
        "--all --percent 100 --mode optional --version 7 --stages 50,100 --advance-at 90 --soak 60 "
        "--failure-limit 10 --failure-minimum 2 --attempts 4 --report-deadline 3600 "
        "--start 2999-01-01T00:00:00 --end 2999-01-01T02:00:00+01:00"
    )
    with pytest.raises(CloudSdkError, match="end before it starts"):
        create(data, *options.replace("02:00:00+01", "01:00:00+01").split())
    task = create(data, *options.split())
    assert (task["state"], task["mode"], task["version"]) == ("scheduled", "optional", "7")
    assert (task["ends_at"] - task["starts_at"], task["device_count"]) == (3600, 2)
    assert task["rollout"] == {
        "stages": [50, 100],
        "advance_at": 90,
        "soak": 60,
        "failure_limit": 10,
        "failure_minimum": 2,
        "max_attempts": 4,
        "report_deadline": 3600,
    }


def test_devices_by_version_and_tag(data: Path) -> None:
    report(data, "SN1", "1.0")
    assert [row["sn"] for row in create(data, "--version-is", "1.0")["devices"]] == ["SN1"]
    with pytest.raises(CloudSdkError) as error:
        create(data, "--tag", "nobody")
    assert error.value.code == "cloud.task-refused"


@pytest.mark.parametrize(
    "wrong",
    ["--start soon", "--stages 5;100", "--stages x", "--percent 0", "--failure-limit 100", "--attempts 0"],
)
def test_wrong_options_are_usage_errors(data: Path, wrong: str) -> None:
    arguments = ("task", "create", "--product", "lamp", "--firmware", "app", "--all")
    assert call(data, *arguments, *wrong.split()).exit_code == 2


def test_steering(data: Path) -> None:
    create(data, "--all")
    assert [run(data, "task", verb, "1")["state"] for verb in ("pause", "resume", "cancel")] == [
        "paused",
        "running",
        "cancelled",
    ]
    with pytest.raises(CloudSdkError) as error:
        run(data, "task", "retry", "1")
    assert error.value.code == "cloud.task-state"
    assert [row["state"] for row in run(data, "task", "devices", "1", "--state", "cancelled")] == [
        "cancelled",
        "cancelled",
    ]
    assert run(data, "device", "tasks", "SN1")[0]["state"] == "cancelled"
    for command in (("task", "devices", "1"), ("device", "tasks", "SN1"), ("task", "show", "1")):
        assert "cancelled" in call(data, *command).output


def test_watch_ends_with_0_when_all_devices_are_done(data: Path) -> None:
    create(data, "--device", "SN1", "--version", "7")
    report(data, "SN1", "7")
    result = call(data, "task", "watch", "1")
    assert result.exit_code == 0
    assert result.output == "task 1: done, 100 %: 1 done\n"


def test_watch_ends_with_1_otherwise(data: Path) -> None:
    create(data, "--all", "--version", "7")
    report(data, "SN1", "7")
    run(data, "task", "cancel", "1")
    result = call(data, "task", "watch", "1", "--json")
    assert result.exit_code == 1
    [line] = map(json.loads, result.stdout.splitlines())
    assert (line["state"], line["counts"]["done"], line["counts"]["cancelled"]) == ("cancelled", 1, 1)


def test_watch_follows_changes_on_a_pipe(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(data, "--all", "--version", "7")
    steps = [("SN1", "7"), ("SN2", "7")]
    # Of this module alone: other threads sleep, too.
    clock = SimpleNamespace(sleep=lambda _seconds: report(data, *steps.pop(0)))
    monkeypatch.setattr("sim.cli.cloud.watch.time", clock)
    lines = call(data, "task", "watch", "1").output.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "running, 0 %: 2 waiting",
        "running, 50 %: 1 waiting, 1 done",
        "done, 100 %: 2 done",
    ]


def test_watch_draws_a_bar_for_each_state(data: Path) -> None:
    info = create(data, "--all", "--stages", "50,100")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_bars({**info, "rate": 64_000, "eta": 7}))
    lines = console.export_text().splitlines()
    assert lines[0].rstrip() == "task 1: running, stage 1 of 2, 0 %, 64 kB/s, about 7 s left"
    assert [line.split()[0] for line in lines[1:]] == list(info["counts"])
    assert lines[1].split()[-1] == "2"


def test_firmware_is_shown_downloaded_and_deleted(data: Path, tmp_path: Path) -> None:
    shown = call(data, "firmware", "show", "1").output
    for name in ("HASH_CODE", "HDR_CRC32", "BODY_CRC32", "RAW_SIZE", "PKG_SIZE", "TIMESTAMP", "uploaded by"):
        assert name in shown
    run(data, "firmware", "download", "1", "-o", str(tmp_path / "again.rbl"))
    assert (tmp_path / "again.rbl").read_bytes() == (tmp_path / "app-2.0.rbl").read_bytes()
    assert run(data, "firmware", "delete", "1") == {"deleted": 1}
    assert run(data, "firmware", "list") == []


def test_expectations_and_lower_versions(data: Path, tmp_path: Path) -> None:
    older = str(write_package(tmp_path, "app", "1.0", bytes(100)))
    upload = ("firmware", "upload", older, "--product", "lamp")
    for options, code in ((("--version", "1.1"), "cloud.package-refused"), ((), "cloud.version-not-higher")):
        with pytest.raises(CloudSdkError) as error:
            run(data, *upload, *options)
        assert error.value.code == code
    assert run(data, *upload, "--allow-lower", "--description", "on purpose")["description"] == "on purpose"


def test_packing_writes_and_stores(data: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "app.bin", tmp_path / "new.rbl"
    source.write_bytes(bytes(5000))
    arguments = ("firmware", "pack", str(source), "--name", "app", "--version", "3.0", "--timestamp", "9")
    keys = ("--encrypt", "aes256", "--key", KEY, "--iv", IV)
    packed = run(data, *arguments, *keys, "-o", str(output), "--product", "lamp")
    wanted = pack(
        bytes(5000),
        name="app",
        version="3.0",
        timestamp=9,
        encryption=Encryption.AES256,
        key=KEY.encode(),
        iv=IV.encode(),
    )
    assert output.read_bytes() == wanted
    assert packed["firmware"]["verified"] is True
    assert KEY not in json.dumps(packed)
    assert call(data, *arguments).exit_code == 2  # where to?
    table = call(data, *arguments, "-o", str(output))
    assert "BODY_CRC32" in table.output
    default = call(data, *arguments, "--encrypt", "aes256", "-o", str(output))
    assert "public key" in default.output
