"""A board directory: one image per device, one process at a time."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sim.flash.images import BoardInUseError, open_images
from sim.flash.layout import parse_layout
from sim.flash.nor import make_devices
from sim.flash.pages import ImageError

LAYOUT = parse_layout(
    """
name: tiny
description: two small devices
devices:
  - {name: onchip_flash, address: 0x08000000, size: 0x4000, block_size: 2048, page_size: 8, program_unit: 8}
  - {name: nor_flash, address: 0, size: 0x8000, block_size: 4096, page_size: 256, program_unit: 1}
partitions: []
bootloader: {kind: rt_ota, version: "1.3", timestamp: 1545134551}
app: {link_address: 0x08010000}
kernel: {version: "4.0.1", build: "Mar 27 2019"}
"""
)


def test_each_device_gets_its_image(tmp_path: Path) -> None:
    board = tmp_path / "boards" / "one"
    with open_images(board, LAYOUT) as images:
        devices = make_devices(LAYOUT.devices, pages=images.pages)
        devices["onchip_flash"].write(8, b"code")
        devices["nor_flash"].write(0, b"data")
    inverted = bytes(byte ^ 0xFF for byte in b"data")
    assert (board / "nor_flash.inverted").read_bytes() == inverted.ljust(0x8000, b"\0")
    assert stat.S_IMODE(board.stat().st_mode) == 0o700
    with open_images(board, LAYOUT) as images:
        assert images.pages["onchip_flash"].read(0, 12) == b"\xff" * 8 + b"code"
        assert images.pages["nor_flash"].read(0, 4) == b"data"


def test_board_in_use_is_refused_until_released(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from sim.flash.images import BoardInUseError, open_images\n"
        "from sim.flash.layout import BoardLayout\n"
        "try:\n"
        "    open_images(pathlib.Path(sys.argv[1]), BoardLayout('tiny', '', (), ()))\n"
        "except BoardInUseError as error:\n"
        "    sys.exit(error.code)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with open_images(tmp_path, LAYOUT):
        with pytest.raises(BoardInUseError, match="in use by another process"):
            open_images(tmp_path, LAYOUT)
        other = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert other.stderr == "board.in-use\n"
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_failed_opening_releases_the_board(tmp_path: Path) -> None:
    wrong = tmp_path / "nor_flash.inverted"
    wrong.write_bytes(b"short")
    with pytest.raises(ImageError):
        open_images(tmp_path, LAYOUT)
    wrong.unlink()
    with open_images(tmp_path, LAYOUT) as images:
        assert list(images.pages) == ["onchip_flash", "nor_flash"]


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "board").write_bytes(b"")
    with pytest.raises(ImageError, match="cannot use board directory"):
        open_images(tmp_path / "board", LAYOUT)
