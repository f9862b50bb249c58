"""The flash model: program is AND, erase is by blocks, nothing reaches outside."""

import pytest

from cloudsdk.errors import FlashError, OutOfBoundsError
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash, UnalignedWriteError, make_devices
from sim.flash.pages import MemoryPages

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
