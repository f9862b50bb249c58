import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_process import COMMAND, Cli, one_line_error

from sim.demo import DemoConfig, DeviationError, run

OFFICIAL = Path(__file__).parent.parent / "data" / "rbl" / "official"


def quiet(config: DemoConfig) -> tuple[str, list[str]]:
    console: list[str] = []
    steps: list[str] = []
    run(config, console=console.append, narrate=lambda _step, text: steps.append(text))
    return "".join(console), steps


@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
def test_demo_resumes_at_the_break_point_and_reports_the_task_version(cli: Cli, broker: str) -> None:
    result = cli("demo", "--json", "--broker", broker)
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    app, filesystem = report["upgrades"]
    assert (app["partition"], app["old_version"], app["new_version"]) == ("app", "1.0.0", "2.0.0")
    assert (filesystem["partition"], filesystem["new_version"]) == ("filesystem", "1.0.0")
    size = app["package_size"]
    assert abs(report["cut_offset"] / size - 0.57) < 0.02
    assert app["bytes_resumed"] == report["break_point"] == report["cut_offset"]
    assert app["bytes_downloaded"] == size
    first, resumed, second = report["transfers"]
    assert (first["first_byte"], first["status"]) == (0, 200)
    assert (resumed["first_byte"], resumed["status"]) == (report["break_point"], 206)
    assert resumed["bytes_sent"] == size - report["break_point"]
    assert (second["first_byte"], second["bytes_sent"]) == (0, filesystem["package_size"])
    assert report["seconds"] < 20


def test_demo_shows_the_console_and_a_table(cli: Cli) -> None:
    result = cli("demo")
    assert result.returncode == 0
    for text in (
        "RT-Thread Bootloader Starting...",
        "- RT -     Thread Operating System",
        "[I/cld] The device has been activated successfully!",
        "[I/cld.ota] Download: [",
        "OTA firmware(app) upgrade(1.0.0->2.0.0) startup.",
        "OTA firmware(filesystem) upgrade startup.",
        "power cut in the write at byte",
        "│ app        │",
    ):
        assert text in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_demo_leaves_no_files(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [COMMAND, "demo", "--quiet"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("*/boards")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "")
    assert not list(tmp_path.iterdir())


def test_second_demo_on_the_same_data_directory(cli: Cli, tmp_path: Path) -> None:
    for number in (1, 2):
        result = cli("demo", "--data", tmp_path / "data", "--quiet")
        assert (result.returncode, result.stderr) == (0, "")
        assert f"Device DEMO{number:06} runs task version" in result.stdout
        assert "RT-Thread Bootloader" not in result.stdout


@pytest.mark.parametrize("compression", ["none", "quicklz", "fastlz"])
@pytest.mark.parametrize("encryption", ["plain", "aes"])
def test_official_app_packages(tmp_path: Path, compression: str, encryption: str) -> None:
    package = OFFICIAL / f"d_100k_fw__{compression}__{encryption}.rbl"
    console, steps = quiet(DemoConfig(data=tmp_path, packages=[package]))
    assert "OTA firmware(app) upgrade(1.0.0->1.0.3) startup." in console
    assert "nothing before the break point twice" in steps[-1]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "b_4096__none__aes",
            "(rt_ota_custom_verify:170) The application must link to the flash 64KB location!",
        ),
        (
            "e_ff_8k__quicklz__plain",
            "(rt_ota_custom_verify:170) The application must link to the flash 64KB location!",
        ),
        ("d_100k_fw__gzip__plain", "(fw_algo_support_check:299) Not supported GZip compress firmware"),
        ("a_1byte__none__plain", "Partition (download) header and body verify failed!"),
    ],
)
def test_unsuitable_package_is_refused_with_the_original_line(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(DeviationError) as refused:
        quiet(DemoConfig(data=tmp_path, packages=[OFFICIAL / f"{name}.rbl"]))
    assert line in str(refused.value)


def test_wrong_key_names_the_remedy_and_leaves_the_data_usable(cli: Cli, tmp_path: Path) -> None:
    package = OFFICIAL / "d_100k_fw__quicklz__aes.rbl"
    key = "F" * 32
    result = cli("demo", "--quiet", "--data", tmp_path / "d", "--package", package, CLOUDSIM_KEY=key)
    line = one_line_error(result, 1, "demo.deviation")
    assert "step 6" in line
    assert "--key and --iv" in line
    assert key not in line
    assert cli("demo", "--quiet", "--data", tmp_path / "d", "--package", package).returncode == 0


def test_failure_as_json(cli: Cli) -> None:
    result = cli("demo", "--json", "--package", OFFICIAL / "d_100k_fw__gzip__aes.rbl")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert (report["ok"], report["step"], report["code"]) == (False, 6, "demo.deviation")


def test_bad_input_is_refused_before_anything_starts(cli: Cli, tmp_path: Path) -> None:
    one_line_error(cli("demo", "--package", "missing.rbl"), 2, "cloudsim.usage")
    text = tmp_path / "text.rbl"
    text.write_text("no package" * 20)
    one_line_error(cli("demo", "--package", text), 1, "demo.package")
    one_line_error(cli("demo", "--iv", "short"), 2, "rbl.key")
    data = bytearray((OFFICIAL / "d_100k_fw__none__plain.rbl").read_bytes())
    data[-1] ^= 1
    text.write_bytes(data)
    assert "body" in one_line_error(cli("demo", "--package", text), 1, "demo.package")


def test_package_for_an_unknown_partition(cli: Cli, tmp_path: Path) -> None:
    from cloudsdk.ota.pack import pack

    package = tmp_path / "x.rbl"
    package.write_bytes(pack(bytes(64), name="nosuch", version="1", timestamp=1))
    line = one_line_error(cli("demo", "--package", package, "--data", tmp_path / "d"), 1, "board.partition")
    assert "'nosuch'" in line
    assert "filesystem" in line
    assert not (tmp_path / "d").exists()
