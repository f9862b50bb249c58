"""The flash model: program is AND, erase is by blocks, nothing reaches outside."""

import pytest

from cloudsdk.errors import FlashError, OutOfBoundsError
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash, UnalignedWriteError, make_devices
from sim.flash.pages import MemoryPages
from sim.flash.parts import part_named
from sim.flash.statistics import WearSummary

SPI = FlashGeometry("nor_flash", 0, 64 * 1024, 4096, 256, 1)
ONCHIP = FlashGeometry("onchip_flash", 0x08000000, 64 * 1024, 2048, 8, 8)


def test_new_device_is_erased() -> None:
    assert NorFlash(SPI).read(0, SPI.size) == b"\xff" * SPI.size


def test_program_over_erased_cells_stores_the_data() -> None:
    flash = NorFlash(SPI)
    data = bytes(range(256)) * 20
    flash.write(4000, data)
    assert flash.read(4000, len(data)) == data
    assert flash.read(3999, 1) + flash.read(4000 + len(data), 1) == b"\xff\xff"
    assert (flash.statistics.dirty_programs, flash.statistics.lost_programs) == (0, 0)


def test_program_is_and() -> None:
    flash = NorFlash(SPI)
    flash.write(10, b"\xf0\x0f\xff\x00")
    flash.write(9, b"\xaa\x3c\x3c\x55\xff\x12")
    assert flash.read(9, 6) == b"\xaa\x30\x0c\x55\x00\x12"


def test_clearing_further_bits_is_dirty_but_loses_nothing() -> None:
    flash = NorFlash(SPI)
    flash.write(0, b"\x7f")
    flash.write(0, b"\x3f")
    assert flash.read(0, 1) == b"\x3f"
    assert (flash.statistics.dirty_programs, flash.statistics.lost_programs) == (1, 0)


def test_setting_a_cleared_bit_is_lost() -> None:
    flash = NorFlash(SPI)
    flash.write(0, b"\x3f")
    flash.write(0, b"\x7f")
    assert flash.read(0, 1) == b"\x3f"
    assert flash.statistics.lost_programs == 1


def test_dirty_is_counted_by_pages() -> None:
    flash = NorFlash(SPI)
    flash.write(256, b"\0")
    flash.write(0, b"\xff" * 1024)
    assert flash.statistics.programs == 1 + 4
    assert (flash.statistics.dirty_programs, flash.statistics.lost_programs) == (1, 1)
    assert flash.statistics.bytes_programmed == 1 + 1024


def test_counters_do_not_depend_on_who_watches() -> None:
    counters = []
    for fine in (False, True):
        flash = NorFlash(SPI)
        flash.write(256, b"\0")
        with flash.power.recording(fine=fine):
            flash.write(100, b"\xff" * 1000)
            flash.erase(100, 5000)
        counters.append((flash.statistics, flash.read(0, 8192)))
    assert counters[0] == counters[1]


def test_erase_sets_all_touched_blocks() -> None:
    flash = NorFlash(SPI)
    flash.write(0, b"\0" * 4 * 4096)
    flash.erase(4096 + 100, 4096)
    assert flash.read(0, 4 * 4096) == b"\0" * 4096 + b"\xff" * 2 * 4096 + b"\0" * 4096
    assert flash.statistics.block_erases == 2
    assert [flash.wear(offset) for offset in (0, 4096, 8192, 12288)] == [0, 1, 1, 0]


def test_blocks_smaller_than_a_store_page_are_erased_alone() -> None:
    flash = NorFlash(ONCHIP)
    flash.write(0, b"\0" * 4096)
    flash.erase(2048, 1)
    assert flash.read(0, 4096) == b"\0" * 2048 + b"\xff" * 2048


def test_onchip_write_must_start_on_a_double_word() -> None:
    flash = NorFlash(ONCHIP)
    flash.write(8, b"abc")
    assert flash.read(8, 8) == b"abc\xff\xff\xff\xff\xff"
    with pytest.raises(UnalignedWriteError, match="units of 8 bytes"):
        flash.write(12, b"abcd")


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, SPI.size + 1), (SPI.size, 1), (10, -1), (2**70, 1)]
)
def test_range_outside_the_device_is_refused(offset: int, length: int) -> None:
    flash = NorFlash(SPI)
    with pytest.raises(OutOfBoundsError):
        flash.read(offset, length)
    with pytest.raises(OutOfBoundsError):
        flash.erase(offset, length)
    if length >= 0:
        with pytest.raises(OutOfBoundsError):
            flash.write(offset, b"\0" * length)
    assert flash.read(0, SPI.size) == b"\xff" * SPI.size


def test_empty_range_is_no_operation() -> None:
    flash = NorFlash(SPI)
    flash.write(SPI.size, b"")
    flash.erase(SPI.size, 0)
    assert flash.read(SPI.size, 0) == b""
    assert flash.power.operations == 0


def test_content_must_have_the_size_of_the_device() -> None:
    with pytest.raises(FlashError, match="content of 4096 bytes"):
        NorFlash(SPI, MemoryPages(4096))


