"""What strict mode says about operations that real parts forbid or do differently."""

from collections.abc import Callable

import pytest

from cloudsdk.errors import FlashError
from sim.flash import strict
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash, UnalignedWriteError, make_devices
from sim.flash.parts import part_named
from sim.flash.power import CutMoment, PowerCut
from sim.flash.strict import FlashMisuseError, Misuse, Rule, Strict

SERIAL = part_named("w25q64").geometry("nor_flash")
ONCHIP = part_named("stm32l475").geometry("onchip_flash")
SECTORS = part_named("stm32f407").geometry("onchip_flash")
Script = Callable[[NorFlash], None]


def rules(geometry: FlashGeometry, script: Script) -> list[tuple[Rule, int, int]]:
    """What a reporting device notes during `script`."""
    flash = NorFlash(geometry, strict=Strict.REPORT)
    script(flash)
    return [(misuse.rule, misuse.offset, misuse.length) for misuse in flash.misuses]


def writes(*pieces: tuple[int, bytes]) -> Script:
    def script(flash: NorFlash) -> None:
        for offset, data in pieces:
            flash.write(offset, data)

    return script


def test_serial_flash_may_clear_further_bits() -> None:
    assert rules(SERIAL, writes((0, b"\xff\x7f\x01"), (0, b"\x0f\x7f\x00"))) == []


def test_serial_flash_cannot_set_a_bit() -> None:
    assert rules(SERIAL, writes((0x100, b"\xf0\x7f"), (0x100, b"\xf0\x80"))) == [(Rule.LOST_BITS, 0x100, 2)]


def test_lost_bits_are_located() -> None:
    flash = NorFlash(SERIAL, strict=Strict.REPORT)
    flash.write(0x1F0, b"\x0f")
    flash.write(0, b"\xff" * 0x1F0 + b"\x3c" + b"\xff" * 16)
    assert flash.misuses == [
        Misuse("program", 0x100, 0x100, Rule.LOST_BITS, "0x3c over 0x0f at 0x1f0 leaves 0x0c; erase first")
    ]


def test_words_of_the_stm32f4_may_clear_further_bits() -> None:
    assert rules(SECTORS, writes((0, b"\xff\xff\xf0\xff"), (0, b"\x00\xff\x00"))) == []
    assert rules(SECTORS, writes((0, b"\0"), (0, b"\1"))) == [(Rule.LOST_BITS, 0, 1)]


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (bytes(8), []),
        (b"ABCDEFGH", [(Rule.PROGRAMMED_TWICE, 8, 8)]),
        (b"\0" * 7 + b"H", [(Rule.PROGRAMMED_TWICE, 8, 8)]),
        (b"\xff" * 8, [(Rule.PROGRAMMED_TWICE, 8, 8)]),
        (b"\0\0\0", [(Rule.PROGRAMMED_TWICE, 8, 3)]),
    ],
)
def test_double_word_is_programmed_once_then_only_to_zeros(
    second: bytes, found: list[tuple[Rule, int, int]]
) -> None:
    assert rules(ONCHIP, writes((0, b"01234567ABCDEFGH"), (8, second))) == found


def test_tail_of_a_write_uses_its_double_word_up() -> None:
    assert rules(ONCHIP, writes((0, b"abc"), (0, b"\xff\xff\xffd"))) == [(Rule.PROGRAMMED_TWICE, 0, 4)]


def test_erased_double_word_can_be_programmed_again() -> None:
    flash = NorFlash(ONCHIP, strict=Strict.RAISE)
    for _ in range(2):
        flash.erase(0, 2048)
        flash.write(0, b"ABCDEFGH")
    assert flash.misuses == []


@pytest.mark.parametrize(
    ("geometry", "offset", "length", "found"),
    [
        (SERIAL, 0x1000, 0x2000, []),
        (SERIAL, 0x1000, 0x1FFF, [(Rule.ERASE_RANGE, 0x1000, 0x1FFF)]),
        (SERIAL, 0x1001, 0x0FFF, [(Rule.ERASE_RANGE, 0x1001, 0x0FFF)]),
        (SECTORS, 0xC000, 0x14000, []),
        (SECTORS, 0xC000, 0x8000, [(Rule.ERASE_RANGE, 0xC000, 0x8000)]),
    ],
)
def test_erase_begins_and_ends_on_blocks(
    geometry: FlashGeometry, offset: int, length: int, found: list[tuple[Rule, int, int]]
) -> None:
    assert rules(geometry, lambda flash: flash.erase(offset, length)) == found


