import hashlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from cli_process import COMMAND, Cli, one_line_error
from click.testing import CliRunner, Result

from cloudsdk.errors import CloudSdkError
from sim.cli import powercut_subject
from sim.cli.main import cli as commands
from sim.faults.powercut.upgrade import Upgrade
from sim.faults.powercut.world import POWER_ON, Console, Step, World

OFFICIAL = Path(__file__).parent.parent / "data/rbl/official"
SMALL = ("--size", "3000")


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """The command takes SIGTERM for Ctrl-C; this process shall not."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def inside(*arguments: object, **variables: str) -> Result:
    """As `cli`, in this process: for what no process of its own is needed."""
    return CliRunner().invoke(
        commands, ["powercut", *map(str, arguments)], env=variables, prog_name="cloudsim"
    )


def swept(*arguments: object) -> dict[str, Any]:
    """The JSON report of a sweep that is clean."""
    result = inside(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["ok"] is True
    return report


def test_small_sweep_is_clean_and_reported_everywhere(cli: Cli, tmp_path: Path) -> None:
    result = cli("powercut", *SMALL, "--nested", "20", "--html", "p.html", "--junit", "p.xml")
    assert (result.returncode, result.stderr) == (0, "")
    for text in ("iot-board", "rt_ota 1.3", "app 2.0.0 (2967 bytes)", "all 110 power cuts end well"):
        assert text in result.stdout
    assert "110 armed, 110 fired" in result.stdout
    page = (tmp_path / "p.html").read_text()
    assert "http" not in page
    assert "110 armed, 110 fired" in page
    (suite,) = ET.fromstring((tmp_path / "p.xml").read_text())  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("91", "0", "0")


def test_json_does_not_depend_on_the_number_of_processes() -> None:
    options = (*SMALL, "--points", "60", "--nested", "30", "--fine", "--torn", "0.1")
    alone, shared = (swept(*options, "--jobs", jobs) for jobs in (1, 2))
    assert alone.pop("seconds") > 0
    assert shared.pop("seconds") > 0
    assert alone == shared
    assert alone["armed"] == alone["fired"] == 90
    assert (alone["options"]["torn"], alone["options"]["fine"]) == (0.1, True)
    assert alone["swept"]["packages"] == [{"name": "app", "version": "2.0.0", "size": 2967}]


def test_every_pair_of_cuts() -> None:
    report = swept("--size", "1024", "--nested-exhaustive")
    assert report["verdicts"]["recovered-new"]["one_cut"] == report["operations"] * 3
    assert report["verdicts"]["recovered-new"]["two_cuts"] > 1000


def test_exhaustive_alone_cuts_once() -> None:
    report = swept("--size", "1024", "--exhaustive")
    assert report["fired"] == report["operations"] * 3
    assert (report["options"]["points"], report["options"]["nested"]) == (None, 0)


def content(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def test_board_directory_is_not_changed(cli: Cli, tmp_path: Path) -> None:
    cli("board", "new", "b", "--app-version", "1.5.0", CLOUDSIM_KEY="K" * 32)
    before = content(tmp_path / "b")
    # The board's own key opens what is encrypted for it.
    result = cli("powercut", "b", "--size", "2000", "--encrypt", "aes256", "--points", "30", "--nested", "5")
    assert (result.returncode, result.stderr) == (0, "")
    assert content(tmp_path / "b") == before
    replay = inside(tmp_path / "b", "--size", "2000", "--replay", "c0b")
    assert "upgrade(1.5.0->2.0.0)" in replay.stdout


def test_own_packages_in_a_task() -> None:
    package = OFFICIAL / "d_100k_fw__quicklz__aes.rbl"
    report = swept("--package", package, "--points", "20", "--nested", "0")
    assert report["fired"] == 20
    assert report["swept"]["packages"][0]["version"] == "1.0.3"
    assert report["swept"]["replay"] == f"cloudsim powercut --package {package} --replay"


def test_replay_prints_the_whole_console_and_the_verdict(cli: Cli) -> None:
    result = cli("powercut", *SMALL, "--replay", "c12t+4b")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("\nRT-Thread Bootloader Starting...")
    assert "--- power cut torn" in result.stdout
    assert "--- power cut before" in result.stdout
    assert result.stdout.splitlines()[-1] == "c12t+4b: recovered-new: reports 1.1, app is new"
    point = json.loads(inside(*SMALL, "--replay", "c12t+4b", "--json").stdout)
    assert (point["id"], point["verdict"]) == ("c12t+4b", "recovered-new")
    assert "power cut torn" in point["console"]


def refusal(*arguments: object, **variables: str) -> CloudSdkError:
    result = inside(*arguments, **variables)
    assert isinstance(result.exception, CloudSdkError), result.output
    assert result.output == ""
    return result.exception


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["--replay", "t17"], 2, "powercut.schedule"),
        (["--replay", "c\N{ARABIC-INDIC DIGIT THREE}t"], 2, "powercut.schedule"),
        (["--torn", "nan"], 2, "cloudsim.usage"),
        (["nowhere"], 1, "board.directory"),
        (["nowhere", "--board", "iot-board"], 2, "cloudsim.usage"),
        (["nowhere", "--key", "K" * 32], 2, "cloudsim.usage"),
        (["--board", "nosuch"], 2, "layout.invalid"),
        (["--points", "0", "--nested", "0"], 2, "cloudsim.usage"),
        (["--exhaustive", "--points", "3"], 2, "cloudsim.usage"),
        (["--nested-exhaustive", "--nested", "3"], 2, "cloudsim.usage"),
        (["--package", "missing"], 2, "cloudsim.usage"),
        (["--package", "missing", "--size", "2000"], 2, "cloudsim.usage"),
        (["--package", "/dev/zero"], 2, "cloudsim.usage"),
        (["--package", __file__], 1, "rbl.magic"),
        (["--html", "no/such/page"], 2, "cloudsim.usage"),
        (["--compress", "gzip"], 1, "powercut.undisturbed"),
    ],
    ids=str,
)
def test_errors_have_code_and_status(arguments: list[str], status: int, code: str) -> None:
    error = refusal(*arguments)
    assert (error.code, error.exit_status) == (code, status)


def test_errors_are_one_line(cli: Cli, tmp_path: Path) -> None:
    # The console of the run that has no such operation stands on standard output.
    one_line_error(cli("powercut", *SMALL, "--replay", "c9999t"), 2, "powercut.schedule")
    wrong = cli("powercut", *SMALL, "--html", "p.html", "--compress", "gzip")
    assert "rbl lint" in one_line_error(wrong, 1, "powercut.undisturbed")
    assert not list(tmp_path.iterdir())


def test_wrong_key_is_not_shown() -> None:
    key = "F" * 32
    error = refusal("--package", OFFICIAL / "d_100k_fw__quicklz__aes.rbl", CLOUDSIM_KEY=key)
    assert error.code == "rbl.raw-size"
    assert key not in str(error)


class Tidy(Upgrade):
    """Takes an application without a header for a reason to clear what is left of the download."""

    def step(self, world: World, console: Console) -> Step:
        board = self._board(world)
        if world.stage == POWER_ON and board.installed("app") is None:
            download = board.partition("download")
            download.erase(0, download.size)
        return super().step(world, console)


def test_bad_points_can_be_replayed_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(powercut_subject, "Upgrade", Tidy)
    keys = tmp_path / "my keys"
    keys.write_text("K" * 32 + "\n" + "I" * 16)
    keys.chmod(0o600)
    options = ["--size", "2000", "--encrypt", "aes256", "--key-file", str(keys), "--torn", "0.3"]
    result = inside(*options, "--nested", "0")
    assert result.exit_code == 1
    assert "power cuts end badly" in result.stdout
    lines = result.stdout.splitlines()
    shown = {line.strip(): lines[number - 2] for number, line in enumerate(lines) if " --replay " in line}
    assert len(shown) == 5
    assert {verdict.partition(":")[0] for verdict in shown.values()} == {"brick", "silent-corruption"}
    for command, verdict in shown.items():
        assert command.startswith(f"cloudsim powercut --size 2000 --encrypt aes256 --key-file '{keys}'")
        assert "--torn 0.3" in command
        replayed = inside(*shlex.split(command)[2:])
        assert replayed.exit_code == 1
        assert replayed.stdout.splitlines()[-1] == f"{command.split()[-1]}: {verdict}"


def test_keys_on_the_command_line_are_not_shown_again() -> None:
    key, iv = "K" * 32, "I" * 16
    report = swept(*SMALL, "--key", key, "--iv", iv, "--encrypt", "aes256", "--points", "5", "--nested", "0")
    assert report["swept"]["replay"] == (
        "cloudsim powercut --size 3000 --encrypt aes256 --key KEY --iv IV --replay"
    )
    assert not any(secret in json.dumps(report) for secret in (key, iv))


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_sweep_prints_what_it_knows(tmp_path: Path, jobs: int, number: signal.Signals) -> None:
    master, terminal = pty.openpty()
    command = [COMMAND, "powercut", "--fine", "--exhaustive", "--jobs", str(jobs), "--html", "p.html"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, text=True, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        while not re.search(rb"[1-9]\d*/", shown):  # the first faults have fired
            shown += os.read(master, 4096)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 130
    assert "interrupted: all" in output
    assert "so far" in output
    assert "interrupted" in (tmp_path / "p.html").read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_corpus_prints_the_detection_rate(cli: Cli) -> None:
    result = cli("powercut", "--corpus")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^(\d+) of \1 planted defects detected \(100 %\), \d+ power cuts$", result.stdout, re.M)
    facts = json.loads(cli("powercut", "--corpus", "--json").stdout)
    assert facts["detected"] == facts["total"] == len(facts["defects"]) >= 12
    assert all(each["control_clean"] and each["first"] for each in facts["defects"])


def test_two_reports_in_one_file_are_refused(cli: Cli, tmp_path: Path) -> None:
    result = cli("powercut", *SMALL, "--html", "x", "--junit", tmp_path / "x")
    assert "name the same file" in one_line_error(result, 2, "cloudsim.usage")
