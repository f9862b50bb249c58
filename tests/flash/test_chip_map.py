"""The map of a board's flash: every byte belongs to one region, and what is said of it is true."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.pack import pack
from flash_images import boards
from sim.board import Board, furnish, install, make_board
from sim.cli.board_map import shares
from sim.cli.chip_svg import chip_svg
from sim.cli.chip_text import firmware_text, human_size
from sim.flash.chip_map import SLICES, ChipMap, FoundFirmware, Region, chip_map
from sim.flash.layout import PartitionEntry, load_board


@pytest.fixture
def board() -> Board:
    made = make_board(load_board("iot-board"))
    furnish(made, app_version="1.0.0")
    return made


def region(chips: ChipMap, name: str) -> Region:
    return next(each for device in chips.devices for each in device.regions if each.name == name)


@pytest.mark.parametrize("name", boards.names())
def test_regions_cover_every_device_without_overlap(name: str) -> None:
    layout = load_board(name)
    layout = replace(layout, partitions=layout.partitions[1:-1])
    for device in chip_map(make_board(layout).partitions).devices:
        position = 0
        for each in device.regions:
            assert (each.offset, each.used, each.erased, len(each.density)) == (position, 0, True, SLICES)
            position += each.length
        assert position == device.size
    free = [each for device in chip_map(make_board(layout).partitions).devices for each in device.regions]
    assert "" in {each.name for each in free}


def test_used_bytes_are_counted_in_lines(board: Board) -> None:
    board.partition("font").write(255, b"ab")
    font = region(chip_map(board.partitions), "font")
    assert (font.used, font.erased) == (512, False)
    assert font.density[0] > 0
    assert set(font.density[1:]) == {0.0}
    app = region(chip_map(board.partitions), "app")
    assert app.used == 100_096 + 256  # the image to the end of its line, and the line of the header
    assert app.density[0] == 1.0
    assert 0 < app.density[-1] < 1


def test_small_partition_has_a_density_everywhere() -> None:
    layout = load_board("iot-board")
    layout = replace(layout, partitions=(PartitionEntry("small", "onchip_flash", 0, 2048),))
    made = make_board(layout)
    made.partition("small").write(0, bytes(1024))
    assert region(chip_map(made.partitions), "small").density == (1.0,) * (SLICES // 2) + (0.0,) * (
        SLICES // 2
    )


def test_firmware_is_found_and_judged(board: Board) -> None:
    chips = chip_map(board.partitions)
    assert region(chips, "bootloader").firmware == FoundFirmware("bootloader", "1.3", True, True)
    assert region(chips, "app").firmware == FoundFirmware("app", "1.0.0", True, True)
    assert region(chips, "download").firmware is None
    board.partition("app").write(0x1000, bytes(8))
    assert region(chip_map(board.partitions), "app").firmware == FoundFirmware("app", "1.0.0", True, False)
    app = board.partition("app")
    app.write(app.size - 88, bytes(8))  # the time stamp and the first letters of the name
    damaged = region(chip_map(board.partitions), "app").firmware
    assert damaged is not None
    assert (damaged.header_ok, damaged.content_ok) == (False, False)


@pytest.mark.parametrize("flavour", ["official", "qboot"])
def test_package_in_download_is_judged_by_its_body(board: Board, flavour: str) -> None:
    package = pack(bytes(5000), name="app", version="2.0", timestamp=1, flavour=flavour)  # type: ignore[arg-type]
    download = board.partition("download")
    download.erase(0, len(package))
    download.write(0, package)
    assert region(chip_map(board.partitions), "download").firmware == FoundFirmware("app", "2.0", True, True)
    font = board.partition("font")
    font.write(0, bytes(5000))
    font.write(font.size - 96, package[:96])
    assert region(chip_map(board.partitions), "font").firmware == FoundFirmware("app", "2.0", True, True)
    download.erase(4096, 1)
    found = region(chip_map(board.partitions), "download").firmware
    assert found is not None
    assert not found.content_ok


def test_header_that_lies_about_sizes_is_not_followed(board: Board) -> None:
    package = pack(bytes(500), name="font", version="1", timestamp=1)
    font = board.partition("font")
    header = replace(RblHeader.unpack(package), raw_size=0xFFFFFFFF).with_crc()
    font.write(font.size - 96, header.pack())
    assert region(chip_map(board.partitions), "font").firmware == FoundFirmware("font", "1", True, False)


def test_wear_is_that_of_the_most_worn_block(board: Board) -> None:
    before = chip_map(board.partitions)
    download = board.partition("download")
    for _ in range(3):
        download.erase(4096, 1)
    after = chip_map(board.partitions)
    assert region(after, "download").wear == region(before, "download").wear + 3
    assert after.devices[1].wear == max(each.wear for each in after.devices[1].regions)
    assert region(after, "font").wear == region(before, "font").wear


def test_drawing_is_one_sound_document_and_escapes_text(board: Board) -> None:
    install(board, "font", bytes(64), version="<&\"'>", timestamp=1)
    chips = chip_map(board.partitions)
    hostile = replace(chips, board="<script>alert(1)</script>")
    text = chip_svg(hostile)
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    drawn = [each.text or "" for each in root.iter()]
    assert "Flash of <script>alert(1)</script>" in drawn
    assert "font <&\"'>, valid" in drawn
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert tags == {"svg", "title", "rect", "text", "g"}
    assert not any("href" in name or name.startswith("on") for each in root.iter() for name in each.attrib)
    assert text.count("http") == 1  # the name space


def test_drawing_stays_inside_its_frame(board: Board) -> None:
    board.partition("filesystem").write(0x6FF000, bytes(4096))
    root = ElementTree.fromstring(chip_svg(chip_map(board.partitions)))  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    rectangles = [each.attrib for each in root.iter() if each.tag.endswith("rect")]
    assert len(rectangles) > 20
    for each in rectangles:
        assert float(each.get("x", 0)) + float(each["width"]) <= width
        assert float(each.get("y", 0)) + float(each["height"]) <= height


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (41216, "40.2 KiB"), (0x180000, "1.5 MiB")],
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert human_size(size) == text


def test_firmware_in_a_few_words() -> None:
    assert firmware_text(None) == ""
    assert firmware_text(FoundFirmware("app", "1.0", True, True)) == "app 1.0, valid"
    assert firmware_text(FoundFirmware("app", "1.0", True, False)) == "app 1.0, content damaged"
    assert firmware_text(FoundFirmware("app", "1.0", False, False)) == "header damaged"


def test_bar_gives_every_partition_a_cell() -> None:
    assert shares([1, 1000, 1000, 1], 80) == [1, 39, 39, 1]
    assert sum(shares([7, 1, 3, 1, 1, 90], 79)) == 79
    assert shares([5] * 100, 80) == [1] * 100
