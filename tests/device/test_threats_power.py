"""Loss of power, flash that fails and bits that flip in the virtual world: docs/threats.md, power and flash.

Every operation in turn: tests/device/test_power_cuts.py and `sim/faults/powercut`.
"""

import pytest
from threat_world import APP, FILES, GREATER, Threat, fault, http

from cloudsdk.ota.header import HEADER_SIZE
from sim.bootloader.outcome import BootOutcome
from sim.faults.powercut.model import MOMENTS, Cut
from sim.flash.power import CutMoment
from sim.virtual.clock import SECOND
from sim.virtual.faults import FaultSchedule, FlashFailure, Kind

BLOCK = 1024  # bytes between two confirmations
OPERATIONS = 56  # driver calls of an upgrade that nothing disturbs


def cut(*cuts: Cut | None) -> FaultSchedule:
    return FaultSchedule(cuts=cuts)


def test_number_of_operations() -> None:
    threat = Threat()
    with threat.world.device.board.power.recording() as operations:
        threat.run()
    assert len(operations) == OPERATIONS


@pytest.mark.parametrize("moment", MOMENTS)
def test_power_cut_anywhere_ends_right(moment: CutMoment) -> None:
    for index in range(0, OPERATIONS, 5):
        threat = Threat(cut(Cut(index, moment))).run()
        assert threat.reported == GREATER.version, index
        assert threat.holds(GREATER.releases)
        assert threat.world.device.boots <= 5


def test_power_cut_twice_in_a_row_ends_right() -> None:
    for index in range(0, OPERATIONS - 1, 9):
        threat = Threat(cut(Cut(index, CutMoment.TORN), Cut(2, CutMoment.TORN))).run()
        assert threat.reported == GREATER.version, index
        assert threat.holds(GREATER.releases)
        assert threat.world.device.power_ons == 3


def test_power_lost_between_operations_ends_right() -> None:
    for tenth in range(5, 60, 5):
        threat = Threat(FaultSchedule(blackouts=(tenth * SECOND // 10,))).run()
        assert threat.is_upgraded(), tenth


def test_no_byte_beyond_the_last_unconfirmed_block_is_sent_twice() -> None:
    """Power goes after that many bytes of the body: what was a whole block by then is not asked for again."""
    for arrived in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 500, len(APP.body) - 1):
        threat = Threat(http(fault(Kind.HALF_OPEN, arrived)))  # so that power goes with nothing under way
        world = threat.world
        world.device.power_on()
        assert world.run_until(lambda world=world: bool(world.cloud.requests))  # type: ignore[misc]
        world.run_for(SECOND)
        world.device.power_off()
        assert world.run_until(lambda world=world: world.is_settled)  # type: ignore[misc]
        assert threat.is_upgraded()
        assert threat.starts == [0, arrived // BLOCK * BLOCK, 0]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_failing_flash_ends_right_or_reported(count: int) -> None:
    reported = 0
    for first in range(0, OPERATIONS, 4):
        threat = Threat(FaultSchedule(flash=(FlashFailure(first, count),))).run()
        if threat.reported != GREATER.version:
            assert threat.failed or threat.cannot_activate, first
            reported += 1
            continue
        assert threat.holds(GREATER.releases)
    assert count == 1 or reported


def test_bit_flip_in_the_downloaded_package_is_found_and_the_package_fetched_again() -> None:
    for position in (0, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 4000):
        threat = Threat()
        _flip_when_handed_over(threat, position)
        threat.run()
        assert threat.reported == GREATER.version
        assert threat.holds(GREATER.releases)
        assert [request.url for request in threat.requests] == [APP.url, APP.url, FILES.url]


def _flip_when_handed_over(threat: Threat, position: int) -> None:
    """Clear a set bit of the package between its verification and the boot."""
    device = threat.world.device

    def flip(_status: object) -> None:
        if len(device.port.ends) == 1:
            download = device.board.partition("download")
            byte = download.read(position, 1)[0]
            download.write(position, bytes([byte & (byte - 1) if byte else 0]))

    device.port.on_end = flip


def test_bit_flip_in_the_installed_application_is_found_at_boot() -> None:
    threat = Threat().run()
    device = threat.world.device
    app = device.board.partition("app")
    app.write(4096, bytes(8))
    device.power_off()
    assert threat.world.run_until(lambda: device.boots > 6)
    assert threat.console("Verify firmware hash")
    assert threat.console("App verify failed! Need to recovery factory firmware.")
    assert device.session is None
    assert device.result is not None
    assert device.result.outcome is BootOutcome.JUMP  # the bootloader starts it all the same
