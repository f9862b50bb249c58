"""The cases by which vendors qualify a device for OTA, under their names."""

import pytest
from threat_world import APP, GREATER, HOUR, Threat, fault, http

from cloudsdk.limits import Limits
from cloudsdk.port import OtaStatus
from sim.bootloader.outcome import BootOutcome
from sim.virtual import upgrades
from sim.virtual.clock import SECOND
from sim.virtual.faults import FaultSchedule, Kind, Outage, Plan
from sim.virtual.releases import Release, Task
from sim.virtual.world import Order

K = Kind
NEXT = upgrades.following()
SLOW = fault(K.BANDWIDTH, 1000)


def test_greater_version() -> None:
    assert Threat().run().is_upgraded()


def test_same_version() -> None:
    threat = Threat(tasks=(upgrades.same(),)).run()
    assert threat.requests == []
    assert threat.reported == "1.0"
    assert threat.world.device.boots == 1


def test_previous_version() -> None:
    threat = Threat(tasks=(upgrades.previous(),)).run()
    assert threat.reported == "0.9"
    assert threat.holds(upgrades.previous().releases)


def test_incorrect_signing() -> None:
    threat = Threat(tasks=(upgrades.bad_signature(),)).run()
    assert threat.failed
    assert threat.keeps_old_application()
    assert threat.reported == "0.0"
    assert len(threat.requests) == Limits().installations
    assert threat.world.device.boots == 1


@pytest.mark.parametrize("distance", [0, SECOND // 10, SECOND, 5 * SECOND, 60 * SECOND])
def test_back_to_back(distance: int) -> None:
    threat = Threat(orders=(Order(SECOND, GREATER), Order(SECOND + distance, NEXT))).run()
    assert threat.reported == NEXT.version
    assert threat.holds(NEXT.releases)
    assert threat.world.device.port.ends.count(OtaStatus.OK) <= 3


@pytest.mark.parametrize("distance", [0, SECOND // 10, SECOND, 5 * SECOND])
def test_cancel_then_update(distance: int) -> None:
    orders = (Order(SECOND, GREATER), Order(SECOND + distance, None), Order(20 * SECOND, NEXT))
    threat = Threat(orders=orders).run()
    assert threat.reported == NEXT.version
    assert threat.holds(NEXT.releases)


def test_disconnect_and_resume() -> None:
    threat = Threat(http(fault(K.RESET, 3000))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, 2048, 0]


def test_disconnect_and_cancel() -> None:
    faults = FaultSchedule(http=Plan((fault(K.RESET, 3000),)), broker=(Outage(2 * SECOND, 60 * SECOND),))
    threat = Threat(faults, orders=(Order(SECOND, GREATER), Order(5 * SECOND, None))).run()
    assert threat.failed  # the package is gone, which ends the attempts
    assert threat.keeps_old_application()
    assert threat.reported == "0.0"
    assert threat.world.device.port.ends == [OtaStatus.FAILED]


def test_two_updates_cancel_first() -> None:
    orders = (
        Order(SECOND, GREATER),
        Order(3 * SECOND, NEXT),
        Order(4 * SECOND, None),
        Order(5 * SECOND, NEXT),
    )
    threat = Threat(http(SLOW), orders=orders).run()
    assert threat.reported == NEXT.version
    assert threat.holds(NEXT.releases)
    assert threat.installed("filesystem") is None


def test_image_crashed() -> None:
    """Nothing brings the old firmware back: rt_ota has one application partition and no factory image."""
    image = bytearray(upgrades.application("2.0.0"))
    image[:4] = bytes(4)  # no stack
    crashing = Release(upgrades.package("app", "2.0.0", bytes(image)), APP.path)
    threat = Threat(tasks=(Task("1.1", (crashing,)),))
    threat.world.device.power_on()
    assert not threat.world.run_until(lambda: threat.world.is_settled, HOUR)
    result = threat.world.device.result
    assert result is not None
    assert result.outcome is BootOutcome.HALT
    assert threat.console("Not find user application. Will stop at bootloader.")
    assert set(threat.world.cloud.reports) == {"0.0"}


def test_rollback_if_it_cannot_connect() -> None:
    """The device stays with what it has and asks ever more rarely; the cloud rolls back once it is heard."""
    away = Outage(3 * SECOND, 2 * HOUR)
    orders = (Order(SECOND, NEXT), Order(HOUR, upgrades.back()))
    threat = Threat(FaultSchedule(broker=(away,)), orders=orders).run()
    assert threat.reported == upgrades.back().version
    assert threat.keeps_old_application()
    assert [request.url for request in threat.requests] == [
        NEXT.releases[0].url,
        upgrades.back().releases[0].url,
    ]
