"""Boards from a project's own files: `fal_cfg.h`, and the table inside a firmware image."""

from pathlib import Path

import pytest

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.lint import Finding, Severity
from flash_images import samples
from sim.flash.c_text import CTextError
from sim.flash.facts import AppFacts, LayoutError
from sim.flash.fal import encode_table
from sim.flash.fal_cfg import MAX_HEADER, MAX_TABLE, parse_fal_cfg
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import PartitionEntry, load_board
from sim.flash.layout_source import Given, SourceKind, parse_device, read_source
from sim.flash.parts import part_named

IOT_BOARD = load_board("iot-board")
DEVICES = (parse_device("onchip_flash=stm32l475"), parse_device("nor_flash=w25q128"))

#: Written as RT-Thread projects write it; the tables are those of the IoT Board.
HEADER = r"""
/*
 * Flash layout \
 */
#ifndef _FAL_CFG_H_
#define _FAL_CFG_H_

#include <rtthread.h>
#include <board.h>

#define NOR_FLASH_DEV_NAME   "nor_flash"   // behind QSPI
#define KB                   * 1024u
#define DOWNLOAD_OFFSET      (512 KB)
#define DOWNLOAD_SIZE        ((uint32_t)1 << 20)

/* ===================== Flash device Configuration ========================= */
extern const struct fal_flash_dev stm32_onchip_flash;
extern struct fal_flash_dev nor_flash0;

#define FAL_FLASH_DEV_TABLE                                          \
{                                                                    \
    &stm32_onchip_flash, /* on chip */                               \
    &nor_flash0,                                                     \
}
/* ====================== Partition Configuration ========================== */
#ifdef FAL_PART_HAS_TABLE_CFG
//#define FAL_PART_TABLE \
{ {FAL_PART_MAGIC_WORD, "old", "nor_flash", 0, 4096, 0}, }

#if defined(BSP_USING_SMALL_FLASH)
#define FAL_PART_TABLE  { {FAL_PART_MAGIC_WORD, "app", "onchip_flash", 0, 128 KB, 0} }
#else
#define FAL_PART_TABLE                                                                                   \
{                                                                                                        \
    {FAL_PART_MAGIC_WORD, "bootloader", "onchip_flash",                     0,       64 * 1024, 0},      \
    {FAL_PART_MAGIC_WROD,        "app", "onchip_flash",             64 * 1024,      448 * 1024, 0},      \
    {0x45503130,          "easy" "flash", NOR_FLASH_DEV_NAME,               0,       512 * 1024},        \
    {FAL_PART_MAGIC_WORD,   "download", NOR_FLASH_DEV_NAME, DOWNLOAD_OFFSET,    DOWNLOAD_SIZE, 0},       \
    {FAL_PART_MAGIC_WORD, "wifi_image", NOR_FLASH_DEV_NAME, (512 + 1024) * 1024,   512 * 1024, 0},       \
    {FAL_PART_MAGIC_WORD,       "font", NOR_FLASH_DEV_NAME,          2 << 20 | 0, 7 * 1024 * 1024, 0},   \
    {FAL_PART_MAGIC_WORD, "filesystem", NOR_FLASH_DEV_NAME,           0x900000UL, 0xE00000 / 2, 0},      \
}
#endif
#endif /* FAL_PART_HAS_TABLE_CFG */
#endif /* _FAL_CFG_H_ */
"""


def ids(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.id) for finding in findings]


def test_header_of_the_iot_board_gives_its_table() -> None:
    config = parse_fal_cfg(HEADER)
    assert config.partitions == IOT_BOARD.partitions
    assert config.flash_symbols == ("stm32_onchip_flash", "nor_flash0")
    assert parse_fal_cfg(HEADER.replace("\n", "\r\n")) == config


def test_configuration_of_the_project_chooses_the_table() -> None:
    config = parse_fal_cfg(HEADER, {"BSP_USING_SMALL_FLASH": "1"})
    assert config.partitions == (PartitionEntry("app", "onchip_flash", 0, 128 * 1024),)


def row(text: str) -> str:
    return f"#define FAL_PART_TABLE {{ {text} }}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FAL_PART_TABLE is defined"),
        ("#ifdef CUSTOM\n" + row("") + "\n#endif", "give --define NAME of that condition"),
        ("#define FAL_PART_TABLE 5", "FAL_PART_TABLE is no list in braces"),
        (row("{1, 2"), "the brackets of FAL_PART_TABLE do not pair up"),
        (row("}{"), "the brackets of FAL_PART_TABLE do not pair up"),
        (row("5"), "FAL_PART_TABLE[0] is no list in braces"),
        (row("{FAL_PART_MAGIC_WORD}"), "FAL_PART_TABLE[0] has 1 fields; a row is {magic, name"),
        (row('{1, "a", "b", 0, 1, 0}'), "FAL_PART_TABLE[0]: does not begin with the magic word"),
        (row('{.name = "a", 0, 0, 0, 0, 0}'), "FAL_PART_TABLE[0]: '.' is no number"),
        (row("{FAL_PART_MAGIC_WORD, a, b, 0, 1, 0}"), "a is not defined: give --define a='\"NAME\"'"),
        (row('{FAL_PART_MAGIC_WORD, 1, "b", 0, 1, 0}'), "'1' is no name in double quotes"),
        (row('{FAL_PART_MAGIC_WORD, , "b", 0, 1, 0}'), "'' is no name in double quotes"),
        (row('{FAL_PART_MAGIC_WORD, "a", "b", sizeof(x), 1, 0}'), "sizeof is not defined"),
        (row('{FAL_PART_MAGIC_WORD, "a", "b", 0, 1, 0},' * (MAX_TABLE + 1)), "more than 1024 rows"),
        (" " * (MAX_HEADER + 1), "more than 262144 characters"),
    ],
)
def test_header_that_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(CTextError) as refused:
        parse_fal_cfg(text)
    assert message in str(refused.value)


