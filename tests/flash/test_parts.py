"""The parts that come with the package."""

import pytest

from sim.flash.geometry import Reprogram
from sim.flash.parts import UnknownPartError, names, part_named

KIB = 1024


def test_parts_are_listed_by_name() -> None:
    assert names() == ("stm32f407", "stm32l475", "w25q128", "w25q64")


@pytest.mark.parametrize("name", names())
def test_every_part_makes_a_device(name: str) -> None:
    part = part_named(name)
    device = part.geometry("flash0")
    assert (device.name, device.part, device.address) == ("flash0", name, part.shape.address)
    assert part.description
    assert device.endurance
    assert device.timing.program_ns > 0
    assert device.timing.read_ns_per_byte > 0
    commands = {size for _, size in device.blocks(0, device.size)} | set(device.erase_sizes)
    assert {size for size, _ in device.timing.erase_ns} == commands


def test_device_can_lie_elsewhere() -> None:
    assert part_named("stm32l475").geometry("bank", 0x20000000).address == 0x20000000
    assert part_named("stm32l475").geometry("bank", 0).address == 0


def test_sizes_are_those_of_the_data_sheets() -> None:
    sizes = {name: (part_named(name).shape.size, part_named(name).shape.page_size) for name in names()}
    assert sizes == {
        "stm32f407": (1024 * KIB, 4),
        "stm32l475": (512 * KIB, 8),
        "w25q64": (8192 * KIB, 256),
        "w25q128": (16384 * KIB, 256),
    }


def test_sectors_of_the_stm32f407() -> None:
    shape = part_named("stm32f407").shape
    sizes = [size // KIB for _, size in shape.blocks(0, shape.size)]
    assert sizes == [16, 16, 16, 16, 64, 128, 128, 128, 128, 128, 128, 128]


def test_only_the_stm32l4_has_double_words_that_are_programmed_once() -> None:
    rules = {name: part_named(name).shape.reprogram for name in names()}
    assert rules.pop("stm32l475") is Reprogram.ZERO
    assert set(rules.values()) == {Reprogram.CLEAR}


def test_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownPartError, match=r"no flash part '../boards/iot-board'; parts: stm32f407, "):
        part_named("../boards/iot-board")
