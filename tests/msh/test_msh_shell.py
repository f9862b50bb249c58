"""Prompt, execution, completion, scripts, own commands (console 3, 4 and 5)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msh_console import Console

from cloudsdk.errors import FlashError
from sim.flash.power import CutMoment, FlashOperation, PowerCut
from sim.msh.boards import manual_board_commands
from sim.msh.commands import Command, Context, command
from sim.msh.files import Volume
from sim.msh.kprintf import uart
from sim.msh.shell import MAX_SCRIPT_LINES, UART_RING, CommandTableError, Shell


@command("args", "show the arguments")
def args(context: Context, arguments: Sequence[str]) -> None:
    context.kprintf("%s\n", "|".join(arguments))


@command("wait", "wait twice")
def wait(context: Context, arguments: Sequence[str]) -> Iterator[int]:
    for milliseconds in (10, 20):
        context.write(f"{milliseconds}\n")
        yield milliseconds


@command("fail", "raise")
def fail(context: Context, arguments: Sequence[str]) -> None:
    raise ValueError("first line\nsecond line") if len(arguments) == 1 else FlashError("worn out")


HELP = """\
RT-Thread shell commands:
setenv           - Set an envrionment variable.
printenv         - Print all envrionment variables.
saveenv          - Save all envrionment variables to flash.
getvalue         - Get an envrionment variable by name.
resetenv         - Reset all envrionment variable to default.
fal              - FAL (Flash Abstraction Layer) operate.
wget             - Get file by URI: wget <URI> <filename>.
list_fd          - list file descriptor
sf               - SPI Flash operate.
wifi             - wifi command.
version          - show RT-Thread version information
list_thread      - list thread
list_sem         - list semaphore in system
list_event       - list event in system
list_mutex       - list mutex in system
list_mailbox     - list mail box in system
list_msgqueue    - list message queue in system
list_memheap     - list memory heap in system
list_mempool     - list memory pool in system
list_timer       - list timer in system
list_device      - list device in system
help             - RT-Thread shell help.
ls               - List information about the FILEs.
cp               - Copy SOURCE to DEST.
mv               - Rename SOURCE to DEST.
cat              - Concatenate FILE(s)
rm               - Remove(unlink) the FILE(s).
cd               - Change the shell working directory.
pwd              - Print the name of the current working directory.
mkdir            - Create the DIRECTORY.
mkfs             - format disk with file system
df               - disk free
echo             - echo string to file
ps               - List threads in the system.
time             - Execute command with time.
free             - Show the memory usage in the system.
ifconfig         - list the information of all network interfaces
ping             - ping network host
dns              - list and set the information of dns
netstat          - list the information of TCP / IP
reboot           - Reboot System
cloud_init       - RT-Thread CloudSDK init and start
wwd_bus          - enable/disable wwd bus

"""

VERSION = """\

 \\ | /
- RT -     Thread Operating System
 / | \\     4.0.1 build Mar 27 2019
 2006 - 2019 Copyright by rt-thread team