def test_page_program_over_the_end_of_the_page_is_noted() -> None:
    assert rules(SERIAL, lambda flash: flash.program_page(0xF0, bytes(17))) == [(Rule.PAGE_WRAP, 0xF0, 17)]
    assert rules(SERIAL, lambda flash: flash.program_page(0xF0, bytes(16))) == []


@pytest.mark.parametrize("mode", [Strict.REPORT, Strict.RAISE])
def test_unaligned_write_is_noted_and_refused_as_ever(mode: Strict) -> None:
    flash = NorFlash(ONCHIP, strict=mode)
    for program in (flash.write, flash.program_page):
        with pytest.raises(UnalignedWriteError):
            program(4, b"x")
    assert [(each.op, each.rule) for each in flash.misuses] == [
        ("write", Rule.UNALIGNED),
        ("program", Rule.UNALIGNED),
    ]


def test_raising_device_keeps_its_cells() -> None:
    flash = NorFlash(SERIAL, strict=Strict.RAISE)
    flash.write(0, b"\x0f")
    with pytest.raises(
        FlashMisuseError, match=r"0x3c over 0x0f at 0x0 leaves 0x0c; .* \[lost-bits\]"
    ) as refused:
        flash.write(0, b"\x3c")
    assert refused.value.code == "flash.misuse"
    with pytest.raises(FlashMisuseError):
        flash.erase(0, 100)
    with pytest.raises(FlashMisuseError):
        flash.program_page(255, b"\0\0")
    assert flash.read(0, 256) == b"\x0f" + b"\xff" * 255
    assert flash.misuse_count == 3


def test_write_stops_at_the_page_that_is_refused() -> None:
    flash = NorFlash(SERIAL, strict=Strict.RAISE)
    flash.write(256, b"\0")
    with pytest.raises(FlashMisuseError):
        flash.write(0, b"\x55" * 768)
    assert flash.read(0, 768) == b"\x55" * 256 + b"\0" + b"\xff" * 511


def test_reporting_device_does_what_the_model_does() -> None:
    lenient, reporting = NorFlash(SERIAL), NorFlash(SERIAL, strict=Strict.REPORT)
    for flash in (lenient, reporting):
        flash.write(10, b"\x0f" * 600)
        flash.write(0, b"\xf3" * 1000)
        flash.program_page(0x7F0, bytes(range(100)))
        flash.erase(5000, 100)
    assert reporting.read(0, 8192) == lenient.read(0, 8192)
    assert reporting.statistics == lenient.statistics
    assert reporting.misuse_count == 5
    assert (lenient.misuses, lenient.misuse_count) == ([], 0)


def test_refused_operation_is_a_flash_error_for_the_firmware() -> None:
    assert issubclass(FlashMisuseError, FlashError)


def test_misuse_of_an_operation_that_power_cuts_before_is_not_noted() -> None:
    flash = NorFlash(SERIAL, strict=Strict.RAISE)
    for moment, found in ((CutMoment.BEFORE, 0), (CutMoment.TORN, 1), (CutMoment.AFTER, 2)):
        flash.power.arm(lambda index, operation, moment=moment: moment)  # type: ignore[misc]
        with pytest.raises(PowerCut):
            flash.erase(0, 100)
        flash.power.restore()
        assert flash.misuse_count == found


def test_notes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict, "MAX_MISUSES", 3)
    flash = NorFlash(SERIAL, strict=Strict.REPORT)
    for offset in range(5):
        flash.erase(offset, 1)
    assert [misuse.offset for misuse in flash.misuses] == [0, 1, 2]
    assert flash.misuse_count == 5


def test_devices_of_a_board_can_all_be_strict() -> None:
    for flash in make_devices([ONCHIP, SERIAL], strict=Strict.RAISE).values():
        with pytest.raises(FlashMisuseError):
            flash.erase(0, 1)
