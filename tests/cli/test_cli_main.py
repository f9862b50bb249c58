import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import COMMAND, Cli, one_line_error


def test_help_lists_the_commands(cli: Cli) -> None:
    result = cli("--help")
    assert result.returncode == 0
    for name in ("demo", "cloud", "board", "device", "proxy", "rbl"):
        assert f"\n  {name} " in result.stdout


def test_no_command_shows_help_and_is_a_usage_error(cli: Cli) -> None:
    result = cli("board")
    assert result.returncode == 2
    assert "Usage: cloudsim board" in result.stdout


def test_unknown_command_and_option_are_one_line(cli: Cli) -> None:
    one_line_error(cli("nosuch"), 2, "cloudsim.usage")
    one_line_error(cli("demo", "--nosuch"), 2, "cloudsim.usage")


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.startswith("cloudsim, version 0.1")


def test_reader_that_goes_away_is_no_traceback() -> None:
    process = subprocess.Popen([COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=20)
    assert b"Traceback" not in errors


@pytest.mark.parametrize("arguments", ["board new b", "board new b --json", "--help"])
def test_closed_streams_are_no_traceback(tmp_path: Path, arguments: str) -> None:
    shell = ["bash", "-c", f"{COMMAND} {arguments} <&- >&-"]
    result = subprocess.run(shell, cwd=tmp_path, stderr=subprocess.PIPE, timeout=20, check=False)
    assert (result.returncode, result.stderr) == (0, b"")


def test_interrupt_while_importing_is_no_traceback() -> None:
    script = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the caller of the tests ignores
from sim.cli.entry import main
main()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20, check=False)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, b"")
