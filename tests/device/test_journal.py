"""The break point on flash, by itself: geometries, torn operations, foreign content."""

from dataclasses import replace

import pytest
from device_rig import DEVICE_KEY
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.ota.journal import BreakPoint, Identity, Journal
from cloudsdk.ota.transport import cipher
from sim.flash.fal import FalPartition
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import PartitionEntry
from sim.flash.nor import NorFlash

SIZE = 256 * 1024
TOTAL = 100_000
PLAIN = bytes(index * 131 % 251 for index in range(TOTAL))
IDENTITY = Identity("9017444f3bec4453", "app", "2.0.0", TOTAL)
TAG = '"abc"'
#: Block size and program unit: SPI NOR, its big blocks, STM32L4, STM32F4 sectors, STM32H7.
GEOMETRIES = [(4096, 1), (65536, 1), (2048, 8), (16384, 1), (16384, 8), (8192, 32)]
geometries = pytest.mark.parametrize(("block", "unit"), GEOMETRIES)


def make_partition(block: int = 4096, unit: int = 1, size: int = SIZE) -> FalPartition:
    geometry = FlashGeometry("flash", 0, size, block, max(unit, 256), unit)
    return FalPartition(PartitionEntry("download", "flash", 0, size), NorFlash(geometry))


def begun(partition: FalPartition, tag: str | None = TAG) -> Journal:
    journal = Journal(partition, TOTAL)
    journal.begin()
    partition.erase(0, TOTAL)
    journal.open(IDENTITY, tag)
    return journal


def fill(journal: Journal, start: int, end: int, piece: int = 1024) -> None:
    for offset in range(start, end, piece):
        journal.write(offset, PLAIN[offset : min(offset + piece, end)])


@geometries
def test_break_point_is_the_last_checkpoint(block: int, unit: int) -> None:
    partition = make_partition(block, unit)
    journal = begun(partition)
    assert journal.load(IDENTITY) is None
    for count in (1024, 5 * 1024, 40 * 1024, 97 * 1024):
        journal = begun(partition)
        fill(journal, 0, count)
        expected = count // journal.step * journal.step
        found = Journal(partition, TOTAL).load(IDENTITY)
        assert found == (BreakPoint(expected, TAG) if expected else None)
    fill(journal, 97 * 1024, TOTAL)
    confirmed = (TOTAL - 1) // journal.step * journal.step
    assert Journal(partition, TOTAL).load(IDENTITY) == BreakPoint(confirmed, TAG)


@geometries
def test_what_the_bootloader_erases_is_put_in_place_at_the_end(block: int, unit: int) -> None:
    partition = make_partition(block, unit)
    journal = begun(partition)
    for start in range(0, TOTAL, 20 * 1024):
        fill(journal, start, min(start + 20 * 1024, TOTAL))
        partition.erase(0, 4096)  # rbl-format 3.2 step 8, at every boot
    for _ in range(2):  # over what an earlier one left, too
        journal.put_first_block()
        assert partition.read(0, TOTAL) == PLAIN
        partition.write(0, bytes(128))
    journal.put_first_block()
    assert partition.read(0, TOTAL) == PLAIN
    assert partition.device.statistics.lost_programs == 0


@geometries
def test_chaining_value_is_the_cipher_block_before_the_break_point(block: int, unit: int) -> None:
    journal = begun(make_partition(block, unit))
    fill(journal, 0, TOTAL)
    body = cipher(DEVICE_KEY).encryptor().update(PLAIN)
    for offset in (1024, 4096, 5120, block, 3 * journal.step, TOTAL):
        assert journal.chaining_value(DEVICE_KEY, offset) == body[offset - 16 : offset]


@geometries
def test_torn_bytes_behind_the_break_point_do_no_harm(block: int, unit: int) -> None:
    partition = make_partition(block, unit)
    journal = begun(partition)
    end = 2 * journal.step + journal.step // 2
    fill(journal, 0, end)
    partition.write(end, PLAIN[end : end + 512 // unit * unit])
    fresh = Journal(partition, TOTAL)
    point = fresh.load(IDENTITY)
    assert point is not None
    fresh.clear_unconfirmed(point.offset)
    fill(fresh, point.offset, TOTAL)
    fresh.put_first_block()
    assert partition.read(0, TOTAL) == PLAIN
    if unit > 1:
        assert partition.device.statistics.dirty_programs == 0


def test_nothing_confirmed_is_erased_at_the_very_end() -> None:
    partition = make_partition(2048, 8)
    journal = begun(partition)
    fill(journal, 0, TOTAL)
    before = partition.read(0, SIZE)
    partition.write(TOTAL, bytes(8))
    journal.clear_unconfirmed(TOTAL)
    assert partition.read(0, TOTAL) == before[:TOTAL]


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, device_id="another"),
        replace(IDENTITY, partition="filesystem"),
        replace(IDENTITY, version="2.0.1"),
        replace(IDENTITY, size=TOTAL - 1),
    ],
)
def test_another_identity_has_no_break_point(other: Identity) -> None:
    partition = make_partition()
    fill(begun(partition), 0, 5 * 1024)
    assert Journal(partition, TOTAL).load(other) is None
    assert Journal(partition, TOTAL - 16).load(IDENTITY) is None
    assert Journal(partition, TOTAL).load(IDENTITY) is not None


@geometries
def test_consumed_break_point_stays_consumed(block: int, unit: int) -> None:
    partition = make_partition(block, unit)
    journal = begun(partition)
    fill(journal, 0, TOTAL)
    for _ in range(2):
        journal.consume()
        assert journal.load(IDENTITY) is None
    assert partition.device.statistics.dirty_programs == 0
    fill(begun(partition), 0, 80 * 1024)
    assert journal.load(IDENTITY) is not None


def test_without_entity_tag() -> None:
    partition = make_partition()
    fill(begun(partition, None), 0, 2048)
    assert Journal(partition, TOTAL).load(IDENTITY) == BreakPoint(2048, None)


@given(st.binary(min_size=0, max_size=400), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_foreign_bytes_in_the_record_are_no_break_point(garbage: bytes, offset: int) -> None:
    partition = make_partition(size=32 * 1024)
    partition.write(partition.size - 4096 + offset, garbage)
    assert Journal(partition, 16).load(replace(IDENTITY, size=16)) is None


@pytest.mark.parametrize("size", [4096, 8192, 12288])
def test_partition_without_room_has_no_journal(size: int) -> None:
    partition = make_partition(size=size)
    journal = Journal(partition, 4096)
    assert journal.fits == (size == 12288)
    partition.write(0, PLAIN[:4096])
    before = partition.read(0, 4096)
    journal.consume()
    assert partition.read(0, 4096) == before


@geometries
def test_position_maps_every_data_write_back_to_the_package(block: int, unit: int) -> None:
    partition = make_partition(block, unit)
    journal = begun(partition)
    with partition.device.power.recording() as operations:
        fill(journal, 0, TOTAL)
    writes = [each for each in operations if each.length > unit]
    assert [journal.position(each.offset) for each in writes] == list(range(0, TOTAL, 1024))
    cells = [each for each in operations if each.length == unit]
    assert cells
    assert all(journal.position(each.offset) is None for each in cells)


def test_position_without_a_journal_is_the_offset() -> None:
    journal = Journal(make_partition(size=65536), 65536)
    assert not journal.fits
    assert [journal.position(offset) for offset in (0, 65520, 65536)] == [0, 65520, None]
