"""Parts that fail: bad and worn blocks, stuck bits, bits that flip."""

import random
from typing import Any

import pytest

from cloudsdk.errors import FlashError, OutOfBoundsError
from sim.flash.faults import (
    Action,
    BadBlock,
    BitFlips,
    Failure,
    FaultPlan,
    FaultPlanError,
    FlashFaultError,
    StuckBits,
    WearLimit,
)
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash, make_devices
from sim.flash.parts import part_named
from sim.flash.power import CutMoment, PowerCut

SERIAL = part_named("w25q64").geometry("nor_flash")
PLAIN = FlashGeometry("nor_flash", 0, 64 * 1024, 4096, 256, 1)
BLOCK = 4096


def broken(*actions: Action, failure: Failure = Failure.ERROR) -> NorFlash:
    """A device with zeros in its first three blocks, whose second block fails `actions` from then on."""
    flash = NorFlash(SERIAL)
    flash.write(0, bytes(3 * BLOCK))
    flash.inject(FaultPlan(bad_blocks=(BadBlock(BLOCK + 5, frozenset(actions), failure),)))
    return flash


def test_bad_block_reports_a_failed_erase_and_the_blocks_before_it_are_erased() -> None:
    flash = broken("erase")
    with pytest.raises(
        FlashFaultError, match="erase of 4096 bytes at 0x1000 failed: the block at 0x1000 of nor_fl"
    ):
        flash.erase(0, 3 * BLOCK)
    assert flash.read(0, 3 * BLOCK) == b"\xff" * BLOCK + bytes(2 * BLOCK)
    assert flash.wear_table() == {0: 1}


def test_erase_command_over_a_bad_block_does_nothing() -> None:
    flash = broken("erase")
    with pytest.raises(FlashFaultError):
        flash.erase(0, 0x8000)
    assert flash.read(0, 1) == b"\0"


def test_bad_block_can_skip_an_erase_silently() -> None:
    flash = broken("erase", failure=Failure.SILENT)
    flash.erase(0, 0x8000)
    assert flash.read(0, 3 * BLOCK) == b"\xff" * BLOCK + bytes(BLOCK) + b"\xff" * BLOCK
    assert flash.wear(BLOCK) == 0


def test_bad_block_reports_a_failed_program_and_the_pages_before_it_are_programmed() -> None:
    flash = NorFlash(SERIAL, faults=FaultPlan(bad_blocks=(BadBlock(BLOCK),)))
    with pytest.raises(FlashFaultError, match="program of 256 bytes at 0x1000 failed"):
        flash.write(BLOCK - 300, bytes(1000))
    assert flash.read(BLOCK - 300, 301) == bytes(300) + b"\xff"


def test_bad_block_can_skip_a_program_silently() -> None:
    flash = NorFlash(SERIAL, faults=FaultPlan(bad_blocks=(BadBlock(BLOCK, failure=Failure.SILENT),)))
    flash.write(BLOCK - 256, bytes(BLOCK + 512))
    assert flash.read(BLOCK - 256, BLOCK + 512) == bytes(256) + b"\xff" * BLOCK + bytes(256)


def test_bad_block_fails_reads_of_any_of_its_bytes() -> None:
    flash = broken("read")
    assert flash.read(0, BLOCK) == bytes(BLOCK)
    assert flash.read(2 * BLOCK, 1) == b"\0"
    for offset, length in ((BLOCK - 1, 2), (BLOCK, 1), (2 * BLOCK - 1, 1), (0, 3 * BLOCK)):
        with pytest.raises(FlashFaultError, match="read"):
            flash.read(offset, length)
    assert flash.read(BLOCK, 0) == b""


def test_block_that_is_not_read_silently_gives_erased_bytes() -> None:
    flash = broken("read", failure=Failure.SILENT)
    assert flash.read(BLOCK - 2, 4) == b"\0\0\xff\xff"
    assert flash.read(2 * BLOCK - 2, 4) == b"\xff\xff\0\0"
    flash.inject(None)
    assert flash.read(BLOCK, 1) == b"\0"


