"""`cloudsim board import-layout`, `validate`, `export`, `import` and `map`.

Mostly without a process for each command: there are many.
"""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from cli_process import Cli, one_line_error
from click.testing import CliRunner

from cloudsdk.errors import CloudSdkError
from sim.cli.board import board as board_group
from sim.flash.layout import load_board, load_layout

HEADER = """\
#define NOR_FLASH_DEV_NAME "norflash0"
#ifdef MY_BOARD
#define FAL_PART_TABLE { \\
    {FAL_PART_MAGIC_WORD, "bootloader", "onchip_flash", 0, 64*1024, 0}, \\
    {FAL_PART_MAGIC_WORD, "app", "onchip_flash", 64*1024, 448*1024, 0}, \\
    {FAL_PART_MAGIC_WORD, "easyflash", NOR_FLASH_DEV_NAME, 0, 512*1024, 0}, \\
    {FAL_PART_MAGIC_WORD, "download", NOR_FLASH_DEV_NAME, 512*1024, OTA_SIZE, 0}, \\
}
#endif
"""
DEVICES = ("--device", "onchip_flash=stm32l475", "--device", "norflash0=w25q64")
IMPORT = ("import-layout", "fal_cfg.h", "-o", "my.yaml")
DEFINES = ("-D", "MY_BOARD", "--define", "OTA_SIZE=0x100000")


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `cloudsim board` with arguments in a temporary directory, in this process; gives its output."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(board_group, arguments, catch_exceptions=False, standalone_mode=False)
        if isinstance(result.exception, CloudSdkError | click.ClickException):
            raise result.exception
        return result.stdout

    return command


@pytest.fixture
def board(run: Run, tmp_path: Path) -> Path:
    run("new", "b")
    return tmp_path / "b"


