"""`ota info`: firmware in each partition, and what `help` does not say about it."""

import pytest
from msh_console import LAYOUT, Console

from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.pack import pack
from cloudsdk.ota.rt_ota import header_offset
from sim.flash.faults import BadBlock, FaultPlan
from sim.msh.builtin.ota import ota

TITLE = "partition       firmware        version                   timestamp   raw size content\n"
RAW = bytes(range(250)) * 4
PACKAGE = pack(RAW, name="app", version="2.0.0", timestamp=1600000000)
USAGE = "Usage:\nota info                         - show the firmware in each partition\n\n"


def row(partition: str, content: str) -> str:
    return f"{partition:<15} app             2.0.0                    1600000000       1000 {content}\n"


@pytest.fixture
def console() -> Console:
    return Console(ota)


def put(console: Console, name: str, data: bytes, header: bytes = PACKAGE[:HEADER_SIZE]) -> None:
    partition = console.board.partitions.find(name)
    assert partition is not None
    partition.erase(0, partition.size)
    offset = header_offset(partition)
    partition.write(offset, header)
    partition.write(0 if offset else HEADER_SIZE, data)


def test_board_without_firmware_has_no_rows(console: Console) -> None:
    assert console.run("ota info") == TITLE


def test_installed_and_downloaded_firmware(console: Console) -> None:
    put(console, "app", RAW)
    put(console, "download", PACKAGE[HEADER_SIZE:])
    assert console.run("ota info") == TITLE + row("app", "ok") + row("download", "ok")


def test_each_partition_is_verified_on_its_own(console: Console) -> None:
    put(console, "app", RAW[:-1] + b"\0")
    put(console, "download", PACKAGE[HEADER_SIZE:])
    assert console.run("ota info") == TITLE + row("app", "damaged") + row("download", "ok")
    put(console, "app", RAW)
    put(console, "download", PACKAGE[HEADER_SIZE:-1] + b"\0")
    assert console.run("ota info") == TITLE + row("app", "ok") + row("download", "damaged")


def test_header_with_a_wrong_crc_is_no_firmware(console: Console) -> None:
    put(console, "app", RAW, b"X" + PACKAGE[1:HEADER_SIZE])
    assert console.run("ota info") == TITLE


@pytest.mark.parametrize("raw_size", [0, 31, 0xFFFFFFFF])
def test_sizes_that_hang_the_original_are_a_row(console: Console, raw_size: int) -> None:
    header = RblHeader.build(
        algo=0,
        algo2=0,
        timestamp=0xFFFFFFFF,
        name=b"\x1b[2J",
        version=b"1",
        product_code=b"",
        body_crc32=0,
        raw_hash=0,
        raw_size=raw_size,
        body_size=1000,
    )
    put(console, "app", RAW, header.pack())
    shown = console.run("ota info").splitlines()[1]
    assert (
        shown
        == f"app             \\x1b[2J         1                                -1 {raw_size:>10} "
        + ("sizes that the bootloader does not survive")
    )


def test_partition_that_cannot_be_read_does_not_hide_the_others(console: Console) -> None:
    put(console, "download", PACKAGE[HEADER_SIZE:])
    app = next(each for each in LAYOUT.partitions if each.name == "app")
    onchip = console.board.partitions.devices["onchip_flash"]
    onchip.inject(FaultPlan(bad_blocks=(BadBlock(app.offset + app.length - 1, frozenset(["read"])),)))
    assert console.run("ota info") == TITLE + (
        "app             -               -                                 -          - cannot be read\n"
        + row("download", "ok")
    )


@pytest.mark.parametrize("line", ["ota", "ota x", "ota infos"])
def test_anything_else_shows_the_usage(console: Console, line: str) -> None:
    assert console.run(line) == USAGE


def test_help_is_that_of_the_board(console: Console) -> None:
    assert console.run("help") == Console().run("help")