def test_devices_of_a_board_share_one_supply() -> None:
    content = MemoryPages(SPI.size, b"hello")
    devices = make_devices([ONCHIP, SPI], pages={"nor_flash": content})
    assert list(devices) == ["onchip_flash", "nor_flash"]
    assert devices["onchip_flash"].power is devices["nor_flash"].power
    assert devices["nor_flash"].read(0, 5) == b"hello"


def test_page_program_wraps_within_its_page() -> None:
    flash = NorFlash(SPI)
    flash.program_page(0x1F8, bytes(range(12)))
    assert flash.read(0x100, 0x110) == (
        bytes(range(8, 12)) + b"\xff" * (0xF8 - 4) + bytes(range(8)) + b"\xff" * 16
    )


def test_of_more_than_a_page_the_end_is_programmed() -> None:
    flash = NorFlash(SPI)
    flash.program_page(0x110, bytes(100) + bytes(range(256)))
    first = (0x10 + 100) % 256
    assert flash.read(0x100, 256) == bytes(range(256 - first, 256)) + bytes(range(256 - first))
    assert flash.read(0x200, 1) == flash.read(0xFF, 1) == b"\xff"


def test_page_program_stays_in_the_last_page_of_the_device() -> None:
    flash = NorFlash(SPI)
    flash.program_page(SPI.size - 1, b"ab")
    assert flash.read(SPI.size - 256, 256) == b"b" + b"\xff" * 254 + b"a"
    with pytest.raises(OutOfBoundsError):
        flash.program_page(SPI.size, b"a")


def test_page_program_is_one_driver_call() -> None:
    flash = NorFlash(SPI)
    with flash.power.recording() as calls, flash.power.recording(fine=True) as primitives:
        flash.program_page(250, bytes(10))
        flash.program_page(0, b"")
    assert [each.facts for each in calls] == [
        {"device": "nor_flash", "op": "program", "offset": 250, "length": 10}
    ]
    assert [(each.offset, each.length) for each in primitives] == [(250, 6), (0, 4)]


def test_erase_uses_large_commands_where_the_part_has_them() -> None:
    flash = NorFlash(part_named("w25q64").geometry("nor_flash"))
    flash.write(0, bytes(0x20000))
    with flash.power.recording() as calls, flash.power.recording(fine=True) as primitives:
        flash.erase(0x8000, 0x19000)
    assert [(each.offset, each.length) for each in calls] == [(0x8000, 0x19000)]
    assert [(each.offset, each.length) for each in primitives] == [
        (0x8000, 0x8000),
        (0x10000, 0x10000),
        (0x20000, 0x1000),
    ]
    assert flash.read(0, 0x21000) == bytes(0x8000) + b"\xff" * 0x19000
    assert flash.statistics.block_erases == 25
    assert flash.statistics.erase_commands == {0x8000: 1, 0x10000: 1, 0x1000: 1}
    assert set(flash.wear_table()) == set(range(0x8000, 0x21000, 0x1000))


def test_erase_of_a_part_with_sectors_takes_them_whole() -> None:
    flash = NorFlash(part_named("stm32f407").geometry("onchip_flash"))
    flash.write(0, bytes(flash.size))
    flash.erase(0xFFFF, 0x10002)
    assert flash.read(0, flash.size) == bytes(0xC000) + b"\xff" * 0x34000 + bytes(0xC0000)
    assert flash.wear_table() == {0xC000: 1, 0x10000: 1, 0x20000: 1}
    assert (flash.wear(0x3FFFF), flash.wear(0x40000)) == (1, 0)


def test_busy_time_follows_from_what_was_done() -> None:
    geometry = part_named("w25q64").geometry("nor_flash")
    flash = NorFlash(geometry)
    assert flash.statistics.busy == 0
    flash.read(0, 1000)
    assert flash.statistics.busy == 160
    flash.write(255, b"ab")
    assert flash.statistics.busy == 160 + 2 * 700
    flash.erase(0, 0x19000)
    assert flash.statistics.busy == 160 + 2 * 700 + 150_000 + 120_000 + 45_000


def test_device_without_times_is_never_busy() -> None:
    flash = NorFlash(SPI)
    flash.write(0, bytes(1000))
    flash.erase(0, 1000)
    assert flash.statistics.busy == 0


def test_wear_goes_on_where_an_earlier_device_stopped() -> None:
    first = NorFlash(SPI)
    first.erase(0, 8192)
    first.erase(4096, 1)
    assert first.wear_table() == {0: 1, 4096: 2}
    second = make_devices([SPI], wear={"nor_flash": first.wear_table()})["nor_flash"]
    second.erase(4096, 8192)
    assert second.wear_table() == {0: 1, 4096: 3, 8192: 1}
    assert second.wear_summary() == WearSummary(blocks=3, erases=5, worst=4096, worst_erases=3)
    assert second.statistics.block_erases == 2
    assert NorFlash(SPI).wear_summary() == WearSummary(0, 0, 0, 0)


@pytest.mark.parametrize("table", [{100: 1}, {SPI.size: 1}, {-4096: 1}, {0: -1}])
def test_wear_of_no_block_is_refused(table: dict[int, int]) -> None:
    with pytest.raises(FlashError, match="wear of nor_flash"):
        NorFlash(SPI, wear=table)
