"""The fixtures in virtual time."""

import time
from collections.abc import Callable

import pytest

from cloudsdk.errors import CloudSdkError, UsageError
from sim.faults.network.errors import FaultSpecError
from sim.rig.clock import RigClock
from sim.rig.cloud import RigCloud
from sim.rig.device import RigDevice
from sim.rig.errors import NotAvailableError
from sim.rig.faults import RigFaults
from sim.rig.fleet import RigFleet
from sim.rig.packages import PackageMaker
from sim.rig.transcript import ExpectationError

pytestmark = pytest.mark.cloudsim(clock="virtual")


def test_an_upgrade_takes_virtual_time(
    cloud: RigCloud, device: RigDevice, rbl: PackageMaker, clock: RigClock
) -> None:
    begun, real = clock.now, time.monotonic()
    cloud.upgrade(device, app=rbl("app", "2.0.0"))
    assert device.installed() == "2.0.0"
    assert clock.now - begun > 1
    assert time.monotonic() - real < 10
    device.expect_log("cld.ota", "Download: ")


def test_a_day_passes_at_once(device: RigDevice, clock: RigClock) -> None:
    begun = clock.now
    clock.sleep(24 * 3600)
    assert clock.now - begun == 24 * 3600
    assert device.online


def test_a_cut_leaves_the_board_off_until_power_comes_back(
    cloud: RigCloud, device: RigDevice, rbl: PackageMaker, clock: RigClock
) -> None:
    cut = device.power_cut(at="download 50%")
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    cut()
    clock.sleep(3600)
    assert not device.is_on
    device.power_on()
    upgrade.wait()
    assert device.installed() == "2.0.0"
    assert "bytes=49152-" in device.traffic  # of 100096


@pytest.mark.parametrize("percent", [0, 3, 100])
def test_any_share_of_a_package_can_be_cut(
    cloud: RigCloud, device: RigDevice, rbl: PackageMaker, percent: int
) -> None:
    for place in (f"download {percent}%", f"app {percent} %"):
        cut = device.power_cut(at=place)
        upgrade = cloud.upgrade(device, app=rbl("app", f"2.{percent}.{len(place)}"), wait=False)
        assert cut().operation.op == "write"
        device.power_on()
        upgrade.wait()


def test_network_faults_hold_for_new_connections(
    cloud: RigCloud, device: RigDevice, rbl: PackageMaker, faults: RigFaults
) -> None:
    faults.add("http:reset@5KB..6KB")
    cloud.upgrade(device, app=rbl("app", "2.0.0"))
    assert device.traffic.count("reset@") > 3


@pytest.mark.parametrize("spec", ["mqtt:reset@1KB", "http:up,latency=1s", "log:latency=1s", "duplicate"])
def test_a_fault_that_means_nothing_here_is_refused(device: RigDevice, faults: RigFaults, spec: str) -> None:
    with pytest.raises(NotAvailableError):
        faults.add(spec)
    assert not faults.rules


def test_a_wrong_fault_is_told(faults: RigFaults) -> None:
    with pytest.raises(FaultSpecError):
        faults.add("http:explode")


def test_there_is_no_msh(device: RigDevice) -> None:
    with pytest.raises(NotAvailableError):
        device.run("ps")


def test_what_never_comes_ends_the_wait(device: RigDevice) -> None:
    with pytest.raises(ExpectationError, match="'nonsense' did not come: not within 60 s; the console ends"):
        device.expect("nonsense", timeout=60)


def test_a_fleet_shares_the_clock(cloud: RigCloud, fleet: Callable[..., RigFleet], rbl: PackageMaker) -> None:
    devices = fleet(3)
    cloud.upgrade(*devices, app=rbl("app", "2.0.0"))
    assert devices.installed() == ["2.0.0"] * 3
    devices.power_off()
    assert not any(device.is_on for device in devices)


def test_a_cut_that_does_not_come_is_told(device: RigDevice) -> None:
    cut = device.power_cut(at="app+4096", timeout=60)
    with pytest.raises(ExpectationError, match=r"was not cut at 'app\+4096' within 60 s; the console ends"):
        cut()


@pytest.mark.parametrize("place", ["app+", "app+9999999999", "app 101%", -1, "a b c", "nowhere+1"])
def test_a_place_that_is_none_is_refused(device: RigDevice, place: str | int) -> None:
    with pytest.raises(CloudSdkError):
        device.power_cut(at=place)


def test_an_upgrade_needs_the_right_package(cloud: RigCloud, device: RigDevice, rbl: PackageMaker) -> None:
    with pytest.raises(UsageError, match="is a package for partition 'app', not 'filesystem'"):
        cloud.upgrade(device, filesystem=rbl("app", "2.0.0"))
    with pytest.raises(UsageError, match="needs a device and a package"):
        cloud.upgrade(device)
    with pytest.raises(UsageError, match=r"cannot read nothing\.rbl"):
        cloud.upgrade(device, app="nothing.rbl")


def test_a_device_that_is_off_is_not_waited_for(
    cloud: RigCloud, device: RigDevice, rbl: PackageMaker
) -> None:
    device.power_off()
    with pytest.raises(ExpectationError, match="is not done and the device is off"):
        cloud.upgrade(device, app=rbl("app", "2.0.0"))
    with pytest.raises(ExpectationError, match="did not come: the device was switched off"):
        device.expect("anything")
