"""`fal`, `sf` and the ENV commands (console 9)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from msh_console import LAYOUT, Console

from cloudsdk.errors import FlashError
from sim.flash.fal import table_lines
from sim.flash.power import CutMoment, FlashOperation
from sim.msh.builtin.flash import number
from sim.msh.memory import MemoryBoard

VECTOR = Path(__file__).parents[1] / "data/easyflash/v3-52-shell-console/meta.json"
HEADER_BYTES = b"RBL" + bytes([0, *range(16)])
FAL_USAGE = """\
Usage:
fal probe [dev_name|part_name]   - probe flash device or partition by given name
fal read addr size               - read 'size' bytes starting at 'addr'
fal write addr data1 ... dataN   - write some bytes 'data' starting at 'addr'
fal erase addr size              - erase 'size' bytes starting at 'addr'
fal bench <blk_size>             - benchmark test with per block size

"""
NOT_PROBED = "No flash device or partition was probed. Please run 'fal probe'.\n"
FAILED = "This operate has an error. Error code: -1.\n"


def probed(name: str = "download") -> Console:
    console = Console()
    console.run(f"fal probe {name}")
    return console


def test_fal_session() -> None:
    console = Console()
    download = console.board.partitions.find("download")
    assert download is not None
    download.write(0, HEADER_BYTES)
    download.erase(4096, 4096)
    assert console.type("fal probe download\r") == (
        "fal probe download\n"
        "Probed a flash partition | download | flash_dev: nor_flash | offset: 524288 | len: 1048576 |.\n"
        "msh />"
    )
    assert console.run("fal read 0 20") == (
        "Read data success. Start from 0x00000000, size is 20. The data is:\n"
        "Offset (h) 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F\n"
        "[00000000] 52 42 4C 00 00 01 02 03 04 05 06 07 08 09 0A 0B \n"
        "[00000010] 0C 0D 0E 0F \n"
        "\n"
    )
    assert console.run("fal write 0 1 0x22") == (
        "Write data success. Start from 0x00000000, size is 2.\nWrite data: 1 34 .\n"
    )
    assert download.read(0, 2) == bytes([0x52 & 1, 0x42 & 0x22])
    assert console.run("fal erase 0 4096") == "Erase data success. Start from 0x00000000, size is 4096.\n"
    assert download.read(0, 2) == b"\xff\xff"
    assert console.run("fal bench 4096") == (
        "DANGER: It will erase full chip or partition! Please run 'fal bench 4096 yes'.\n"
    )
    assert console.run("fal bench 4096 yes") == (
        "Erasing 1048576 bytes data, waiting...\n"
        "Erase benchmark success, total time: 2.817S.\n"
        "Writing 1048576 bytes data, waiting...\n"
        "Write benchmark success, total time: 3.034S.\n"
        "Reading 1048576 bytes data, waiting...\n"
        "Read benchmark success, total time: 0.512S.\n"
    )
    assert console.waits == [2817, 3034, 512]
    assert b"\xff" not in download.read(0, download.size)


def test_fal_probes_devices_too() -> None:
    console = Console()
    assert console.run("fal probe nor_flash") == (
        "Probed a flash device | nor_flash | addr: 0 | len: 16777216 |.\n"
    )
    assert console.run("fal probe") == "Probed a flash device | nor_flash | addr: 0 | len: 16777216 |.\n"
    assert console.run("fal probe onchip_flash") == (
        "Probed a flash device | onchip_flash | addr: 134217728 | len: 524288 |.\n"
    )


def test_fal_usage_comes_without_a_target_but_not_for_an_unknown_subcommand() -> None:
    console = Console()
    assert console.run("fal") == FAL_USAGE
    assert console.run("fal x") == NOT_PROBED
    assert console.run("fal read 0 1") == NOT_PROBED
    console.run("fal probe app")
    assert console.run("fal x") == FAL_USAGE


def test_fal_bad_name_loses_the_target_and_shows_the_table() -> None:
    console = probed()
    box = "".join(f"\x1b[32;22m[I/FAL] {line}\x1b[0m\n" for line in table_lines(LAYOUT.partitions, app=True))
    assert "| bootloader | onchip_flash | 0x00000000 | 0x00010000 |" in box
    assert console.run("fal probe x") == (
        "Device x NOT found. Probe failed.\n"
        "No flash device or partition was probed.\n"
        "Usage: fal probe [dev_name|part_name]   - probe flash device or partition by given name.\n" + box
    )
    assert console.run("fal read 0 1") == NOT_PROBED


@pytest.mark.parametrize(("line", "row"), [("read 0", 2), ("write 0", 3), ("erase 0", 4), ("bench", 5)])
def test_fal_with_too_few_arguments(line: str, row: int) -> None:
    assert probed().run(f"fal {line}") == f"Usage: {FAL_USAGE.splitlines()[row]}.\n"


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("read 0xfffff 2", "fal_partition_read:346) Partition read"),
        ("write 0xfffff 1 2", "fal_partition_write:387) Partition write"),
        ("erase 0xfffff 2", "fal_partition_erase:426) Partition erase"),
        ("erase -1 1", "fal_partition_erase:426) Partition erase"),
    ],
)
def test_fal_out_of_bounds(line: str, where: str) -> None:
    assert probed().run(f"fal {line}") == (
        f"\x1b[31;22m[E/FAL] ({where} error! Partition address out of bound.\x1b[0m\n{FAILED}"
    )


def test_fal_driver_that_fails() -> None:
    assert probed("app").run("fal write 1 1") == FAILED
    assert probed("nor_flash").run("fal read 0xffffff 2") == FAILED


@pytest.mark.parametrize(
    "line", ["read 0 1000000", "read 0 -1", "bench 1000000 yes", "bench 0 yes", "bench -1 yes"]
)
def test_fal_never_takes_more_than_the_heap(line: str) -> None:
    assert probed().run(f"fal {line}") == "Low memory!\n"


def test_fal_benchmark_of_a_byte_at_a_time_ends_soon() -> None:
    console = probed("wifi_image")
    with console.board.partitions.devices["nor_flash"].power.recording() as operations:
        shown = console.run("fal bench 1 yes")
    assert shown.endswith("Read benchmark success, total time: 0.256S.\n")
    assert [each.length for each in operations] == [0x80000, *[4096] * 128]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1F", 31),
        ("0X1f", 31),
        ("010", 8),
        ("10", 10),
        ("-1", -1),
        ("+5", 5),
        ("12ab", 12),
        ("0x", 0),
        ("089", 0),
        ("x", 0),
        ("", 0),
        ("0xFFFFFFFF", 2**31 - 1),
        ("-99999999999", -(2**31)),
        ("9" * 5000, 2**31 - 1),
    ],
)
def test_numbers_are_those_of_c(text: str, value: int) -> None:
    assert number(text) == value


def test_sf_session() -> None:
    console = Console()
    assert console.run("sf read 0 1") == "No flash device selected. Please run 'sf probe'.\n"
    assert console.run("sf probe nope") == "ERROR: SPI device nope not found!\n"
    assert console.run("sf probe qspi10") == (
        "[SFUD] Find a Winbond flash chip. Size is 16777216 bytes.\n"
        "[SFUD] sf_cmd flash device is initialize success.\n"
        "16 MB sf_cmd is current selected device.\n"
    )
    assert console.run("sf erase 0x80000 4096") == (
        "Erase the sf_cmd flash data success. Start from 0x00080000, size is 4096.\n"
    )
    assert console.run("sf write 0x80000 82 66") == (
        "Write the sf_cmd flash data success. Start from 0x00080000, size is 2.\nWrite data: 82 66 .\n"
    )
    assert console.run("sf read 0x80000 18") == (
        "Read the sf_cmd flash data success. Start from 0x00080000, size is 18. The data is:\n"
        "Offset (h) 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F\n"
        "[00080000] 52 42" + " FF" * 14 + " RB..............\n"
        "[00080010] FF FF " + " " * 42 + "..\n"
        "\n"
    )
    assert console.run("sf status") == "The sf_cmd flash status register current value is 0x00.\n"
    assert console.run("sf status 1 28") == "Write the sf_cmd flash status register to 0x1C success.\n"
    assert console.run("sf status") == "The sf_cmd flash status register current value is 0x1C.\n"
    assert console.run("sf bench") == "DANGER: It will erase full chip! Please run 'sf bench yes'.\n"
    assert console.run("sf").startswith("Usage:\nsf probe [spi_device]  ")
    assert console.run("sf x") == ""
    assert console.run("sf probe").startswith("Usage: sf probe [spi_device] ")
    assert console.run("sf status 1 2 3").startswith("Usage: sf status [<volatile> <status>] ")
    assert console.run("sf read 0").startswith("Usage: sf read addr size ")
    assert console.run("sf read 0xffffff 2") == "This flash operate has an error. Error code: -1.\n"
    assert console.run("sf read 0 100000") == "Low memory!\n"


def test_sf_benchmark_takes_the_whole_chip() -> None:
    console = Console()
    console.run("sf probe qspi10")
    assert console.run("sf bench yes").startswith(
        "Erasing 16777216 bytes data, waiting...\nErase benchmark success, total time: 45.072S.\n"
    )
    assert console.board.partitions.devices["nor_flash"].read(0, 2) != b"\xff\xff"


# --- ENV ------------------------------------------------------------------------------------------------


def test_env_commands_print_what_was_recorded() -> None:
    meta = json.loads(VECTOR.read_text(encoding="utf-8"))
    lines = [operation[1] for operation in meta["ops"] if operation[0] == "msh"]
    shown = "".join(map(Console().run, lines))
    recorded = meta["ops_console"][2:-1]  # without the start, and without the call that is no command
    assert shown.splitlines() == recorded


def test_printenv_of_an_activated_board() -> None:
    console = Console()
    assert console.run("setenv cld_sn 123456789") == console.run("saveenv") == ""
    for key, value in {
        "cld_act": "true",
        "cld_usr": "9017444f3bec4453",
        "cld_did": "9017444f3bec4453",
        "cld_dev_mver": "0.0",
    }.items():
        assert console.run(f"setenv {key} {value}") == ""
    assert console.run("saveenv") == ""
    assert console.run("printenv") == (
        "boot_times=0\n"
        "cld_sn=123456789\n"
        "cld_act=true\n"
        "cld_usr=9017444f3bec4453\n"
        "cld_did=9017444f3bec4453\n"
        "cld_dev_mver=0.0\n"
        "\n"
        "mode: power fail safeguard\n"
        "size: 144/2048 bytes, write bytes 288/8192.\n"
        "saved count: 4\n"
        "ver num: 0\n"
    )


def test_a_changed_variable_moves_to_the_end() -> None:
    console = Console()
    for line in ("setenv a 1", "setenv b 2", "setenv a 3"):
        console.run(line)
    assert console.run("printenv").startswith("boot_times=0\nb=2\na=3\n\n")


def test_env_values_of_several_words() -> None:
    console = Console()
    for line, value in {
        "setenv k v": "v",
        "setenv k a b": "a b ",
        "setenv k a b c": "a b c ",
        "setenv k a  b": "a ",
        'setenv k "a b"': "a b",
        'setenv k "a b" c': "a b ",
        "setenv k a b ": "a b ",
    }.items():
        assert console.run(line) == ""
        assert console.run("getvalue k") == f"The k value is {value}.\n"


def test_env_lines_for_what_cannot_be() -> None:
    console = Console()
    assert console.run("setenv") == "Please input: setenv <key> [value]\n"
    assert console.run("setenv none") == '[Flash] Not find "none" in ENV.\n'
    assert console.run("setenv a=b c") == "[Flash] Flash ENV name can't contain '='.\n"
    assert console.run("getvalue none") == "Can't find none.\n"
    assert console.run("getvalue") == "[Flash] Flash ENV name must be not empty!\nCan't find (NULL).\n"


def test_a_full_env_says_nothing() -> None:
    console = Console()
    assert {console.run(f"setenv k{number} {'v' * 60}") for number in range(40)} == {""}
    assert console.run("getvalue k39") == "Can't find k39.\n"


def test_getvalue_of_a_long_value_loses_its_tail() -> None:
    console = Console()
    console.board.env.set("k", "v" * 300)
    assert console.run("getvalue k") == "The k value is " + "v" * 239 + "\0"


def test_env_before_its_start() -> None:
    console = Console(started=False)
    not_ready = "[Flash] ENV isn't initialize OK.\n"
    assert console.run("printenv") == console.run("saveenv") == console.run("setenv k v") == not_ready
    assert console.run("getvalue k") == not_ready + "Can't find k.\n"


def test_resetenv_and_saveenv_are_silent_when_flash_fails() -> None:
    def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
        raise FlashError("the driver says -1")

    console = Console()
    console.run("setenv k v")
    console.board.partitions.devices["nor_flash"].power.arm(trigger)
    assert "[Flash] Error: Erased ENV fault!" in console.run("saveenv")
    assert "[Flash] Error: Erased ENV fault!" in console.run("resetenv")


def test_a_board_without_a_place_for_the_env_is_refused() -> None:
    partitions = tuple(each for each in LAYOUT.partitions if each.name != "easyflash")
    with pytest.raises(FlashError):
        MemoryBoard(replace(LAYOUT, partitions=partitions), bytearray().extend)