def test_bad_block_of_a_part_with_large_sectors_is_the_whole_sector() -> None:
    flash = NorFlash(part_named("stm32f407").geometry("onchip_flash"))
    flash.inject(FaultPlan(bad_blocks=(BadBlock(0x30000),)))
    with pytest.raises(FlashFaultError):
        flash.write(0x20000, b"\0\0\0\0")
    flash.write(0x1FFFC, b"\0\0\0\0")


def test_worn_block_fails_after_its_last_erase() -> None:
    flash = NorFlash(SERIAL, faults=FaultPlan(wear=WearLimit(3)))
    flash.erase(0, BLOCK)
    flash.erase(0, 2 * BLOCK)
    flash.write(0, b"\0")
    flash.erase(0, BLOCK)
    flash.write(BLOCK, b"\0")
    with pytest.raises(FlashFaultError):
        flash.erase(0, BLOCK)
    with pytest.raises(FlashFaultError):
        flash.write(0, b"\0")
    assert flash.read(0, 1) == b"\xff"
    flash.write(2 * BLOCK, b"\0")
    assert flash.wear(0) == 3


def test_wear_limit_is_the_endurance_of_the_part_and_counts_earlier_wear() -> None:
    flash = NorFlash(
        SERIAL, faults=FaultPlan(wear=WearLimit(failure=Failure.SILENT)), wear={0: 99_999, BLOCK: 100_000}
    )
    flash.erase(0, BLOCK)
    flash.write(0, b"\0")
    flash.write(BLOCK, b"\0")
    assert flash.read(0, 1) + flash.read(BLOCK, 1) == b"\xff\xff"
    assert flash.wear_table() == {0: 100_000, BLOCK: 100_000}


def test_stuck_bits_are_seen_by_reads_only() -> None:
    flash = NorFlash(SERIAL)
    flash.write(100, b"\x0f\xf0\x55")
    flash.inject(FaultPlan(stuck=(StuckBits(100, 0x81, 1), StuckBits(101, 0x30, 0))))
    assert flash.read(99, 5) == b"\xff\x8f\xc0\x55\xff"
    assert flash.read(101, 1) == b"\xc0"
    flash.inject(None)
    assert flash.read(100, 3) == b"\x0f\xf0\x55"


def test_named_bits_flip_both_ways() -> None:
    flash = NorFlash(SERIAL)
    flash.write(7, b"\x0f")
    flash.flip(7, 0x11)
    assert flash.read(6, 3) == b"\xff\x1e\xff"
    assert flash.power.operations == 1
    with pytest.raises(OutOfBoundsError):
        flash.flip(SERIAL.size, 1)
    with pytest.raises(FlashError, match="cannot flip the bits 0x100"):
        flash.flip(0, 256)


def flipped(data: bytes, expected: int) -> int:
    """How many bits of `data` differ from a filling with `expected`."""
    return (int.from_bytes(data) ^ int.from_bytes(bytes([expected]) * len(data))).bit_count()


def test_reads_flip_one_bit_now_and_then_and_leave_the_cells() -> None:
    flash = NorFlash(SERIAL, faults=FaultPlan(read_flips=BitFlips(0.25, random.Random(1))))
    counts = [flipped(flash.read(4000, 200), 0xFF) for _ in range(400)]
    assert set(counts) == {0, 1}
    assert 60 < sum(counts) < 140
    flash.inject(None)
    assert flash.read(4000, 200) == b"\xff" * 200


def test_erases_leave_one_bit_now_and_then() -> None:
    flash = NorFlash(SERIAL, faults=FaultPlan(erase_flips=BitFlips(0.25, random.Random(2))))
    counts = []
    for _ in range(200):
        flash.erase(BLOCK, BLOCK)
        counts.append(flipped(flash.read(0, 3 * BLOCK), 0xFF))
    assert set(counts) == {0, 1}
    assert 25 < sum(counts) < 75


