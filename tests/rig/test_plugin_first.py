"""The fixtures of the pytest plugin, used as a reader of the README uses them."""

import pytest

from sim.rig.device import RigDevice
from sim.rig.local_cloud import LocalCloud
from sim.rig.packages import PackageMaker


def test_upgrade(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker) -> None:
    cloud.upgrade(device, app=rbl("app", "2.0.0"))
    assert device.installed("app") == "2.0.0"


def test_ps(device: RigDevice) -> None:
    assert "tshell" in device.run("ps")


def test_cut(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker) -> None:
    cut = device.power_cut(at="app+4096")
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    cut()
    assert not device.is_on
    device.power_on()
    upgrade.wait()
    assert device.installed() == "2.0.0"


@pytest.mark.cloudsim(profile="v2.0.0", broker="mosquitto")
def test_marker(device: RigDevice) -> None:
    assert device.profile.name == "v2.0.0"
    device.expect_log("cld", "The device has been activated successfully!")
