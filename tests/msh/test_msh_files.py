"""File commands and the file system behind them (console 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msh_console import Console

from sim.msh.files import Dfs, Entry, Volume, base_name, resolve


def mounted(**files: bytes) -> Console:
    return Console(
        volume=Volume("w25q128", blocks=16, block_size=512, files={f"/{n}": d for n, d in files.items()})
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ls", "No such directory\n"),
        ("cd /", "No such directory: /\n"),
        ("pwd", "/\n"),
        ("df", "dfs_statfs failed.\n"),
        ("cat x", "Open x failed\n"),
        ('echo "a" f', "open file:f failed!\n"),
        ("mkdir x", ""),
        ("rm x", ""),
    ],
)
def test_iot_board_has_nothing_at_the_root(line: str, shown: str) -> None:
    assert Console().run(line) == shown


def test_ls_of_the_devices() -> None:
    console = Console()
    console.board.files = Dfs(lambda: ("w0", "uart1"))
    assert console.run("cd /dev") == ""
    assert console.type("ls\r") == (
        "ls\n"
        "Directory /dev:\n"
        "w0                  0                        \n"
        "uart1               0                        \n"
        "msh /dev>"
    )
    assert console.run("pwd") == "/dev\n"
    assert console.run("cd") == "/dev\n"
    assert console.run("cd a b") == ""
    assert console.run("ls uart1") == "No such directory\n"


def test_ls_shows_sizes_and_directories() -> None:
    console = mounted(file=b"12345")
    console.run("mkdir /d")
    assert console.run("ls /") == (f"Directory /:\n{'d':<20}{'<DIR>':<25}\n{'file':<20}{'5':<25}\n")


def test_cat_prints_content_as_it_is() -> None:
    console = mounted(a=b"one\ntwo", b=b"\xff")
    assert console.run("cat a b c") == "one\ntwo\udcffOpen c failed\n"
    assert console.run("cat") == "Usage: cat [FILE]...\nConcatenate FILE(s)\n"


def test_echo_prints_or_appends() -> None:
    console = mounted()
    assert console.run("echo hello") == "hello\n"
    assert console.run('echo "a b" f') == ""
    assert console.run("echo c /f") == ""
    assert console.run("cat f") == "a bc"
    usage = 'Usage: echo "string" [filename]\n'
    assert (console.run("echo"), console.run("echo a b c")) == (usage, usage)


def test_mkdir_cd_and_rm_are_silent_about_failure() -> None:
    console = mounted(f=b"x")
    assert console.run("mkdir") == (
        "Usage: mkdir [OPTION] DIRECTORY\nCreate the DIRECTORY, if they do not already exist.\n"
    )
    assert console.run("rm") == "Usage: rm FILE...\nRemove (unlink) the FILE(s).\n"
    assert console.run("mkdir d") == console.run("mkdir d") == console.run("mkdir x/y") == ""
    assert console.run("cd d") == ""
    assert console.run("cd none") == "No such directory: none\n"
    assert console.run("cp ../f .") == ""
    assert console.run("cat /d/f") == "x"
    assert console.run("rm /d /none /f") == ""
    assert console.run("cat /d/f /f") == "xOpen /f failed\n"  # /d is not empty and stays


def test_rm_removes_files_and_empty_directories() -> None:
    console = mounted(f=b"x")
    assert console.run("mkdir d") == console.run("rm d f") == ""
    assert console.run("ls /") == "Directory /:\n"


def test_cp() -> None:
    console = mounted(f=b"x")
    assert console.run("cp f") == "Usage: cp SOURCE DEST\nCopy SOURCE to DEST.\n"
    assert console.run("cp none g") == "copy failed, bad none\n"
    assert console.run("cp /dev/uart1 g") == "Read /dev/uart1 failed\n"
    assert console.run("cp f none/g") == "Write none/g failed\n"
    assert console.run("mkdir d") == console.run("cp f d") == console.run("cp d e") == ""
    assert console.run("cat e/f") == "x"
    assert console.run("cp d d/inside") == "copy failed, bad d\n"
    assert console.run("cp f /dev") == "Write /dev/f failed\n"


def test_mv_says_what_it_does_whether_it_can_or_not() -> None:
    console = mounted(f=b"x")
    assert console.run("mv f") == (
        "Usage: mv SOURCE DEST\nRename SOURCE to DEST, or move SOURCE(s) to DIRECTORY.\n"
    )
    assert console.run("mkdir d") == ""
    assert console.run("mv f d") == "f => d\n"
    assert console.run("mv none g") == "none => g\n"
    assert console.run("mv d e") == "d => e\n"
    assert console.run("cat e/f") == "x"


def test_df_counts_free_blocks() -> None:
    assert mounted(f=b"x" * 513).run("df") == "disk free: 7.0 KB [ 14 block, 512 bytes per block ]\n"
    console = Console(volume=Volume("w25q128", blocks=1792, block_size=4096))
    assert console.run("df /") == "disk free: 7.0 MB [ 1792 block, 4096 bytes per block ]\n"
    assert console.run("df -h") == console.run("df --help") == "df [path]\n"


def test_mkfs_empties_the_volume() -> None:
    console = mounted(f=b"x")
    assert console.run("mkfs") == "Usage: mkfs [-t type] device\n"
    assert console.run("mkfs x") == (
        "\x1b[31m[E/DFS] Device (x) was not found\x1b[0m\nmkfs failed, result=-1\n"
    )
    assert console.run("mkfs -t elm w25q128") == ""
    assert console.run("ls /") == "Directory /:\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("x", "/a/x"), ("/x", "/x"), ("..", "/"), ("../../..", "/"), ("./b//c/.", "/a/b/c"), ("", "/a")],
)
def test_paths_are_resolved(path: str, expected: str) -> None:
    assert resolve("/a", path) == expected


def test_base_name() -> None:
    assert (base_name("/a/b/"), base_name("/")) == ("b", "")


def test_a_volume_never_holds_more_than_its_blocks() -> None:
    files = Dfs(tuple, Volume("disk", blocks=2, block_size=512))
    assert files.write("/a", b"x" * 512)
    assert files.write("/a", b"y" * 512, append=True)
    assert not files.write("/a", b"z", append=True)
    assert not files.write("/b", b"z")
    assert not files.make_directory("/d")
    assert files.stat("/a") == Entry("a", 1024)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["mkdir", "rm", "cp", "mv", "cd", "ls", "cat", "echo", "df"]),
        st.lists(st.sampled_from(["a", "b", "/a/b", "..", ".", "/", "/dev", "/dev/x", "a/"]), max_size=2),
    ),
    max_size=15,
)


@given(OPERATIONS)
def test_no_sequence_of_commands_breaks_the_tree(operations: list[tuple[str, list[str]]]) -> None:
    volume = Volume("disk", blocks=8, block_size=512)
    console = Console(volume=volume)
    for name, arguments in operations:
        assert "Error:" not in console.run(" ".join((name, *arguments)))
        assert volume.free_blocks >= 0
        for path in (*volume.files, *volume.directories):
            parent = path.rpartition("/")[0]
            assert not parent or parent in volume.directories
        assert not volume.directories & set(volume.files)
