"""A board's flash as a copy in memory."""

import os
from pathlib import Path

import pytest

from sim.board import copy_board, create_board, make_board, open_board
from sim.flash.images import BoardInUseError, copy_images, image_path
from sim.flash.layout import load_board
from sim.flash.pages import ImageError

LAYOUT = load_board("iot-board")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    create_board(tmp_path / "b", LAYOUT, app_version="1.2.3")
    return tmp_path / "b"


def test_copy_has_the_content_and_is_independent(board: Path) -> None:
    layout, pages, _ = copy_board(board)
    assert layout == LAYOUT
    with open_board(board) as opened:
        for entry in layout.partitions:
            here, there = make_board(layout, dict(pages)).partition(entry.name), opened.partition(entry.name)
            assert here.read(0, here.size) == there.read(0, there.size)
        make_board(layout, dict(pages)).partition("app").erase(0, 4096)
        assert opened.partition("app").read(0, 16) != b"\xff" * 16


def test_erased_pages_take_no_memory(board: Path) -> None:
    pages = copy_images(board, LAYOUT)
    assert sum(content.changed_pages for content in pages.values()) < 60


def test_nothing_is_made_in_the_directory(tmp_path: Path) -> None:
    pages = copy_images(tmp_path, LAYOUT)
    assert {name: content.changed_pages for name, content in pages.items()} == {
        device.name: 0 for device in LAYOUT.devices
    }
    assert not list(tmp_path.iterdir())


def test_board_in_use_is_not_copied(board: Path) -> None:
    with open_board(board), pytest.raises(BoardInUseError):
        copy_board(board)
    copy_board(board)


@pytest.mark.parametrize("kind", ["short", "pipe", "folder"])
def test_what_is_no_image_is_refused(board: Path, kind: str) -> None:
    image = image_path(board, LAYOUT.devices[0].name)
    image.unlink()
    match kind:
        case "short":
            image.write_bytes(b"x")
        case "pipe":
            os.mkfifo(image)
        case "folder":
            image.mkdir()
    with pytest.raises(ImageError, match=image.name):
        copy_board(board)
