"""Power cuts at driver calls and at primitives."""

from collections.abc import Callable

import pytest

from cloudsdk.errors import FlashError
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.power import CutMoment, FlashOperation, PowerCut, PowerSupply, Trigger

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


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("moment", CutMoment)
@pytest.mark.parametrize("fine", [False, True])
def test_carrying_out_an_operation_leaves_what_the_cut_left(
    moment: CutMoment, fine: bool, index: int
) -> None:
    flash, twin = NorFlash(GEOMETRY), NorFlash(GEOMETRY)

    def trigger(number: int, operation: FlashOperation) -> CutMoment | None:
        last = number == index
        twin.carry_out(operation, moment if last else CutMoment.AFTER)
        return moment if last else None

    def firmware() -> None:
        for turn in range(5):
            flash.write(turn * 8, bytes(range(turn, turn + 40)))
            flash.erase(16, 20)

    flash.power.arm(trigger, fine=fine)
    with pytest.raises(PowerCut):
        firmware()
    flash.power.restore()
    assert twin.read(0, twin.size) == flash.read(0, flash.size)
