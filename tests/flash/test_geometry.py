"""Blocks and pages of a device, and the sizes that are refused."""

from typing import Any

import pytest

from sim.flash.geometry import MAX_DEVICE_SIZE, FlashGeometry, FlashTiming, GeometryError

NOR = FlashGeometry("nor_flash", 0, 0x10000, 4096, 256, 1)


def test_block_at_gives_the_enclosing_block() -> None:
    assert NOR.block_at(0) == (0, 4096)
    assert NOR.block_at(4095) == (0, 4096)
    assert NOR.block_at(4096) == (4096, 4096)


def test_touched_covers_whole_blocks() -> None:
    assert NOR.touched(4095, 2) == (0, 8192)
    assert NOR.touched(4096, 4096) == (4096, 4096)
    assert list(NOR.blocks(4095, 2)) == [(0, 4096), (4096, 4096)]


def test_pages_split_at_page_boundaries() -> None:
    assert list(NOR.pages(250, 300)) == [(250, 6), (256, 256), (512, 38)]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 0, 4096, 256, 1), "size 0 is not"),
        ((0, MAX_DEVICE_SIZE * 2, 4096, 256, 1), "is not 1 to"),
        ((-1, 8192, 4096, 256, 1), "address must not be negative"),
        ((0, 8192, 4095, 1, 1), "block_size 4095 does not divide size 8192"),
        ((0, 8192, 4096, 0, 1), "page_size 0 does not divide block_size 4096"),
        ((0, 8192, 4096, 256, 3), "program_unit 3 does not divide page_size 256"),
    ],
)
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int, int, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        FlashGeometry("x", *sizes)


SECTORS = FlashGeometry(
    "onchip_flash", 0, 0x100000, 16384, 4, 4, regions=((4, 16384), (1, 65536), (7, 131072))
)


@pytest.mark.parametrize(
    ("offset", "block"),
    [
        (0, (0, 0x4000)),
        (0xFFFF, (0xC000, 0x4000)),
        (0x10000, (0x10000, 0x10000)),
        (0x1FFFF, (0x10000, 0x10000)),
        (0x20000, (0x20000, 0x20000)),
        (0xFFFFF, (0xE0000, 0x20000)),
    ],
)
def test_regions_have_their_own_blocks(offset: int, block: tuple[int, int]) -> None:
    assert SECTORS.block_at(offset) == block


def test_ranges_cross_regions() -> None:
    assert list(SECTORS.blocks(0xC001, 0x20000)) == [(0xC000, 0x4000), (0x10000, 0x10000), (0x20000, 0x20000)]
    assert SECTORS.touched(0xFFFF, 2) == (0xC000, 0x14000)
    assert sum(size for _, size in SECTORS.blocks(0, SECTORS.size)) == SECTORS.size


def test_largest_block_is_of_the_touched_ones() -> None:
    assert SECTORS.largest_block(0, 0x10000) == 0x4000
    assert SECTORS.largest_block(0xC000, 0x4001) == 0x10000
    assert SECTORS.largest_block(0, SECTORS.size) == 0x20000
    assert NOR.largest_block(0, NOR.size) == 4096


SERIAL = FlashGeometry("nor_flash", 0, 0x40000, 4096, 256, 1, erase_sizes=(0x8000, 0x10000))


@pytest.mark.parametrize(
    ("offset", "length", "sizes"),
    [
        (0, 0x10000, [0x10000]),
        (0, 0x18000, [0x10000, 0x8000]),
        (0, 0xFFFF, [0x8000] + 8 * [0x1000]),
        (0x7000, 0x12000, [0x1000, 0x8000, 0x8000, 0x1000]),
        (0x100, 0x10000, 8 * [0x1000] + [0x8000, 0x1000]),
    ],
)
def test_erase_takes_the_largest_command_that_fits(offset: int, length: int, sizes: list[int]) -> None:
    commands = list(SERIAL.erase_commands(offset, length))
    assert [size for _, size in commands] == sizes
    start, extent = SERIAL.touched(offset, length)
    assert [position for position, _ in commands] == [start + sum(sizes[:n]) for n in range(len(sizes))]
    assert sum(sizes) == extent


def test_part_with_one_erase_command_erases_block_by_block() -> None:
    assert list(SECTORS.erase_commands(0xC001, 0x10000)) == list(SECTORS.blocks(0xC001, 0x10000))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"regions": ((1, 4096), (1, 8192))}, "regions have 12288 bytes of 16384"),
        ({"regions": ((0, 4096), (4, 4096))}, "region of 0 blocks"),
        ({"regions": ((1, 4097), (1, 12287))}, "region of 1 blocks of 4097"),
        ({"regions": ((2, 8192),)}, "block_size 4096 is not the smallest block 8192"),
        ({"regions": ((4, 4096),), "erase_sizes": (8192,)}, "erase_sizes are for uniform blocks"),
        ({"erase_sizes": (4096,)}, "4096 is no multiple of the next smaller 4096"),
        ({"erase_sizes": (8192, 12288)}, "12288 is no multiple of the next smaller 8192"),
        ({"endurance": 0}, "endurance 0"),
    ],
)
def test_impossible_facts_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        FlashGeometry("x", 0, 16384, 4096, 256, 1, **facts)


@pytest.mark.parametrize("numbers", [(-1, 0, ()), (0, -1, ()), (0, 0, ((4096, -1),))])
def test_negative_times_are_refused(numbers: tuple[int, int, tuple[tuple[int, int], ...]]) -> None:
    with pytest.raises(GeometryError, match="negative"):
        FlashTiming(*numbers)
