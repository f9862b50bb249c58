"""Power cuts at driver calls and at primitives."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import pytest

from cloudsdk.errors import FlashError
from sim.flash.faults import BadBlock, BitFlips, Failure, FaultPlan, WearLimit
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages
from sim.flash.parts import part_named
from sim.flash.power import (
    CutMoment,
    FlashOperation,
    OperationFailedError,
    PowerCut,
    PowerSupply,
    TornStyle,
    Trigger,
)
from sim.flash.strict import Strict

GEOMETRY = FlashGeometry("nor_flash", 0, 64 * 1024, 4096, 256, 1)
SIZE = 3 * 4096


def at(number: int, moment: CutMoment) -> Trigger:
    return lambda index, operation: moment if index == number else None


def written() -> NorFlash:
    flash = NorFlash(GEOMETRY)
    flash.write(0, b"\0" * SIZE)
    return flash


@pytest.mark.parametrize(
    ("moment", "done"), [(CutMoment.BEFORE, 0), (CutMoment.TORN, 500), (CutMoment.AFTER, 1000)]
)
def test_cut_write_leaves_a_prefix(moment: CutMoment, done: int) -> None:
    flash = NorFlash(GEOMETRY)
    flash.power.arm(at(0, moment))
    with pytest.raises(PowerCut) as cut:
        flash.write(100, b"\0" * 1000)
    assert cut.value.operation == FlashOperation("nor_flash", "write", 100, 1000)
    assert cut.value.moment is moment
    flash.power.restore()
    assert flash.read(100, 1000) == b"\0" * done + b"\xff" * (1000 - done)


@pytest.mark.parametrize(
    ("moment", "done"), [(CutMoment.BEFORE, 0), (CutMoment.TORN, 4096), (CutMoment.AFTER, 8192)]
)
def test_cut_erase_leaves_the_first_blocks_erased(moment: CutMoment, done: int) -> None:
    flash = written()
    flash.power.arm(at(0, moment))
    with pytest.raises(PowerCut):
        flash.erase(100, 5000)
    flash.power.restore()
    assert flash.read(0, SIZE) == b"\xff" * done + b"\0" * (SIZE - done)


def test_torn_erase_of_one_block_erases_half_of_it() -> None:
    flash = written()
    flash.power.arm(at(0, CutMoment.TORN))
    with pytest.raises(PowerCut):
        flash.erase(4096, 4096)
    flash.power.restore()
    assert flash.read(0, SIZE) == b"\0" * 4096 + b"\xff" * 2048 + b"\0" * 6144


@pytest.mark.parametrize(("fraction", "done"), [(0.0, 0), (0.25, 250), (1.0, 999)])
def test_torn_fraction_can_be_set_but_never_completes_the_operation(fraction: float, done: int) -> None:
    flash = NorFlash(GEOMETRY, power=PowerSupply(torn_fraction=fraction))
    flash.power.arm(at(0, CutMoment.TORN))
    with pytest.raises(PowerCut):
        flash.write(0, b"\0" * 1000)
    flash.power.restore()
    assert flash.read(0, 1000) == b"\0" * done + b"\xff" * (1000 - done)


def test_fine_trigger_sees_pages_and_blocks() -> None:
    flash = NorFlash(GEOMETRY)
    with flash.power.recording() as calls, flash.power.recording(fine=True) as primitives:
        flash.write(200, b"\0" * 400)
        flash.erase(100, 5000)
    assert [(each.op, each.offset, each.length) for each in calls] == [
        ("write", 200, 400),
        ("erase", 100, 5000),
    ]
    assert [(each.op, each.offset, each.length) for each in primitives] == [
        ("program", 200, 56),
        ("program", 256, 256),
        ("program", 512, 88),
        ("erase", 0, 4096),
        ("erase", 4096, 4096),
    ]


@pytest.mark.parametrize(
    ("number", "moment", "done"),
    [
        (0, CutMoment.BEFORE, 0),
        (0, CutMoment.TORN, 28),
        (0, CutMoment.AFTER, 56),
        (1, CutMoment.BEFORE, 56),
        (2, CutMoment.TORN, 56 + 256 + 44),
    ],
)
def test_fine_cut_stops_between_and_inside_pages(number: int, moment: CutMoment, done: int) -> None:
    flash = NorFlash(GEOMETRY)
    flash.power.arm(at(number, moment), fine=True)
    with pytest.raises(PowerCut):
        flash.write(200, b"\0" * 400)
    flash.power.restore()
    assert flash.read(200, 400) == b"\0" * done + b"\xff" * (400 - done)


@pytest.mark.parametrize(
    "access",
    [lambda flash: flash.read(0, 1), lambda flash: flash.write(0, b"\0"), lambda flash: flash.erase(0, 1)],
)
def test_nothing_works_until_power_is_restored(access: Callable[[NorFlash], object]) -> None:
    power = PowerSupply()
    flash, neighbour = NorFlash(GEOMETRY, power=power), NorFlash(GEOMETRY, power=power)
    power.arm(at(0, CutMoment.AFTER))
    with pytest.raises(PowerCut):
        flash.write(0, b"\x0f")
    assert not power.on
    for device in (flash, neighbour):
        with pytest.raises(PowerCut) as again:
            access(device)
        assert again.value.operation == FlashOperation("nor_flash", "write", 0, 1)
    assert power.operations == 1
    power.restore()
    access(flash)
    assert neighbour.read(0, 1) == b"\xff"


def test_cut_operation_is_recorded_and_later_ones_are_not() -> None:
    flash = NorFlash(GEOMETRY)
    flash.power.arm(at(1, CutMoment.BEFORE))
    with flash.power.recording() as calls:
        flash.write(0, b"\0")
        for _ in range(2):
            with pytest.raises(PowerCut):
                flash.erase(0, 1)
    assert [each.op for each in calls] == ["write", "erase"]


def test_recordings_nest_and_end_by_themselves() -> None:
    flash = NorFlash(GEOMETRY)
    with flash.power.recording() as outer:
        with flash.power.recording() as inner:
            pass
        flash.write(0, b"\0")
    flash.write(1, b"\0")
    assert (len(outer), len(inner)) == (1, 0)


def test_index_counts_from_arming_and_goes_on_over_a_cut() -> None:
    flash = NorFlash(GEOMETRY)
    flash.write(0, b"\0")
    seen = []

    def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
        seen.append((index, operation.offset))
        return CutMoment.BEFORE if index in {1, 2} else None

    flash.power.arm(trigger)
    flash.write(1, b"\0")
    for offset in (2, 3):
        with pytest.raises(PowerCut):
            flash.write(offset, b"\0")
        flash.power.restore()
    flash.power.disarm()
    flash.write(4, b"\0")
    assert seen == [(0, 1), (1, 2), (2, 3)]
    assert flash.power.operations == 5


def test_trigger_can_make_the_driver_fail() -> None:
    flash = NorFlash(GEOMETRY)

    def worn_out(index: int, operation: FlashOperation) -> CutMoment | None:
        raise FlashError("worn out")

    flash.power.arm(worn_out)
    with pytest.raises(FlashError):
        flash.write(0, b"\0")
    assert flash.power.on
    assert flash.read(0, 1) == b"\xff"


def test_firmware_cannot_catch_a_power_cut() -> None:
    assert not issubclass(PowerCut, Exception)


def cut_by_bits(flash: NorFlash, number: int, fraction: float, *, fine: bool = False) -> None:
    """Arm `flash` to tear operation `number` in the style `BITS`."""
    flash.power.torn_style, flash.power.torn_fraction = TornStyle.BITS, fraction
    flash.power.arm(at(number, CutMoment.TORN), fine=fine)


def torn_write(fraction: float, offset: int = 0x100, length: int = 0x300) -> int:
    """Bits that a torn write of zeros to erased cells had cleared, as a number."""
    flash = NorFlash(GEOMETRY)
    cut_by_bits(flash, 0, fraction)
    with pytest.raises(PowerCut):
        flash.write(offset, bytes(length))
    flash.power.restore()
    return int.from_bytes(flash.read(offset, length)) ^ ((1 << 8 * length) - 1)


def test_torn_write_by_bits_is_ragged_in_one_page_only() -> None:
    done = torn_write(0.5).to_bytes(0x300)
    assert done[:0x100] == b"\xff" * 0x100
    assert 700 < int.from_bytes(done[0x100:0x200]).bit_count() < 1350  # of 2048
    assert done[0x200:] == bytes(0x100)


def test_torn_erase_by_bits_is_ragged_in_one_block_only() -> None:
    flash = written()
    cut_by_bits(flash, 0, 0.5)
    with pytest.raises(PowerCut):
        flash.erase(0, SIZE)
    flash.power.restore()
    assert flash.read(0, 4096) == b"\xff" * 4096
    assert 14_000 < int.from_bytes(flash.read(4096, 4096)).bit_count() < 19_000  # of 32768
    assert flash.read(8192, 4096) == bytes(4096)


def test_torn_erase_command_by_bits_is_ragged_in_all_its_blocks() -> None:
    flash = NorFlash(replace(GEOMETRY, erase_sizes=(0x8000,)))
    flash.write(0, bytes(0x8000))
    cut_by_bits(flash, 0, 0.5, fine=True)
    with pytest.raises(PowerCut):
        flash.erase(0, 0x8000)
    flash.power.restore()
    blocks = {flash.read(start, 4096) for start in range(0, 0x8000, 4096)}
    assert len(blocks) == 8
    assert all(14_000 < int.from_bytes(block).bit_count() < 19_000 for block in blocks)


def test_torn_erase_by_bits_only_sets_bits() -> None:
    flash = NorFlash(GEOMETRY)
    old = random.Random(3).randbytes(4096)
    flash.write(0, old)
    cut_by_bits(flash, 0, 0.3)
    with pytest.raises(PowerCut):
        flash.erase(0, 4096)
    flash.power.restore()
    new = flash.read(0, 4096)
    assert int.from_bytes(old) & ~int.from_bytes(new) == 0
    assert new not in (old, b"\xff" * 4096)


def test_torn_write_by_bits_clears_only_bits_of_the_data() -> None:
    rng = random.Random(4)
    old, data = rng.randbytes(256), rng.randbytes(256)
    flash = NorFlash(GEOMETRY)
    flash.write(0, old)
    cut_by_bits(flash, 0, 0.6)
    with pytest.raises(PowerCut):
        flash.write(0, data)
    flash.power.restore()
    new, least = int.from_bytes(flash.read(0, 256)), int.from_bytes(old) & int.from_bytes(data)
    assert new & ~int.from_bytes(old) == 0
    assert least & ~new == 0
    assert new not in (int.from_bytes(old), least)


def test_one_byte_can_be_torn_by_bits() -> None:
    """What the prefix style cannot do: status words are programmed in one piece."""
    results = {torn_write(0.5, offset, 1) for offset in range(40)}
    assert results - {0, 0xFF}
    assert {torn_write(0.5, 17, 1) for _ in range(3)} == {torn_write(0.5, 17, 1)}


def test_more_is_done_the_later_power_goes() -> None:
    shares = [torn_write(tenth / 10, 0, 0x100) for tenth in range(11)]
    assert shares[0] == 0
    assert all(early & ~late == 0 for early, late in pairwise(shares))
    counts = [share.bit_count() for share in shares]
    assert counts == sorted(set(counts))
    assert counts[-1] < 0x800


def test_recordings_do_not_change_what_a_torn_call_leaves() -> None:
    results = set()
    for watched in (False, True):
        flash = NorFlash(GEOMETRY)
        cut_by_bits(flash, 0, 0.4)
        with flash.power.recording(fine=watched), pytest.raises(PowerCut):
            flash.write(100, bytes(1000))
        flash.power.restore()
        results.add(flash.read(0, 4096))
    assert len(results) == 1


def ailing() -> FaultPlan:
    """Faults of every kind that changes cells."""
    return FaultPlan(
        bad_blocks=(BadBlock(0x3000, failure=Failure.SILENT), BadBlock(0x9000)),
        wear=WearLimit(3),
        erase_flips=BitFlips(0.5, random.Random(7)),
    )


def firmware(flash: NorFlash) -> None:
    """Operations of every kind, over programmed cells, too; goes on after errors."""
    unit = flash.geometry.program_unit
    for turn in range(2):
        steps: list[Callable[[], None]] = [
            partial(flash.write, turn * 8, bytes(range(turn, turn + 43))),
            partial(flash.program_page, 256 - unit, bytes(unit + 3)),
            partial(flash.erase, 16, 20),
            partial(flash.write, 0x2F00, b"\x5a" * 0x180),
            partial(flash.erase, 0x1000, 0xF000),
            partial(flash.write, 0xF0, bytes(range(250))),
        ]
        for step in steps:
            with suppress(OperationFailedError):
                step()


def followed_by(twin: NorFlash, last: int, moment: CutMoment) -> Trigger:
    """A trigger that cuts operation `last` and has `twin` carry out all up to it."""

    def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
        twin.carry_out(operation, moment if index == last else CutMoment.AFTER)
        return moment if index == last else None

    return trigger


PARTS = (GEOMETRY, *(part_named(name).geometry(name) for name in ("stm32f407", "stm32l475", "w25q64")))
CUTS = ((CutMoment.BEFORE, 0.5), (CutMoment.TORN, 0.3), (CutMoment.TORN, 0.8), (CutMoment.AFTER, 0.5))


@pytest.mark.parametrize("geometry", PARTS, ids=lambda geometry: geometry.name)
@pytest.mark.parametrize("style", TornStyle)
@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize(
    ("strict", "ill"),
    [(Strict.OFF, False), (Strict.OFF, True), (Strict.REPORT, False), (Strict.RAISE, True)],
    ids=["healthy", "ill", "reporting", "raising and ill"],
)
def test_carrying_out_an_operation_leaves_what_the_cut_left(
    geometry: FlashGeometry, style: TornStyle, fine: bool, strict: Strict, ill: bool
) -> None:
    def device(fraction: float) -> tuple[NorFlash, MemoryPages]:
        pages = MemoryPages(geometry.size)
        power = PowerSupply(torn_fraction=fraction, torn_style=style)
        faults = ailing() if ill else None
        return NorFlash(geometry, pages, power, strict=strict, faults=faults), pages

    flash, _ = device(0.5)
    with flash.power.recording(fine=fine) as operations:
        firmware(flash)
    assert len(operations) >= 12 or strict is Strict.RAISE
    step = max(len(operations) // 6, 1)
    for index, (moment, fraction) in product(range(0, len(operations), step), CUTS):
        (flash, pages), (twin, twin_pages) = device(fraction), device(fraction)
        flash.power.arm(followed_by(twin, index, moment), fine=fine)
        with pytest.raises(PowerCut):
            firmware(flash)
        assert twin_pages.snapshot() == pages.snapshot()
        assert twin.wear_table() == flash.wear_table()
        assert twin.power.operations == 0