def test_source_tells_by_itself_what_it_is(tmp_path: Path) -> None:
    image = samples.bootloader(encode_table(IOT_BOARD.partitions))
    (tmp_path / "fal_cfg.h").write_bytes(HEADER.encode() + "// 分区".encode("gbk"))
    (tmp_path / "layout").write_text(HEADER)
    (tmp_path / "bootloader.bin").write_bytes(image)
    (tmp_path / "board.yaml").write_text("# FAL_PART_TABLE\nname: [")
    for name, kind in (
        ("fal_cfg.h", SourceKind.FAL_CFG),
        ("layout", SourceKind.FAL_CFG),
        ("bootloader.bin", SourceKind.IMAGE),
    ):
        found, draft = read_source(str(tmp_path / name), Given(DEVICES))
        assert found is kind
        assert draft.partitions == IOT_BOARD.partitions
        assert draft.devices == DEVICES
        assert draft.name == name.partition(".")[0]
        assert draft.app == AppFacts(0x08010000)
        assert draft.findings() == ()
        assert draft.board().partitions == IOT_BOARD.partitions
    with pytest.raises(LayoutError, match="not YAML"):
        read_source(str(tmp_path / "board.yaml"), Given())
    kind, draft = read_source("iot-board", Given())
    assert (kind, draft.board()) == (SourceKind.LAYOUT, IOT_BOARD)


def test_table_is_found_in_intel_hex(tmp_path: Path) -> None:
    intelhex = pytest.importorskip("intelhex")
    image = intelhex.IntelHex()
    image.puts(0x08008000, encode_table(IOT_BOARD.partitions))
    image.write_hex_file(str(tmp_path / "boot.hex"))
    _, draft = read_source(str(tmp_path / "boot.hex"), Given(DEVICES))
    assert draft.board().partitions == IOT_BOARD.partitions


def test_device_without_geometry_is_noticed_and_has_to_be_given(tmp_path: Path) -> None:
    path = tmp_path / "fal_cfg.h"
    path.write_text(HEADER)
    _, draft = read_source(str(path), Given(DEVICES[:1]))
    assert ids(draft.findings()) == [("note", "device-undescribed")]
    with pytest.raises(LayoutError, match="give --device nor_flash=PART"):
        draft.board()


def test_short_device_table_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "fal_cfg.h"
    path.write_text(HEADER.replace("    &nor_flash0,", "    "))
    _, draft = read_source(str(path), Given(DEVICES))
    (finding,) = draft.findings()
    assert (finding.id, finding.severity) == ("device-table", Severity.WARNING)
    assert "has 1 of the 2 devices" in finding.message


def test_application_may_have_another_name(tmp_path: Path) -> None:
    path = tmp_path / "my board!.h"
    path.write_text(HEADER.replace('"app"', '"firmware"'))
    _, draft = read_source(str(path), Given(DEVICES))
    assert ids(draft.findings()) == [("error", "role-missing")]
    _, draft = read_source(str(path), Given(DEVICES, app="firmware"))
    assert draft.findings() == ()
    assert (draft.name, draft.app) == ("my-board", AppFacts(0x08010000, "firmware"))
    assert read_source(str(path), Given(DEVICES, app="firmware", name="mine"))[1].name == "mine"


@pytest.mark.parametrize(
    ("text", "geometry"),
    [
        ("flash=w25q64", part_named("w25q64").geometry("flash")),
        ("flash=w25q64@0x90000000", part_named("w25q64").geometry("flash", 0x90000000)),
        ("f=512K/2K/8/8@0x08000000", FlashGeometry("f", 0x08000000, 0x80000, 2048, 8, 8)),
        ("f=0x100000/4096/256/1", FlashGeometry("f", 0, 0x100000, 4096, 256, 1)),
    ],
)
def test_device_is_a_part_or_numbers(text: str, geometry: FlashGeometry) -> None:
    assert parse_device(text) == geometry


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("flash", "cloudsim.usage"),
        ("=w25q64", "cloudsim.usage"),
        ("f=nosuch", "flash.part"),
        ("f=1M/4K", "cloudsim.usage"),
        ("f=1M/4K/256/x", "cloudsim.usage"),
        ("f=1M/4K/256/1@", "cloudsim.usage"),
        ("f=w25q64@-1", "cloudsim.usage"),
        ("f=1M/4K/256/0", "flash.geometry"),
        ("f=1000M/4K/256/1", "flash.geometry"),
        ("f=9999999999999999M/4K/256/1", "cloudsim.usage"),
        ("f=w25q64@0xFFFFFFFFFFFFFFFF", "cloudsim.usage"),
        ("f=99999999999999999/4K/256/1", "cloudsim.usage"),
    ],
)
def test_wrong_device_is_refused(text: str, code: str) -> None:
    with pytest.raises(CloudSdkError) as refused:
        parse_device(text)
    assert refused.value.code == code
    assert refused.value.exit_status == (1 if code == "flash.geometry" else 2)


def test_layout_file_takes_nothing_from_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is changed in the file"):
        read_source("iot-board", Given(DEVICES))
    with pytest.raises(UsageError, match=r"cannot read .*boards: .*iot-board"):
        read_source(str(tmp_path / "absent"), Given())