def test_header_becomes_a_layout_that_a_board_is_made_of(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fal_cfg.h").write_text(HEADER)
    output = run("import-layout", "fal_cfg.h", "-o", "my.yaml", *DEVICES, *DEFINES, "--name", "mine")
    assert output == "wrote layout mine with 4 partitions on 2 devices to my.yaml\n"
    layout = load_layout(tmp_path / "my.yaml")
    assert layout.app.link_address == 0x08010000
    run("new", "b", "--board", "my.yaml")
    assert json.loads(run("boot", "b", "--json"))["outcome"] == "jump"


def test_table_comes_out_of_a_bootloader_again(run: Run, board: Path, tmp_path: Path) -> None:
    run("read", "b", "bootloader", "boot.bin")
    output = run(
        "import-layout", "boot.bin", "-o", "my.yaml", "--json",
        "--device", "onchip_flash=stm32l475", "--device", "nor_flash=w25q128",
    )  # fmt: skip
    report = json.loads(output)
    assert (report["kind"], report["board"], len(report["partitions"])) == ("image", "boot", 7)
    assert load_layout(tmp_path / "my.yaml").partitions == load_board("iot-board").partitions


def test_all_findings_are_listed(cli: Cli, tmp_path: Path) -> None:
    text = HEADER.replace("64*1024, 448", "60*1024+1, 448").replace('"download", NOR', '"dl", NOR')
    (tmp_path / "fal_cfg.h").write_text(text)
    result = cli("board", "validate", "fal_cfg.h", *DEVICES, *DEFINES)
    line = one_line_error(result, 1, "layout.findings")
    assert "fal_cfg.h: 2 of 5 findings are errors" in line
    assert [row.split()[:2] for row in result.stdout.splitlines()] == [
        ["error", "unaligned:"],
        ["error", "overlap:"],
        ["warning", "role-missing:"],
        ["note", "gap:"],
        ["note", "gap:"],
    ]
    assert "0x0000f001 to 0x0007f001 and 0x00000000 to 0x00010000 [" in result.stdout
    result = cli("board", "validate", "fal_cfg.h", *DEVICES, *DEFINES, "--json")
    listed = json.loads(result.stdout)
    assert (listed["ok"], listed["kind"], len(listed["findings"])) == (False, "fal-cfg", 5)
    assert set(listed["findings"][0]) == {"id", "severity", "message", "fact"}


def test_sound_layout_passes(run: Run, board: Path) -> None:
    for source in ("iot-board", "b", "b/board.yaml"):
        assert run("validate", source) == f"{source}: nothing to complain about\n"
    assert json.loads(run("validate", "b", "--json"))["ok"] is True


@pytest.mark.parametrize("form", ["raw", "hex"])
def test_flash_moves_to_another_board(run: Run, board: Path, tmp_path: Path, form: str) -> None:
    suffix = "hex" if form == "hex" else "bin"
    files = json.loads(run("export", "b", "--format", form, "-o", "out", "--json"))["files"]
    assert files == [f"out/onchip_flash.{suffix}", f"out/nor_flash.{suffix}"]
    assert all(stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600 for file in files)
    run("new", "c", "--blank")
    extra = ("--erase",) if form == "hex" else ()
    for file, device in zip(files, ("onchip_flash", "nor_flash"), strict=True):
        run("import", "c", file, "--device", device, *extra)
    assert json.loads(run("boot", "c", "--json"))["outcome"] == "jump"
    images = [(tmp_path / name / "onchip_flash.inverted").read_bytes() for name in ("b", "c")]
    assert images[0] == images[1]


def test_partitions_are_exported_one_by_one(run: Run, board: Path, tmp_path: Path) -> None:
    form = ("--format", "partitions")
    output = run("export", "b", *form, "--only", "app", "--only", "easyflash", "-o", "x/y")
    assert output == "wrote x/y/app.bin\nwrote x/y/easyflash.bin\n"
    assert (tmp_path / "x/y/app.bin").stat().st_size == 0x70000
    output = run("import", "b", "x/y/app.bin", "--partition", "app")
    assert output == "put 458752 bytes into partition app\n"
    (tmp_path / "few.bin").write_bytes(b"few")
    output = run("import", "b", "few.bin", "--partition", "font", "--offset", "0x1000", "--json")
    assert json.loads(output) == {
        "directory": "b", "file": "few.bin", "target": "partition font", "size": 3,
    }  # fmt: skip
    run("read", "b", "font", "font.bin")
    assert (tmp_path / "font.bin").read_bytes()[0xFFF:0x1004] == b"\xfffew\xff"


def test_new_board_takes_little_room(board: Path) -> None:
    used = sum(path.stat().st_blocks * 512 for path in board.iterdir())
    assert used < 256 * 1024


def test_map_is_readable_in_a_pipe(cli: Cli, board: Path, tmp_path: Path) -> None:
    result = cli("board", "map", "b", "--svg", "map.svg", COLUMNS="80")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "onchip_flash  512 KiB at 0x08000000, erase blocks of 2 KiB"
    assert any(line.split() == "b app 0x00010000 448 KiB 98 KiB 0 app 1.0.0, valid".split() for line in lines)  # noqa: SIM905
    assert (tmp_path / "map.svg").read_text().startswith("<svg ")


def test_map_for_machines(run: Run, board: Path) -> None:
    devices = json.loads(run("map", "b", "--json"))["devices"]
    app = devices[0]["regions"][1]
    assert app["firmware"] == {"name": "app", "version": "1.0.0", "header_ok": True, "content_ok": True}
    assert (app["name"], app["offset"], app["length"], app["wear"]) == ("app", 0x10000, 0x70000, 0)


WRONG_CALLS = [
    ((*IMPORT, *DEVICES), 2, "layout.c-header"),
    ((*IMPORT, *DEFINES), 2, "layout.invalid"),
    ((*IMPORT, *DEFINES, *DEVICES, "--device", "x=nosuch"), 2, "flash.part"),
    ((*IMPORT, *DEFINES, *DEVICES, "-D", "5=6"), 2, "cloudsim.usage"),
    (("import-layout", "dump.bin", "-o", "my.yaml"), 1, "fal.table"),
    (("validate", "pipe"), 2, "cloudsim.usage"),
    (("validate", "absent"), 2, "cloudsim.usage"),
    (("validate", "iot-board", *DEVICES), 2, "cloudsim.usage"),
    (("import", "b", "dump.bin", "--device", "nor_flash"), 1, "board.image-fit"),
    (("import", "b", "dump.bin", "--device", "disk"), 1, "board.partition"),
    (("import", "b", "dump.bin"), 2, "cloudsim.usage"),
    (("import", "b", "dump.bin", "--device", "nor_flash", "--partition", "app"), 2, "cloudsim.usage"),
    (("import", "b", "dump.bin", "--partition", "app", "--offset", "-1"), 2, "cloudsim.usage"),
    (("import", "b", "dump.bin", "--partition", "app", "--offset", "x"), 2, "cloudsim.usage"),
    (("import", "b", "bad.hex", "--partition", "app", "--offset", "1"), 2, "cloudsim.usage"),
    (("import", "b", "bad.hex", "--partition", "app"), 2, "rbl.image"),
    (("import", "b", "pipe", "--partition", "app"), 2, "cloudsim.usage"),
    (("export", "b", "-o", "dump.bin"), 2, "cloudsim.usage"),
    (("export", "b", "--only", "app", "-o", "out"), 1, "board.partition"),
    (("map", "nowhere"), 1, "board.directory"),
    (("map", "b", "--svg", "no/such/map.svg"), 2, "cloudsim.usage"),
    (("map", "worn"), 1, "flash.image"),
]


def test_wrong_calls_have_their_codes(run: Run, board: Path, tmp_path: Path) -> None:
    (tmp_path / "fal_cfg.h").write_text(HEADER)
    (tmp_path / "dump.bin").write_bytes(bytes(5))
    (tmp_path / "bad.hex").write_bytes(b":00")
    os.mkfifo(tmp_path / "pipe")
    shutil.copytree(board, tmp_path / "worn")
    (tmp_path / "worn" / "wear.json").write_text("[")
    for arguments, status, code in WRONG_CALLS:
        with pytest.raises(CloudSdkError) as refused:
            run(*arguments)
        assert (refused.value.code, refused.value.exit_status) == (code, status), refused.value
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "my.yaml").exists()
