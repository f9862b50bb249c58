"""Blocks and pages of a device, and the sizes that are refused."""

import pytest

from sim.flash.geometry import MAX_DEVICE_SIZE, FlashGeometry, GeometryError

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
