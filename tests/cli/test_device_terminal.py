"""`cloudsim device run` on a terminal and in a pipe, against the reference cloud."""

import contextlib
import os
import re
import select
import signal
import subprocess
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pexpect
import pytest
from cli_process import COMMAND, Cli, one_line_error

from sim.board import create_board
from sim.cli.command_file import CommandFileError, load_commands
from sim.cli.terminal import LeaveKeys
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.flash.layout import load_board

ROOT = Path(__file__).parents[2]
SN = "CONSOLE0001"
PATIENCE = 20  # seconds
ONLINE = "Subscribe #0"
PROMPT = "msh />"
LEAVE, INTERRUPT, TAB, UP = "\x1d", "\x03", "\t", "\x1b[A"
README = (ROOT / "README.md").read_text()
(OWN_COMMAND,) = re.findall(r"^```python command\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SLOW_COMMAND = """
from sim.msh.commands import command

@command("slow", "take a while")
def slow(context, arguments):
    yield 200
    context.write("done\\n")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command line of a device that the cloud knows, but for the board."""
    directory = tmp_path_factory.mktemp("cloud")
    with CloudServer(CloudConfig(directory, http_port=0, mqtt_port=0)) as server:
        with contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin:
            product = admin.show_product(admin.create_product("p")["product_id"], keys=True)
            admin.add_device("p", SN)
        yield [
            "device", "run", "--sn", SN, "--product-id", product["product_id"],
            "--product-key", product["product_key"], "--activation-url", server.activation_url,
            "--mqtt-url", server.mqtt_url,
        ]  # fmt: skip


@pytest.fixture
def board(tmp_path: Path) -> Path:
    create_board(tmp_path / "b", load_board("iot-board"), app_version="1.0.0")
    return tmp_path / "b"


class Terminal:
    """A terminal in which a device runs."""

    def __init__(self, arguments: Sequence[str], board: Path) -> None:
        self.child: pexpect.spawn[str] = pexpect.spawn(
            COMMAND, [*arguments, str(board)], encoding="utf-8", timeout=PATIENCE, echo=True
        )
        # Keys are not to wait for the program's own echo.
        self.child.delaybeforesend = None
        self.before = termios.tcgetattr(self.child.child_fd)

    def online(self) -> "Terminal":
        self.child.expect_exact(ONLINE)
        self.child.expect_exact("\n")
        return self

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def expect(self, text: str) -> str:
        self.child.expect_exact(text)
        return str(self.child.before)

    def answer(self, line: str) -> str:
        """What a command prints between its own echo and the next prompt, line ends as on the wire."""
        self.type(line + "\r")
        self.expect(line + "\r\n")
        return self.expect(PROMPT)

    def ended(self) -> int:
        """The exit status; the terminal must be as it was."""
        self.child.expect(pexpect.EOF)
        self.child.wait()
        assert termios.tcgetattr(self.child.child_fd) == self.before
        assert self.child.exitstatus is not None
        return self.child.exitstatus


@pytest.fixture
def terminal(run: list[str], board: Path) -> Iterator[Terminal]:
    terminal = Terminal(run, board)
    yield terminal
    terminal.child.close(force=True)


def test_commands_keys_and_a_reboot(run: list[str], board: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_COMMAND)
    terminal = Terminal([*run, "--commands", str(tmp_path / "own.py")], board)
    terminal.expect("leave the console with Ctrl-]")
    terminal.expect("[SFUD]Find a Winbond W25Q128 flash chip. Size is 16777216 bytes.\r\n")
    terminal.online()
    assert re.search(r"\r\nMQTT +10  suspend 0x", terminal.answer("ps"))
    assert "4.0.1 build Mar 27 2019\r\n" in terminal.answer("version")
    assert terminal.answer("hello") == "Hello RT-Thread!\r\n"
    assert "| download | flash_dev: nor_flash |" in terminal.answer("fal probe download")
    assert f"cld_sn={SN}\r\n" in terminal.answer("printenv")

    terminal.type(UP)
    terminal.expect(f"\x1b[2K\r{PROMPT}printenv")
    terminal.type(UP + "\r")
    terminal.expect(f"{PROMPT}fal probe download\r\n")
    terminal.expect(PROMPT)
    terminal.type("list_ti" + TAB)
    terminal.expect(f"list_timer\r\n{PROMPT}list_timer")
    terminal.type("\r")
    terminal.expect("current tick:0x")
    terminal.expect(PROMPT)
    terminal.type("vers\b\b\b\bpwd\r")
    terminal.expect("\r\n/\r\n" + PROMPT)

    terminal.type("reboot\r")
    terminal.expect("RT-Thread Bootloader Starting...")
    terminal.online()
    assert "hello" in terminal.answer("help")
    terminal.type(LEAVE)
    assert terminal.ended() == 0


def test_session_of_the_readme_is_what_a_terminal_shows(run: list[str], board: Path, tmp_path: Path) -> None:
    (session,) = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "hello.py").write_text(OWN_COMMAND)
    terminal = Terminal([*run, "--commands", str(tmp_path / "hello.py")], board)
    start, *commands, reboot = session.split(PROMPT)
    for line in start.splitlines()[1:]:
        if line != "...":
            terminal.expect(line.removeprefix("[I/MQTT] ") + ("" if "MQTT" in line else "\r\n"))
    terminal.online()
    for each in commands:
        line, _, shown = each.partition("\n")
        assert terminal.answer(line).replace("\r\n", "\n") == shown
    assert len(commands) == 4
    line, first, _ = reboot.splitlines()
    terminal.type(line + "\r")
    terminal.expect(f"{line}\r\n{first}\r\n")
    terminal.type(LEAVE)
    assert terminal.ended() == 0


def test_one_ctrl_c_is_typed_and_two_leave(terminal: Terminal) -> None:
    terminal.online().type(INTERRUPT + "x\r")
    terminal.expect("\x03x: command not found.")
    terminal.type(INTERRUPT + INTERRUPT)
    assert terminal.ended() == 0


def test_sigterm_ends_the_device_and_restores_the_terminal(terminal: Terminal) -> None:
    terminal.online()
    assert termios.tcgetattr(terminal.child.child_fd) != terminal.before
    terminal.child.kill(signal.SIGTERM)
    assert terminal.ended() == 0


def test_error_comes_after_the_terminal_was_restored(run: list[str], tmp_path: Path) -> None:
    create_board(tmp_path / "blank", load_board("iot-board"), app_version=None)
    terminal = Terminal(run, tmp_path / "blank")
    terminal.expect("cloudsim: error: the bootloader started no application")
    assert terminal.ended() == 1


def test_no_console_leaves_the_terminal_alone(run: list[str], board: Path) -> None:
    terminal = Terminal([*run, "--no-console"], board)
    assert "leave the console" not in terminal.expect(ONLINE)
    assert termios.tcgetattr(terminal.child.child_fd) == terminal.before
    terminal.child.sendintr()
    assert terminal.ended() == 0


# --- pipes ----------------------------------------------------------------------------------------------


def piped(arguments: Sequence[str], board: Path, text: bytes, until: bytes) -> bytes:
    """Give `text` as standard input and stop the device when its console has shown `until`."""
    process = subprocess.Popen(
        [COMMAND, *arguments, str(board)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        shown = b""
        while until not in shown:
            assert select.select([process.stdout], [], [], PATIENCE)[0], shown
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, shown
            shown += piece
        assert process.poll() is None  # the end of the input is not the device's
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, b"")
    return shown + rest


def test_lines_of_a_pipe_wait_for_a_prompt_each(run: list[str], board: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_COMMAND)
    lines = [b"slow", b"fal probe download\r", b"reboot", *[b"echo %064d" % n for n in range(9)]]
    arguments = [*run, "--commands", str(tmp_path / "slow.py")]
    shown = piped(arguments, board, b"\n".join([*lines, b"pwd"]), until=b"msh />pwd\n/\nmsh />")
    first, boot, second = shown.partition(b"reboot\n[SFUD]")
    assert boot
    assert 0 < first.index(b"\ndone\n") < first.index(b"Probed a flash partition | download |")
    for number in range(9):
        assert b"\n%064d\n" % number in second


def test_no_console_types_nothing(run: list[str], board: Path) -> None:
    shown = piped([*run, "--no-console"], board, b"version\n", until=ONLINE.encode())
    assert shown.count(b"Thread Operating System") == 1


# --- own commands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("def x(:\n", "line 1: SyntaxError: "),
        ("\nimport nothing_of_this_name\n", "line 2: ModuleNotFoundError: "),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("def f():\n    f()\nf()\n", "RecursionError: "),
        ("\0", "own.py'"),
        ("x = 1\n", "defines no command; decorate a function with @command"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_wrong_in_a_command_file_is_said(tmp_path: Path, source: str, what: str) -> None:
    (tmp_path / "own.py").write_text(source)
    with pytest.raises(CommandFileError) as caught:
        load_commands(tmp_path / "own.py")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("source", "code", "what"),
    [
        ("raise ValueError('two\\nlines')\n", "device.commands", "line 1: ValueError: two lines"),
        (OWN_COMMAND.replace('"hello"', '"ps"'), "msh.commands", "command 'ps' is there twice"),
    ],
    ids=["file", "table"],
)
def test_error_in_a_command_file_is_one_line(
    cli: Cli, board: Path, tmp_path: Path, source: str, code: str, what: str
) -> None:
    (tmp_path / "own.py").write_text(source)
    result = cli(
        "device", "run", "b", "--sn", "x", "--product-id", "8fa1b2c3d4e5f607", "--product-key", "k",
        "--activation-url", "http://127.0.0.1:9", "--mqtt-url", "mqtt://127.0.0.1:9",
        "--commands", "own.py",
    )  # fmt: skip
    assert what in one_line_error(result, 2, code)
    assert result.stdout == ""


def test_command_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_bytes(b"#" * (1 << 20) + b"\n")
    os.mkfifo(tmp_path / "pipe.py")
    for name in ("missing.py", "pipe.py", "large.py", "."):
        with pytest.raises(CommandFileError):
            load_commands(tmp_path / name)


@pytest.mark.parametrize(("activation", "mqtt"), [("u:hidden@", ""), ("", "u:hidden@")])
def test_passwords_in_urls_are_refused_and_not_shown(cli: Cli, activation: str, mqtt: str) -> None:
    result = cli(
        "device", "run", "b", "--sn", "x", "--product-id", "8fa1b2c3d4e5f607", "--product-key", "k",
        "--activation-url", f"http://{activation}127.0.0.1:9", "--mqtt-url", f"mqtt://{mqtt}127.0.0.1:9",
    )  # fmt: skip
    assert "hidden" not in one_line_error(result, 2, "cloudsim.usage") + result.stdout


def test_own_exception_of_a_command_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("class Own(BaseException): pass\nraise Own\n")
    with pytest.raises(CommandFileError):
        load_commands(tmp_path / "own.py")


def test_command_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_COMMAND)
    assert [each.name for each in load_commands(tmp_path / "own.py")] == ["hello"]
    assert list(tmp_path.iterdir()) == [tmp_path / "own.py"]


# --- leave keys -----------------------------------------------------------------------------------------


def test_leave_keys() -> None:
    now = 0.0
    keys = LeaveKeys(lambda: now)
    assert keys.split(b"ab\x1dcd") == (b"ab", True)
    assert keys.split(b"\x03") == (b"\x03", False)
    assert keys.split(b"a\x03") == (b"a\x03", False)  # another key was between
    now = 0.9
    assert keys.split(b"\x03") == (b"", True)
    assert keys.split(b"\x03") == (b"\x03", False)
    now = 2.0
    assert keys.split(b"\x03") == (b"\x03", False)  # too late
    assert keys.split(b"\x03\x03") == (b"", True)
