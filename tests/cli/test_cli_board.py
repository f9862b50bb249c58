import json
import os
import stat
from pathlib import Path

import pytest
from cli_process import Cli, one_line_error

from cloudsdk.ota.header import RblHeader

DATA = Path(__file__).parent.parent / "data"
PACKAGE = DATA / "rbl/official/d_100k_fw__quicklz__aes.rbl"
RAW = (DATA / "rbl/raw/d_100k_fw.bin").read_bytes()


@pytest.fixture
def board(cli: Cli, tmp_path: Path) -> Path:
    result = cli("board", "new", "b", "--board", "iot-board")
    assert (result.returncode, result.stderr) == (0, "")
    return tmp_path / "b"


def boot(cli: Cli, *arguments: object) -> dict[str, object]:
    result = cli("board", "boot", "b", "--json", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    value: dict[str, object] = json.loads(result.stdout)
    return value


def test_new_board_boots_its_application(cli: Cli, board: Path) -> None:
    result = boot(cli)
    assert result["outcome"] == "jump"
    assert "Verify 'app' partition(fw ver: 1.0.0, timestamp: 1539410981) success." in str(result["console"])
    assert result["operations"] == [{"device": "nor_flash", "op": "erase", "offset": 0x80000, "length": 4096}]


def test_blank_board_stops_in_the_bootloader(cli: Cli) -> None:
    assert cli("board", "new", "b", "--blank").returncode == 0
    result = boot(cli)
    assert (result["outcome"], result["jump"]) == ("halt", None)
    assert "Jump to app failed, system stops running!" in str(result["console"])


def test_console_is_printed_as_it_comes(cli: Cli, board: Path) -> None:
    result = cli("board", "boot", "b")
    flash, _, rest = result.stdout.partition("\n\n")
    assert flash.startswith("[SFUD]Find a Winbond W25Q128 flash chip. Size is 16777216 bytes.\n")
    assert rest.startswith("RT-Thread Bootloader Starting...")
    assert "outcome: jump" in result.stderr


def test_package_is_installed_from_the_download_partition(cli: Cli, board: Path, tmp_path: Path) -> None:
    assert cli("board", "write", "b", "download", PACKAGE).returncode == 0
    assert boot(cli)["outcome"] == "jump"
    assert cli("board", "read", "b", "app", "app.bin").returncode == 0
    app = (tmp_path / "app.bin").read_bytes()
    assert len(app) == 0x70000
    assert app.startswith(RAW)
    assert RblHeader.unpack(app[-96:]) == RblHeader.unpack(PACKAGE.read_bytes())


def test_power_cut_between_commands_is_survived(cli: Cli, board: Path) -> None:
    cli("board", "write", "b", "download", PACKAGE)
    cut = boot(cli, "--cut-after-writes", "3")
    assert cut["outcome"] == "power-cut"
    assert [op["op"] for op in cut["operations"]].count("write") == 4  # type: ignore[attr-defined]
    healed = boot(cli)
    assert healed["outcome"] == "jump"
    assert "fw ver: 1.0.3" in str(healed["console"])


def test_key_of_the_bootloader_belongs_to_the_board(cli: Cli, tmp_path: Path) -> None:
    assert cli("board", "new", "b", CLOUDSIM_KEY="K" * 32).returncode == 0
    keys = tmp_path / "b" / "bootloader-keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    cli("board", "write", "b", "download", PACKAGE)
    assert "OTA upgrade failed!" in str(boot(cli)["console"])
    keys.write_text("{}")
    one_line_error(cli("board", "boot", "b"), 1, "board.directory")


def test_partitions_are_printed_as_the_bootloader_does(cli: Cli, board: Path) -> None:
    recorded = (DATA / "transcripts/bootloader/19_blank_board.txt").read_text()
    box = [
        line.partition("[I/FAL] ")[2].removesuffix("\\e[0m")
        for line in recorded.splitlines()
        if "[I/FAL]" in line
    ]
    assert cli("board", "partitions", "b").stdout.splitlines() == box[:11]
    rows = json.loads(cli("board", "partitions", "b", "--json").stdout)["partitions"]
    assert rows[1] == {"name": "app", "device": "onchip_flash", "offset": 0x10000, "length": 0x70000}


def test_errors_are_one_line(cli: Cli, board: Path, tmp_path: Path) -> None:
    one_line_error(cli("board", "boot", "nowhere"), 1, "board.directory")
    one_line_error(cli("board", "new", "b"), 1, "board.directory")
    one_line_error(cli("board", "new", "c", "--board", "nosuch"), 2, "layout.invalid")
    one_line_error(cli("board", "new", "c", "--key", "short"), 2, "rbl.key")
    assert "bootloader, app, easyflash" in one_line_error(
        cli("board", "write", "b", "nosuch", PACKAGE), 1, "board.partition"
    )
    one_line_error(cli("board", "write", "b", "app", "missing"), 2, "cloudsim.usage")
    (tmp_path / "large").write_bytes(bytes(0x70001))
    one_line_error(cli("board", "write", "b", "app", "large"), 1, "board.file-too-large")
    one_line_error(cli("board", "read", "b", "app", "no/such/dir"), 2, "cloudsim.usage")
    one_line_error(cli("board", "boot", "b", "--cut-after-writes", "x"), 2, "cloudsim.usage")
    (board / "board.yaml").write_text("name: [")
    one_line_error(cli("board", "boot", "b"), 2, "layout.invalid")


def test_refused_write_leaves_the_partition_as_it_was(cli: Cli, board: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(0x70001))
    cli("board", "write", "b", "app", "large")
    assert boot(cli)["outcome"] == "jump"


def test_only_regular_files_are_read(cli: Cli, board: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("pipe", "/dev/zero"):
        write = one_line_error(cli("board", "write", "b", "download", path), 2, "cloudsim.usage")
        new = one_line_error(cli("board", "new", "c", "--board", path), 2, "layout.invalid")
        keys = one_line_error(cli("board", "new", "c", "--key-file", path), 2, "cloudsim.usage")
        assert "not a regular file" in write
        assert "not a regular file" in new
        assert "not a regular file" in keys
    os.mkfifo(board / "bootloader-keys.json")
    one_line_error(cli("board", "boot", "b"), 1, "board.directory")


def test_reading_a_partition_replaces_only_regular_files(cli: Cli, board: Path, tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    line = one_line_error(cli("board", "read", "b", "app", "pipe"), 2, "cloudsim.usage")
    assert "not a regular file" in line
    assert pipe.is_fifo()
    target.touch()
    link.symlink_to(target)
    assert cli("board", "read", "b", "app", "link").returncode == 0
    assert link.is_symlink()
    assert target.stat().st_size == 0x70000


def test_damaged_image_file_is_named(cli: Cli, board: Path) -> None:
    image = board / "nor_flash.inverted"
    image.write_bytes(image.read_bytes()[:-1])
    assert "nor_flash" in one_line_error(cli("board", "boot", "b"), 1, "flash.image")


def test_another_bootloader(cli: Cli) -> None:
    made = cli("board", "new", "b", "--bootloader", "qboot", "--json")
    assert json.loads(made.stdout)["bootloader"] == "qboot"
    assert (
        cli("board", "write", "b", "download", DATA / "rbl/qboot/d_100k_fw__quicklz__aes.rbl").returncode == 0
    )
    result = boot(cli)
    assert "Release firmware success from download to app." in str(result["console"])
    error = one_line_error(cli("board", "new", "c", "--bootloader", "rt_ota+factory"), 2, "layout.invalid")
    assert "needs a partition 'factory'" in error
