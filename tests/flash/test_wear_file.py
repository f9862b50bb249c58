"""Wear on disk: kept from one run to the next, and never a reason for a traceback."""

from contextlib import suppress
from pathlib import Path

import pytest

from sim.board import WEAR_FILE, create_board, open_board
from sim.flash.layout import load_board
from sim.flash.pages import ImageError
from sim.flash.power import CutMoment, PowerCut
from sim.flash.wear import MAX_WEAR_FILE, load_wear, save_wear


def test_tables_are_read_back(tmp_path: Path) -> None:
    tables = {"nor_flash": {0: 1, 0x80000: 100_000}, "onchip_flash": {}}
    save_wear(tmp_path / "wear.json", tables)
    assert load_wear(tmp_path / "wear.json") == tables
    assert load_wear(tmp_path / "absent.json") == {}


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"nor": 5}', '{"nor": {"x": 1}}', '{"nor": {"0": "1"}}', '{"nor": {"0": 1.5}}',
             "[" * 100_000, "\xff" * 10, " " * (MAX_WEAR_FILE + 1)]
)  # fmt: skip
def test_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wear.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ImageError, match="is no table of wear; remove it"):
        load_wear(path)


def test_wear_belongs_to_the_board_directory(tmp_path: Path) -> None:
    create_board(tmp_path, load_board("iot-board"), app_version=None)
    for erases in (1, 2):
        with open_board(tmp_path) as board:
            board.partition("download").erase(0, 8192)
            assert board.partitions.devices["nor_flash"].wear(0x81000) == erases
    with suppress(PowerCut), open_board(tmp_path) as board:
        board.power.arm(lambda _index, _operation: CutMoment.AFTER)
        board.partition("download").erase(0, 4096)
    with open_board(tmp_path) as board:
        assert board.partitions.devices["nor_flash"].wear_table() == {0x80000: 3, 0x81000: 2}


def test_looking_at_a_board_writes_no_table(tmp_path: Path) -> None:
    create_board(tmp_path, load_board("iot-board"), app_version=None)
    with open_board(tmp_path) as board:
        board.partition("app").read(0, 100)
    assert not (tmp_path / WEAR_FILE).exists()
