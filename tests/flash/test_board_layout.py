"""Board layouts: what the IoT Board is, and one line for everything a layout can get wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloudsdk.ota.pack import pack
from flash_images import boards, samples
from sim.board import furnish, make_board
from sim.bootloader.outcome import BootOutcome
from sim.flash.facts import LayoutError
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import (
    MAX_LAYOUT,
    PartitionEntry,
    format_layout,
    load_board,
    load_layout,
    parse_layout,
    save_layout,
)
from sim.flash.parts import part_named

GOOD = """\
name: tiny
description: two partitions
devices:
  - {name: nor, address: 0, size: 0x10000, block_size: 4096, page_size: 256, program_unit: 1}
partitions:
  - {name: app, device: nor, offset: 0, length: 0x8000}
  - {name: download, device: nor, offset: 0x8000, length: 0x8000}
bootloader: {kind: rt_ota, version: "1.3", timestamp: 1545134551}
app: {link_address: 0x08010000}
kernel: {version: "4.0.1", build: "Mar 27 2019"}
"""


def test_iot_board_has_the_recorded_devices_and_facts() -> None:
    board = load_board("iot-board")
    assert board.devices == (
        FlashGeometry("onchip_flash", 0x08000000, 512 * 1024, 2048, 8, 8),
        FlashGeometry("nor_flash", 0, 16 * 1024 * 1024, 4096, 256, 1),
    )
    assert board.partitions[3] == PartitionEntry("download", "nor_flash", 0x80000, 0x100000)
    assert (board.bootloader.version, board.bootloader.timestamp) == ("1.3", 1545134551)
    assert board.app.link_address == 0x08010000
    assert (board.kernel.version, board.kernel.build) == ("4.0.1", "Mar 27 2019")


@pytest.mark.parametrize("name", boards.names())
def test_every_board_of_the_package_loads_under_its_own_name(name: str) -> None:
    assert load_board(name).name == name


def test_manual_board_has_the_pictured_facts() -> None:
    board = load_board("manual-w25q64")
    assert board.devices[1] == part_named("w25q64").geometry("nor_flash")
    assert {"download", "filesystem", "firmware"} <= {entry.name for entry in board.partitions}
    assert board.app.partition == "firmware"
    assert (board.kernel.version, board.kernel.build) == ("3.0.3", "Mar 19 2018")


def test_art_pi_executes_from_the_window_of_its_second_flash() -> None:
    board = load_board("art-pi")
    sizes = {device.name: (device.address, device.size >> 10) for device in board.devices}
    assert sizes == {
        "onchip_flash": (0x08000000, 128),
        "norflash0": (0, 16384),
        "norflash1": (0x90000000, 8192),
    }
    assert board.app.link_address == 0x90000000


def test_stm32f407_partitions_lie_on_sectors_of_three_sizes() -> None:
    board = load_board("stm32f407")
    chip = board.devices[0]
    assert chip.regions == ((4, 16384), (1, 65536), (7, 131072))
    sectors = {
        entry.name: [size >> 10 for _, size in chip.blocks(entry.offset, entry.length)]
        for entry in board.partitions
        if entry.device == chip.name
    }
    assert sectors == {"bootloader": [16] * 4, "app": [64, 128, 128, 128], "download": [128] * 4}


@pytest.mark.parametrize("name", boards.names())
def test_every_board_starts_its_application_where_it_is_linked(name: str) -> None:
    board = load_board(name)
    (app,) = (entry for entry in board.partitions if entry.name == board.app.partition)
    (device,) = (device for device in board.devices if device.name == app.device)
    assert device.address + app.offset == board.app.link_address


@pytest.mark.parametrize("name", boards.names())
def test_every_board_can_be_made(name: str) -> None:
    board = make_board(load_board(name))
    furnish(board, app_version="1.2.3")
    header = board.installed(board.layout.app.partition)
    assert header is not None
    assert header.version_text == "1.2.3"


@pytest.mark.parametrize("name", ["iot-board", "stm32f407"])
def test_board_is_updated_from_its_download_partition(name: str) -> None:
    board = make_board(load_board(name))
    furnish(board, app_version="1.0.0")
    raw = samples.application("2.0.0", link_address=board.layout.app.link_address, size=200_000)
    package = pack(raw, name="app", version="2.0.0", timestamp=1)
    download = board.partition("download")
    download.erase(0, len(package))
    download.write(0, package)
    assert board.boot(lambda _text: None).outcome is BootOutcome.JUMP
    assert board.partition("app").read(0, len(raw)) == raw
    assert board.installed("app") is not None


def test_unknown_board_names_the_known_ones() -> None:
    with pytest.raises(LayoutError, match=r"no board 'nosuch'.*iot-board"):
        load_board("nosuch")


@pytest.mark.parametrize("name", boards.names())
def test_saved_layout_reads_back_equal(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    path = tmp_path / "board.yaml"
    save_layout(board, path)
    assert load_board(path) == board
    assert "offset: 0x00080000" in format_layout(board)


def test_device_of_a_part_is_saved_by_the_part_unless_it_was_changed() -> None:
    board = load_board("art-pi")
    text = format_layout(board)
    assert text.count("part: w25q") == 2
    changed = replace(board.devices[1], endurance=5)
    other = replace(board, devices=(board.devices[0], changed, board.devices[2]))
    text = format_layout(other)
    assert text.count("part: w25q") == 1
    device = parse_layout(text).devices[1]
    assert (device.endurance, device.erase_sizes, device.size) == (5, (32768, 65536), 16 << 20)


PART = GOOD.replace(
    "address: 0, size: 0x10000, block_size: 4096, page_size: 256, program_unit: 1", "part: w25q64"
)
REGIONS = GOOD.replace("block_size: 4096", "block_size: 4096, regions: [[8, 4096], [1, 32768]]")


def test_device_is_a_part_or_numbers_or_has_regions() -> None:
    assert parse_layout(PART).devices == (part_named("w25q64").geometry("nor"),)
    at = parse_layout(PART.replace("part: w25q64", "part: w25q64, address: 0x90000000"))
    assert at.devices == (part_named("w25q64").geometry("nor", 0x90000000),)
    (device,) = parse_layout(REGIONS).devices
    assert device.regions == ((8, 4096), (1, 32768))


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (PART, "w25q64", "w25q65", "no flash part 'w25q65'; parts: "),
        (PART, "part: w25q64", "part: w25q64, size: 5", "devices[0]: unknown key 'size'"),
        (PART, "part: w25q64", "part: 5", "devices[0]: part must be text"),
        (REGIONS, "[8, 4096]", "[7, 4096]", "regions have 61440 bytes of 65536"),
        (REGIONS, "[8, 4096]", "[8]", "devices[0]: regions must be of lists of 2 whole numbers"),
        (REGIONS, "[8, 4096]", "[true, 4096]", "regions must be of lists of 2 whole numbers"),
        (REGIONS, "[8, 4096]", "8", "regions must be of lists of 2 whole numbers"),
        (GOOD, "program_unit: 1", "program_unit: 1, erase_sizes: [x]", "erase_sizes must be of lists"),
        (
            GOOD,
            "program_unit: 1",
            "program_unit: 1, reprogram: never",
            "reprogram must be one of clear, zero",
        ),
        (GOOD, "length: 0x8000}", f"length: -0x{'f' * 9000}}}", "length is beyond 0x1000000000000"),
        (GOOD, "size: 0x10000", f"size: 0x{'f' * 9000}", "size is beyond"),
        (REGIONS, "[8, 4096]", f"[8, 0x{'f' * 9000}]", "regions must be of lists"),
        (GOOD, "offset: 0,", "offset: -4096,", "partition 'app' (-0x00001000, 0x8000 bytes) reaches outside"),
        (GOOD, "app: {", "app: {partition: 5, ", "app: partition must be text"),
    ],
)
def test_wrong_device_or_application_is_refused_in_one_line(
    text: str, old: str, new: str, message: str
) -> None:
    assert old in text
    with pytest.raises(LayoutError) as refused:
        parse_layout(text.replace(old, new, 1))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "device: nor, offset: 0,",
            "device: spi, offset: 0,",
            "partition 'app' is on unknown device 'spi'; devices: nor",
        ),
        ("offset: 0x8000", "offset: 0x7000", "partition 'download' overlaps 'app' on nor"),
        ("offset: 0x8000", "offset: 0x8800", "reaches outside device 'nor' of 0x10000 bytes"),
        (
            "offset: 0, length: 0x8000",
            "offset: 0, length: 0x7f00",
            "does not begin and end on an erase block",
        ),
        (
            "offset: 0, length: 0x8000",
            "offset: 256, length: 0x1000",
            "does not begin and end on an erase block",
        ),
        ("offset: 0, length: 0x8000", "offset: -4096, length: 0x8000", "reaches outside device"),
        ("offset: 0, length: 0x8000", "offset: 0, length: 0", "partition 'app' has length 0"),
        ("name: download", "name: app", "partition 'app' is there twice"),
        ("name: download", "name: abcdefghijklmnopqrstuvwx", "is longer than 23 characters"),
        ("name: download", "name: ../escape", "must be of letters, digits"),
        ("name: nor", "name: a/b", "device name 'a/b' must be of letters"),
        ("name: tiny", "name: ''", "board name ''"),
        ("name: tiny", "name: 5", "board: name must be text"),
        ("block_size: 4096", "block_size: 4095", "block_size 4095 does not divide size 65536"),
        ("block_size: 4096", "block_size: true", "devices[0]: block_size must be a whole number"),
        ("page_size: 256", "pagesize: 256", "devices[0]: unknown key 'pagesize'; known: name, address"),
        ("page_size: 256, ", "", "devices[0]: key 'page_size' is missing"),
        ("offset: 0x8000", "offset: half", "partitions[1]: offset must be a whole number"),
        ("kernel: {", "colour: red\nkernel: {", "board: unknown key 'colour'"),
        ('version: "4.0.1"', "version: 4.0", "kernel: version must be text (quote it)"),
        ("app: {link_address: 0x08010000}", "app: 5", "board: app must be a mapping"),
        ("app: {link_address: 0x08010000}\n", "", "board: key 'app' is missing"),
        ("description: two", "description: [two", "not YAML: line"),
        ("description: two", "description: 2001-99-99 #", "not YAML: "),
    ],
)
def test_wrong_layout_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(LayoutError) as refused:
        parse_layout(GOOD.replace(old, new, 1), source="tiny.yaml")
    assert message in str(refused.value)
    assert str(refused.value).startswith("board layout 'tiny.yaml': ")
    assert "\n" not in str(refused.value)


WLAN = (
    'wlan: {mac: "98:3b:16:53:12:d6", ip_address: 192.168.1.123, gateway: 192.168.1.1, ssid: a, '
    "stored_ssid: b}"
)
WITH_WLAN = GOOD.replace('2019"}', f'2019", {WLAN}}}')


def test_wlan_is_joined_when_its_configuration_is_stored() -> None:
    assert parse_layout(GOOD).kernel.wlan is None
    for text, joins in ((WITH_WLAN, False), (WITH_WLAN.replace("stored_ssid: b", "stored_ssid: a"), True)):
        layout = parse_layout(text)
        assert layout.kernel.wlan is not None
        assert layout.kernel.wlan.joins is joins
        assert parse_layout(format_layout(layout)) == layout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("98:3b", "983b", "kernel.wlan: mac '983b:16:53:12:d6' is not six bytes as in 98:3b:16:53:12:d6"),
        ("192.168.1.1,", "gateway,", "kernel.wlan: gateway 'gateway' is not dotted IPv4"),
        ("ssid: a", f"ssid: {'a' * 33}", "kernel.wlan: ssid must be 1 to 32 printable characters"),
        ("ssid: b", 'ssid: "\\n"', "kernel.wlan: stored_ssid must be 1 to 32 printable characters"),
        ("ssid: a,", "", "kernel.wlan: key 'ssid' is missing"),
    ],
)
def test_wrong_wlan_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    assert WITH_WLAN.count(old) == 1
    with pytest.raises(LayoutError) as caught:
        parse_layout(WITH_WLAN.replace(old, new))
    assert str(caught.value) == f"board layout 'layout': {message}"


def test_two_devices_of_one_name_are_refused() -> None:
    device = next(line for line in GOOD.splitlines() if "block_size" in line)
    with pytest.raises(LayoutError, match="device 'nor' is there twice"):
        parse_layout(GOOD.replace(device, f"{device}\n{device}"))


@pytest.mark.parametrize(
    "text", ["", "- 1", "just words", "{a: " * 5000, "{[1]: 2}", "a: &a [*a]", "\0", "x" * (MAX_LAYOUT + 1)]
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(LayoutError) as refused:
        parse_layout(text)
    assert "\n" not in str(refused.value)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot read board layout"):
        load_layout(tmp_path)
    binary = tmp_path / "board.yaml"
    binary.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(LayoutError, match="is not UTF-8 text"):
        load_layout(binary)
    with pytest.raises(LayoutError, match="cannot write board layout"):
        save_layout(load_board("iot-board"), tmp_path)
