"""Board layouts: what the IoT Board is, and one line for everything a layout can get wrong."""

from pathlib import Path

import pytest

from flash_images import boards
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import (
    MAX_LAYOUT,
    LayoutError,
    PartitionEntry,
    format_layout,
    load_board,
    load_layout,
    parse_layout,
    save_layout,
)

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


def test_unknown_board_names_the_known_ones() -> None:
    with pytest.raises(LayoutError, match=r"no board 'nosuch'.*iot-board"):
        load_board("nosuch")


def test_saved_layout_reads_back_equal(tmp_path: Path) -> None:
    board = load_board("iot-board")
    path = tmp_path / "board.yaml"
    save_layout(board, path)
    assert load_board(path) == board
    assert "offset: 0x00080000" in format_layout(board)


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
