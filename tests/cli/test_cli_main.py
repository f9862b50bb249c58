import subprocess

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
