"""FAL partitions, the binary partition table and the table on the console."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition, PartitionTable
from sim.flash.fal import (
    MAX_ENTRIES,
    FalTable,
    FalTableError,
    PartitionBoundsError,
    decode_table,
    encode_table,
    table_lines,
)
from sim.flash.layout import PartitionEntry, load_board
from sim.flash.nor import make_devices
from sim.flash.parts import part_named

BOARD = load_board("iot-board")
TRANSCRIPT = Path(__file__).parents[1] / "data/transcripts/bootloader/01_upgrade_none.txt"


@pytest.fixture
def table() -> FalTable:
    return FalTable(BOARD, make_devices(BOARD.devices))


def test_partitions_are_found_by_name_in_table_order(table: FalTable) -> None:
    port: PartitionTable = table
    assert port.find("nosuch") is None
    assert [each.name for each in table] == [
        "bootloader",
        "app",
        "easyflash",
        "download",
        "wifi_image",
        "font",
        "filesystem",
    ]
    assert len(table) == 7


def test_partition_reaches_its_part_of_the_device(table: FalTable) -> None:
    download = table.find("download")
    assert download is not None
    port: Partition = download
    assert (port.name, port.size, port.block_size) == ("download", 0x100000, 4096)
    assert (download.device_name, download.offset) == ("nor_flash", 0x80000)
    port.write(4, b"data")
    assert download.device.read(0x80004, 4) == b"data"
    assert port.read(4, 4) == b"data"
    port.erase(0, 1)
    assert port.read(0, 8) == b"\xff" * 8


@pytest.mark.parametrize(("offset", "length"), [(0xFFFFF, 2), (-1, 1), (0x100000, 1), (0, -1)])
def test_range_outside_the_partition_is_refused_with_the_original_text(
    table: FalTable, offset: int, length: int
) -> None:
    download = table.find("download")
    assert download is not None
    with pytest.raises(PartitionBoundsError) as refused:
        download.read(offset, length)
    assert refused.value.console == (
        "[E/FAL] (fal_partition_read:346) Partition read error! Partition address out of bound."
    )
    with pytest.raises(PartitionBoundsError) as refused:
        download.erase(offset, length)
    assert "(fal_partition_erase:426) Partition erase error!" in refused.value.console


def test_write_over_the_end_of_the_partition_changes_nothing(table: FalTable) -> None:
    download = table.find("download")
    assert download is not None
    with pytest.raises(PartitionBoundsError) as refused:
        download.write(0xFFFFF, b"\0\0")
    assert "(fal_partition_write:387) Partition write error!" in refused.value.console
    assert download.device.read(0x17FFFF, 2) == b"\xff\xff"


def test_board_without_a_device_is_refused() -> None:
    devices = make_devices(BOARD.devices)
    del devices["nor_flash"]
    with pytest.raises(FlashError, match="lacks flash device 'nor_flash'"):
        FalTable(BOARD, devices)


def test_binary_table_is_laid_out_as_in_the_bootloader() -> None:
    first, second = encode_table(BOARD.partitions)[:64], encode_table(BOARD.partitions)[64:128]
    assert first.startswith(b"01PE" + b"bootloader".ljust(24, b"\0") + b"onchip_flash".ljust(24, b"\0"))
    assert second[52:] == bytes.fromhex("00000100 00000700 00000000")


@pytest.mark.parametrize("before", [b"", b"\0" * 0x8F9C, b"01PE", b"code 01PE\x10\x20code" * 9, b"01P"])
def test_table_is_found_anywhere_in_an_image(before: bytes) -> None:
    image = before + encode_table(BOARD.partitions) + b"\xff" * 100
    assert decode_table(image) == BOARD.partitions


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no FAL partition table"),
        (b"01PE" * 100, "no FAL partition table"),
        (encode_table(BOARD.partitions)[:63], "no FAL partition table"),
        (encode_table(BOARD.partitions)[:127], "is cut off in the entry at 0x40"),
        (encode_table(BOARD.partitions[:1]) + b"01PE" + b"\0" * 60, "entry at 0x40 has no proper name"),
        (encode_table(BOARD.partitions[:1]) + b"01PE" + b"n" * 60, "entry at 0x40 has no proper name"),
        (
            encode_table(BOARD.partitions[:1]) + encode_table(BOARD.partitions[:1])[:52] + b"\xff" * 12,
            "entry at 0x40 has offset -1",
        ),
        (encode_table(BOARD.partitions[:1]) * (MAX_ENTRIES + 1), f"more than {MAX_ENTRIES} entries"),
    ],
)
def test_broken_table_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FalTableError, match=message):
        decode_table(data)


def test_damaged_table_gives_a_table_or_a_coded_error() -> None:
    rng = random.Random(4)
    whole = encode_table(BOARD.partitions)
    outcomes = set()
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            decode_table(bytes(damaged))
            outcomes.add("table")
        except FalTableError:
            outcomes.add("refused")
    assert outcomes == {"table", "refused"}


@pytest.mark.parametrize(
    "entry",
    [
        PartitionEntry("n" * 24, "nor", 0, 1),
        PartitionEntry("", "nor", 0, 1),
        PartitionEntry("app", "n\0r", 0, 1),
        PartitionEntry("äpp", "nor", 0, 1),
        PartitionEntry("app", "nor", 2**31, 1),
        PartitionEntry("app", "nor", 0, 2**32),
        PartitionEntry("app", "nor", 0, 0),
    ],
)
def test_entry_that_does_not_fit_the_table_is_refused(entry: PartitionEntry) -> None:
    with pytest.raises(FalTableError):
        encode_table([entry])


def test_box_is_the_one_the_bootloader_printed() -> None:
    lines = TRANSCRIPT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if "FAL partition table" in line)
    recorded = lines[start : start + 11]
    assert [f"\\e[36;22m[I/FAL] {line}\\e[0m" for line in table_lines(BOARD.partitions)] == recorded


def test_box_of_the_application_has_the_narrower_name_column() -> None:
    lines = table_lines(BOARD.partitions, app=True)
    assert lines[1] == "| name       | flash_dev    |   offset   |    length  |"
    assert lines[3] == "| bootloader | onchip_flash | 0x00000000 | 0x00010000 |"


def test_block_size_of_a_partition_is_its_largest_block() -> None:
    device = part_named("stm32f407").geometry("onchip_flash")
    rows = [
        PartitionEntry("bootloader", "onchip_flash", 0, 0x10000),
        PartitionEntry("app", "onchip_flash", 0x10000, 0x30000),
    ]
    board = replace(BOARD, devices=(device,), partitions=tuple(rows))
    table = FalTable(board, make_devices(board.devices))
    assert [partition.block_size for partition in table] == [0x4000, 0x20000]
