"""The bootloader a layout names, its options in YAML, and boards that are made for it."""

from dataclasses import replace
from pathlib import Path

import pytest
from boot_bench import booted, layout

from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.package import failures, read_package
from flash_images import boards
from sim.board import create_board, furnish, make_board, open_board
from sim.bootloader.outcome import BootOutcome
from sim.bootloader.qboot import SIGNS
from sim.flash.facts import BOOTLOADER_KINDS, QBOOT_SIGNS, BootloaderFacts, LayoutError, QbootFacts
from sim.flash.layout import format_layout, load_board, parse_layout, with_bootloader

BANNERS = {
    "rt_ota": "RT-Thread Bootloader Starting...",
    "rt_ota+factory": "RT-Thread Bootloader Starting...",
    "qboot": "Qboot startup ...",
}


@pytest.mark.parametrize("kind", BOOTLOADER_KINDS)
def test_every_kind_boots_a_new_board(tmp_path: Path, kind: str) -> None:
    create_board(tmp_path, layout(kind), app_version="1.2.3")
    with open_board(tmp_path) as board:
        console, result = booted(board)
        assert BANNERS[kind] in console
        assert result.outcome is BootOutcome.JUMP
        header = board.installed("app")
        assert header is not None
        assert header.version_text == "1.2.3"
        assert (board.installed("bootloader") is None) == (kind == "qboot")
        assert (board.installed("factory") is None) == (kind == "rt_ota")


def test_factory_of_qboot_holds_a_package(tmp_path: Path) -> None:
    create_board(tmp_path / "board", layout("qboot"), app_version="1.2.3")
    with open_board(tmp_path / "board") as board:
        factory = board.partition("factory")
        header = RblHeader.unpack(factory.read(0, 96))
        (tmp_path / "factory.rbl").write_bytes(factory.read(0, 96 + header.body_size))
        assert not failures(read_package(tmp_path / "factory.rbl").verify())
        assert header.name_text == "app"


def test_a_tail_without_magic_is_no_firmware_to_qboot() -> None:
    for kind, valid in (("rt_ota", True), ("qboot", False)):
        board = make_board(layout(kind))
        wifi = board.partition("wifi_image")
        odd = replace(RblHeader.unpack(bytes(96)), magic=b"ODD\0").with_crc()
        wifi.write(wifi.size - 96, odd.pack())
        assert (board.installed("wifi_image") is not None) == valid


@pytest.mark.parametrize(
    "options",
    [
        QbootFacts(),
        QbootFacts("wdfk-1.1", 16, "thermostat", 5, 0x08020000, 0x90000000, 0x24000000),
    ],
)
def test_options_survive_yaml(options: QbootFacts) -> None:
    facts = layout("qboot", options)
    text = format_layout(facts)
    assert parse_layout(text) == facts
    assert "null" not in text


def test_other_bootloader_for_a_board() -> None:
    board = load_board("iot-board")
    assert with_bootloader(board, "rt_ota") is board
    assert with_bootloader(board, "qboot").bootloader.kind == "qboot"
    back = with_bootloader(layout("qboot", QbootFacts("wdfk-1.1")), "rt_ota")
    assert back.bootloader == BootloaderFacts()


@pytest.mark.parametrize("name", boards.names())
@pytest.mark.parametrize("kind", ["rt_ota", "qboot"])
def test_every_board_starts_with_either_bootloader(name: str, kind: str) -> None:
    board = make_board(with_bootloader(load_board(name), kind))
    furnish(board, app_version="1.0.0")
    assert board.boot(lambda _: None).outcome is BootOutcome.JUMP


def edited(old: str, new: str) -> str:
    text = format_layout(layout("qboot", QbootFacts()))
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: qboot", "kind: mcuboot", "'mcuboot' is not one of rt_ota, rt_ota+factory, qboot"),
        ("kind: qboot", "kind: rt_ota", "qboot has no meaning for kind rt_ota"),
        ("sign: v1.0.5", "sign: v9", "'v9' is not one of v1.0.5, wdfk-1.1"),
        ("sign: v1.0.5", "sign_align: 5", "sign_align 5 is not one of 4, 8, 16, 32"),
        ("sign: v1.0.5", f"product_code: {'x' * 24}", "at most 23"),
        ("sign: v1.0.5", "product_code: 12", "product_code must be text"),
        ("shell_seconds: 0", "shell_seconds: -1", "shell_seconds must be 0 to 3600"),
        ("ram_region: 0x20000000", "ram_region: 0x100000000", "ram_region must be 0 to"),
        ("shell_seconds: 0", "led: 1", "bootloader.qboot: unknown key 'led'"),
    ],
)
def test_impossible_options_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(edited(old, new))
    assert message in str(caught.value)


def test_recovery_needs_a_factory_partition() -> None:
    with pytest.raises(LayoutError, match="needs a partition 'factory'"):
        with_bootloader(load_board("iot-board"), "rt_ota+factory")


def test_every_sign_has_a_value() -> None:
    assert set(SIGNS) == set(QBOOT_SIGNS)