"""


def test_help_of_the_iot_board() -> None:
    assert Console().run("help") == HELP


def test_help_of_the_manual_board_begins_as_pictured() -> None:
    names = [each.name for each in manual_board_commands()]
    pictured = (
        "version list_thread list_sem list_event list_mutex list_mailbox list_msgqueue list_mempool "
        "list_timer list_device exit help ls cp"
    )
    assert names[:14] == pictured.split()
    shown = Console(commands=manual_board_commands()).run("help")
    assert "exit             - return to RT-Thread shell mode.\n" in shown


def test_version_is_the_banner() -> None:
    assert Console().run("version") == VERSION


def test_prompt_comes_at_the_start_and_after_every_line() -> None:
    console = Console()
    console.shell.start()
    assert console.output == b"msh />"
    assert console.type("\r") == "\nmsh />"
    assert console.type("  \r") == "  \nmsh />"
    assert console.type("cd dev\r") == "cd dev\nmsh /dev>"


def test_cr_lf_gives_two_prompts() -> None:
    assert uart(Console().type("pwd\r\n").encode()) == b"pwd\r\n/\r\nmsh />\r\nmsh />"


def test_unknown_command_is_named_up_to_the_first_blank() -> None:
    console = Console()
    assert console.run("hello world") == "hello: command not found.\n"
    assert console.run(" PS") == "PS: command not found.\n"
    assert console.run("a\x01b c") == "a\x01b: command not found.\n"


def test_a_line_that_ran_over_its_end_is_known_by_what_is_left_of_it() -> None:
    console = Console(args)
    shown = console.type("args " + "a" * 75 + "BC\r")
    assert shown.endswith("BC\nBCgs: command not found.\nmsh />")
    assert console.type("x" * 80 + "\r") == "x" * 80 + "\nmsh />"
    # What counts as typed is looked up, and is all the command gets.
    assert console.type("xx args " + "b" * 72 + "args\r").endswith("args\nargs\nmsh />")


def test_the_eleventh_argument_is_refused_and_the_command_runs() -> None:
    assert Console(args).run("args a b c 4 5 6 7 8 9 10") == (
        "Too many args ! We only Use:\nargs a b c 4 5 6 7 8 9 \nargs|a|b|c|4|5|6|7|8|9\n"
    )


def test_arguments_are_text_and_bytes_that_are_not_survive() -> None:
    console = Console(args)
    assert console.run('args "固 件" ""') == "args|固 件|\n"
    assert console.type(b"args \xe5\r").encode("utf-8", "surrogateescape").endswith(b"args|\xe5\nmsh />")


def test_time_does_nothing() -> None:
    assert Console().run("time ps") == ""


def test_tab_lists_commands_in_table_order_and_completes() -> None:
    console = Console()
    assert console.type("list_m\t") == (
        "list_m\b\b\b\b\b\b\n"
        "list_mutex\nlist_mailbox\nlist_msgqueue\nlist_memheap\nlist_mempool\n"
        "msh />list_m"
    )
    assert console.type("em\t").endswith("list_memheap\nlist_mempool\nmsh />list_mem")
    assert console.type("h\t") == "h" + "\b" * 9 + "\nlist_memheap\nmsh />list_memheap"


def test_tab_on_an_empty_line_is_help() -> None:
    assert Console().type("\t") == f"\n{HELP}msh />"


def test_tab_without_a_match_repeats_the_line() -> None:
    assert Console().type("zz\t") == "zz\b\b\nmsh />zz"


VOLUME = {"/bin/one.sh": b"", "/bin/other": b"", "/data/x": b""}


def console_with_files(*extra: Command, **files: bytes) -> Console:
    content = {**VOLUME, **{"/" + name: data for name, data in files.items()}}
    return Console(*extra, volume=Volume("w25q128", files=content, directories={"/bin", "/data"}))


@pytest.mark.parametrize(
    ("typed", "listed", "completed"),
    [
        ("ls ", "bin\ndata\n", "ls "),
        ("ls /b", "", "ls /bin"),
        ("cat /bin/o", "one.sh\nother\n", "cat /bin/o"),
        ("cat /bin/on", "", "cat /bin/one.sh"),
        ("cp data/x bin/ot", "", "cp data/x bin/other"),
        ("cat /bin/", "one.sh\nother\n", "cat /bin/"),
        ("cat /none/o", "", "cat /none/o"),
        ("cat /bin/z", "", "cat /bin/z"),
    ],
)
def test_tab_completes_paths(typed: str, listed: str, completed: str) -> None:
    shown = console_with_files().type(typed + "\t")
    assert shown == typed + "\b" * len(typed) + "\n" + listed + "msh />" + completed


def test_without_a_file_system_the_prompt_has_no_directory() -> None:
    console = Console()
    console.board.files = None  # type: ignore[assignment]
    assert console.type("ls \t") == "ls \b\b\b\nmsh >ls "
    assert console.type("\r").endswith("ls: this firmware has no file system [msh.files]\nmsh >")


def test_scripts_run_from_the_directory_and_from_bin_without_echo() -> None:
    console = console_with_files(
        args, **{"run.sh": b"# no comment\nargs 1\n\nargs 2", "bin/one.SH": b"pwd\n"}
    )
    assert console.run("run.sh x") == "args|1\nargs|2\n"
    assert console.run("one.SH") == "/\n"
    assert console.run("none.sh x") == "none.sh: command not found.\n"


def test_a_script_that_calls_itself_ends() -> None:
    console = console_with_files(**{"me.sh": b"me.sh\npwd"})
    assert console.run("me.sh").startswith("msh: scripts call each other too deeply [msh.script]\n/\n")


def test_scripts_that_multiply_end() -> None:
    console = console_with_files(**{"me.sh": b"pwd\nme.sh\n" * 5000})
    assert console.run("me.sh").count("/\n") <= MAX_SCRIPT_LINES
    assert console.run("me.sh").count("/\n") > 100  # the next typed line may lead to as many


def test_own_commands_are_listed_last_and_run() -> None:
    console = Console(args)
    assert console.run("help") == HELP[:-1] + "args             - show the arguments\n\n"


def test_an_exception_is_one_line() -> None:
    console = Console(fail)
    assert console.run("fail") == "fail: ValueError: first line second line\n"
    assert console.run("fail x") == "fail: worn out [flash.error]\n"


def test_a_power_cut_is_no_exception_of_a_command() -> None:
    @command("cut", "lose power")
    def cut(context: Context, arguments: Sequence[str]) -> None:
        raise PowerCut(FlashOperation("nor_flash", "erase", 0, 1), CutMoment.BEFORE)

    with pytest.raises(PowerCut):
        Console(cut).type("cut\r")


@pytest.mark.parametrize("name", ["", "a b", "a\n"])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    with pytest.raises(CommandTableError) as caught:
        Console(Command(name, "", args.run))
    assert caught.value.code == "msh.commands"


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(CommandTableError):
        Console(args, args)


def test_a_command_that_waits_keeps_what_is_typed_meanwhile() -> None:
    console = Console(wait, args)
    shell = console.shell
    shell.feed(b"wait\rargs x\r" + b"y" * 100)
    assert console.output == b"wait\n10\n"
    assert shell.wait_ms == 10
    shell.resume()
    assert console.output == b"wait\n10\n20\n"
    assert shell.wait_ms == 20
    shell.resume()
    assert shell.wait_ms is None
    kept = b"y" * (UART_RING - len("args x\r"))
    assert console.output == b"wait\n10\n20\nmsh />args x\nargs|x\nmsh />" + kept


def test_resume_of_an_idle_shell_does_nothing() -> None:
    console = Console()
    console.shell.resume()
    assert console.output == b""


def test_web_shell_starts_with_version_and_does_not_repeat_what_is_typed() -> None:
    console = Console(args)
    shell = Shell(console.board, (*manual_board_commands(), args), console.output.extend, echo=False)
    shell.run("version")
    shell.start()
    shell.feed(b"args x\n")
    assert console.output == f"{VERSION}msh />args|x\nmsh />".encode()
    shell.echo = True
    shell.feed(b"a")
    assert console.output.endswith(b"msh />a")
    assert shell.echo


def test_run_leaves_waits_out() -> None:
    console = Console(wait)
    console.shell.run("wait")
    assert console.output == b"10\n20\n"


def test_reboot_is_the_last_word() -> None:
    console = Console()
    assert console.type("reboot\rversion\r") == "reboot\n"
    assert console.board.reboots == 1
    assert console.type("version\r") == ""


def test_a_dead_console_says_nothing() -> None:
    console = Console(wait)
    console.shell.feed(b"wait\r")
    console.shell.halt()
    assert console.type("version\r") == ""


def test_cloud_init_starts_the_sdk() -> None:
    console = Console()
    assert console.run("cloud_init") == ""
    assert console.board.cloud_starts == 1


def test_asynchronous_lines_follow_the_prompt_which_is_not_repeated() -> None:
    console = Console()
    console.type("\r")
    console.board.write(b"[I/FAL] text\n")
    assert console.output == b"\nmsh />[I/FAL] text\n"


TYPED = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b"wait\r", b"args 1\r", b"ls \t", b"\t", b"fal read 0 9\r", b"setenv a b\r", b"\x1b[A\r"]
        ),
    ),
    max_size=12,
).map(b"".join)


@given(TYPED, st.lists(st.integers(0, 80), max_size=4))
def test_any_bytes_in_any_slices_show_the_same(data: bytes, cuts: list[int]) -> None:
    commands = (wait, args)
    whole, sliced = Console(*commands), Console(*commands)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    whole.shell.feed(data)
    for start, end in pairwise(edges):
        sliced.shell.feed(data[start:end])
    assert sliced.output == whole.output
    while whole.shell.wait_ms is not None:
        whole.shell.resume()
        sliced.shell.resume()
    assert sliced.output == whole.output
