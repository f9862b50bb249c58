import json
import os
from pathlib import Path

import pytest
from cli_process import Cli, one_line_error

from sim.flash.easyflash import BOARD_FORM

VECTORS = Path(__file__).parent.parent / "data/easyflash"
CLOUD = VECTORS / "v3-03-cloud-13-keys/image.bin"
PASSWORD, DEVICE_KEY, PRODUCT_KEY = (
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "0123456789ABCDEF0123456789ABCDEF",
    "FEDCBA9876543210FEDCBA9876543210",
)


@pytest.fixture
def board(cli: Cli, tmp_path: Path) -> Path:
    """A board whose ENV partition holds a recorded image."""
    assert cli("board", "new", "b").returncode == 0
    assert cli("board", "write", "b", "easyflash", CLOUD).returncode == 0
    return tmp_path / "b"


def test_variables_of_a_board_are_printed_and_secrets_masked(cli: Cli, board: Path) -> None:
    before = (board / "nor_flash.inverted").read_bytes()
    result = cli("board", "env", "b")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == ["boot_times=0", "cld_usr=2001811003", "cld_pwd=********"]
    assert len(lines) == 13
    assert result.stderr.startswith("EasyFlash 3, power fail safeguard, with a version word, 13 variables,")
    assert result.stderr.endswith(" area at 0x0, save 3, version 0\n")
    assert (board / "nor_flash.inverted").read_bytes() == before


@pytest.mark.parametrize("options", [(), ("--json",), ("-v",)])
def test_secrets_are_shown_only_when_asked_for(cli: Cli, options: tuple[str, ...]) -> None:
    verbose = ("-vv",) if "-v" in options else ()
    rest = [option for option in options if option != "-v"]
    hidden = cli(*verbose, "board", "env", CLOUD, *rest)
    shown = cli(*verbose, "board", "env", CLOUD, "--show-secrets", *rest)
    for secret in (PASSWORD, DEVICE_KEY, PRODUCT_KEY):
        assert secret not in hidden.stdout + hidden.stderr
        assert secret in shown.stdout


def test_json_tells_everything(cli: Cli) -> None:
    found = json.loads(cli("board", "env", CLOUD, "--json").stdout)
    assert {key: found[key] for key in ("format", "area", "saved_count", "version", "sectors", "notes")} == {
        "format": "v3-pfs-version",
        "area": 0,
        "saved_count": 3,
        "version": 0,
        "sectors": [],
        "notes": [],
    }
    assert found["variables"][0] == {"name": "boot_times", "value": "0", "hex": None, "masked": False}
    assert found["variables"][2] == {"name": "cld_pwd", "value": None, "hex": None, "masked": True}


def test_values_that_are_no_text_are_printed_as_hexadecimal(cli: Cli) -> None:
    image = VECTORS / "v4-31-autoupdate-new-version/image.bin"
    assert cli("board", "env", image).stdout.splitlines() == [
        "boot_times=0",
        "__ver_num__=<4 bytes: 01000000>",
    ]
    found = json.loads(cli("board", "env", image, "--json").stdout)
    assert found["variables"][1] == {"name": "__ver_num__", "value": None, "hex": "01000000", "masked": False}
    assert found["sectors"][1] == {"offset": 4096, "header": True, "store": "empty", "dirty": "false"}


def test_notes_follow_the_summary(cli: Cli) -> None:
    result = cli("board", "env", VECTORS / "v3-30-crc-bad-current/image.bin")
    assert result.stderr.splitlines()[1:] == ["note: area 0 is damaged: the save in area 1 is used"]


def test_dump_of_a_whole_chip_is_read_at_an_offset(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "chip").write_bytes(bytes(0x3000) + CLOUD.read_bytes() + bytes(100))
    assert cli("board", "env", "chip", "--offset", "0x3000").stdout.startswith("boot_times=0\n")
    one_line_error(cli("board", "env", "chip"), 1, "flash.env-image")


def test_errors_are_one_line(cli: Cli, board: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dump").write_bytes(CLOUD.read_bytes())
    one_line_error(cli("board", "env", "nowhere"), 2, "cloudsim.usage")
    assert "not a regular file" in one_line_error(cli("board", "env", "pipe"), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "dump", "--offset", 8192), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "dump", "--offset", "x"), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "dump", "--offset", "9" * 5000), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "dump", "--block-size", 0), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "b", "--offset", 0), 2, "cloudsim.usage")
    one_line_error(cli("board", "env", "."), 1, "board.directory")


def test_names_cannot_steer_a_terminal(cli: Cli, tmp_path: Path) -> None:
    area = BOARD_FORM.encode(0, 1, 0, b"\x1b[2Jk=\x1b[2Jv".ljust(12, b"\0"))
    (tmp_path / "dump").write_bytes(area)
    result = cli("board", "env", "dump")
    assert result.stdout == "\\x1b[2Jk=<5 bytes: 1b5b324a76>\n"