def test_same_seed_gives_the_same_flips() -> None:
    def run(seed: int) -> bytes:
        plan = FaultPlan(erase_flips=BitFlips(0.5, random.Random(seed)))
        flash = NorFlash(PLAIN, faults=plan)
        flash.erase(0, PLAIN.size)
        return flash.read(0, PLAIN.size)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_cut_power_hides_that_the_part_failed() -> None:
    flash = broken("program")
    flash.power.arm(lambda index, operation: CutMoment.AFTER)
    with pytest.raises(PowerCut):
        flash.write(BLOCK, b"\0")
    assert not flash.power.on


def test_faults_are_given_by_device() -> None:
    plan = FaultPlan(bad_blocks=(BadBlock(0),))
    devices = make_devices(
        [PLAIN, part_named("stm32l475").geometry("onchip_flash")], faults={"nor_flash": plan}
    )
    with pytest.raises(FlashFaultError):
        devices["nor_flash"].erase(0, 1)
    devices["onchip_flash"].erase(0, 1)


@pytest.mark.parametrize("fine", [False, True])
def test_healthy_plan_changes_nothing(fine: bool) -> None:
    devices = [NorFlash(SERIAL), NorFlash(SERIAL, faults=FaultPlan())]
    for flash in devices:
        with flash.power.recording(fine=fine):
            flash.write(300, bytes(range(200)) * 10)
            flash.write(0, b"\x5a" * 400)
            flash.erase(600, 40_000)
            flash.program_page(0x1FF, b"abc")
    assert devices[0].read(0, 50_000) == devices[1].read(0, 50_000)
    assert devices[0].statistics == devices[1].statistics
    assert devices[0].wear_table() == devices[1].wear_table()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"bad_blocks": (BadBlock(PLAIN.size),)}, "fault at 0x10000 is outside nor_flash of 65536 bytes"),
        ({"bad_blocks": (BadBlock(-1),)}, "outside"),
        ({"stuck": (StuckBits(PLAIN.size, 1, 1),)}, "outside"),
        ({"stuck": (StuckBits(0, 0, 1),)}, "mask of 1 to 255"),
        ({"stuck": (StuckBits(0, 256, 1),)}, "mask of 1 to 255"),
        ({"stuck": (StuckBits(0, 1, 2),)}, "value 0 or 1"),
        ({"wear": WearLimit()}, "say after how many erases nor_flash is worn"),
        ({"wear": WearLimit(0)}, "positive number of erases"),
        ({"read_flips": BitFlips(1.1, random.Random())}, "0 to 1, not 1.1"),
        ({"erase_flips": BitFlips(-0.1, random.Random())}, "0 to 1, not -0.1"),
        ({"erase_flips": BitFlips(float("nan"), random.Random())}, "0 to 1, not nan"),
    ],
)
def test_impossible_faults_are_refused(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultPlanError, match=message):
        NorFlash(PLAIN, faults=FaultPlan(**plan))


def test_weak_bits_stay_only_where_something_was_erased() -> None:
    for seed in range(10):
        flips = BitFlips(1, random.Random(seed))
        dead = FaultPlan(bad_blocks=(BadBlock(0, failure=Failure.SILENT),), erase_flips=flips)
        flash = NorFlash(PLAIN)
        flash.write(0, bytes(3 * BLOCK))
        flash.inject(dead)
        flash.erase(0, 2 * BLOCK)
        flash.power.arm(lambda index, operation: CutMoment.TORN)
        with pytest.raises(PowerCut):
            flash.erase(2 * BLOCK, BLOCK)
        flash.power.restore()
        assert flash.read(0, BLOCK) == bytes(BLOCK)
        assert flipped(flash.read(BLOCK, BLOCK), 0xFF) == 1
        assert flash.read(2 * BLOCK, BLOCK) == b"\xff" * (BLOCK // 2) + bytes(BLOCK // 2)


def test_silent_failure_takes_its_time() -> None:
    plan = FaultPlan(bad_blocks=(BadBlock(0, failure=Failure.SILENT),))
    healthy, sick = NorFlash(SERIAL), NorFlash(SERIAL, faults=plan)
    for flash in (healthy, sick):
        flash.write(0, bytes(300))
        flash.erase(0, BLOCK)
    assert sick.statistics.busy == healthy.statistics.busy > 0
    assert (sick.statistics.bytes_programmed, sick.statistics.block_erases) == (0, 0)
