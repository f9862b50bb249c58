"""The fixtures against the reference cloud, over sockets."""

import threading
from collections.abc import Callable

import pytest

from cloudsdk.errors import UsageError
from cloudsdk.limits import Limits
from sim.flash.faults import BadBlock
from sim.msh.commands import Command
from sim.rig.device import RigDevice
from sim.rig.errors import StuckError
from sim.rig.faults import RigFaults
from sim.rig.fleet import RigFleet
from sim.rig.local_cloud import LocalCloud
from sim.rig.packages import PackageMaker
from sim.rig.transcript import ExpectationError


def test_cut_and_resume(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker) -> None:
    cut = device.power_cut(at="download 50%")
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    assert cut().operation.op == "write"
    assert not device.is_on
    device.power_on()
    upgrade.wait()
    assert device.installed() == "2.0.0"
    assert [each["first_byte"] > 0 for each in cloud.admin.transfers(device.sn)].count(True) == 1


def test_console(device: RigDevice) -> None:
    assert "tshell" in device.run("ps")
    assert device.run("version").count("RT") >= 1
    with pytest.raises(UsageError):
        device.run("ps\nreboot")
    device.power_off()
    with pytest.raises(ExpectationError, match="is off"):
        device.run("ps")


@pytest.mark.cloudsim(profile="v2.0.0", broker="mosquitto", board="art-pi")
def test_a_marker_chooses(cloud: LocalCloud, device: RigDevice) -> None:
    assert device.profile.name == "v2.0.0"
    assert device.board.layout.name == "art-pi"
    assert cloud.server.config.broker == "mosquitto"


def test_traffic_is_decoded_and_holds_no_secret(
    cloud: LocalCloud, device: RigDevice, rbl: PackageMaker
) -> None:
    cloud.upgrade(device, app=rbl("app", "2.0.0"))
    device.run("printenv")
    device.power_off()
    traffic = device.traffic
    assert "-> POST /devices/active" in traffic
    assert "<- 200" in traffic
    assert "-> CONNECT client=" in traffic
    assert "<- body of 100096 bytes" in traffic
    assert '"DP":1000' in traffic
    assert "GET /fw/********/app.rbl" in traffic
    info = cloud.admin.show_device(device.sn, product=device.port.product_id, keys=True)
    for secret in (device.port.product_key, info["device_key"]):
        assert secret not in traffic + device.console_text
        assert secret not in repr(device)
    assert "cld_dkey=********" in device.console_text


def test_network_faults(
    cloud: LocalCloud, device_factory: Callable[..., RigDevice], rbl: PackageMaker, faults: RigFaults
) -> None:
    faults.add("http:limit@30KB,down")
    device = device_factory(limits=Limits(download_retry=0.05))
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    assert cloud.clock.wait(lambda: "fault limit after 30000 bytes down" in device.traffic, 10)
    faults.clear()
    upgrade.wait()
    assert device.installed() == "2.0.0"


def test_flash_faults(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker, faults: RigFaults) -> None:
    faults.flash(device, "download", BadBlock(8192))
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    device.expect_log("cld.ota", "Firmware download startup.")
    faults.flash(device, "download")
    device.power_off()
    device.power_on()
    upgrade.wait()


def test_a_fleet_acts_at_once(cloud: LocalCloud, fleet: Callable[..., RigFleet], rbl: PackageMaker) -> None:
    devices = fleet(5)
    assert all("tshell" in answer for answer in devices.run("ps"))
    cloud.upgrade(*devices, app=rbl("app", "2.0.0"))
    assert devices.installed() == ["2.0.0"] * 5
    assert len(devices[1:3]) == 2
    with pytest.raises(
        ExpectationError, match=f"2 of 5 devices failed \\({devices[0].sn}, {devices[4].sn}\\)"
    ):
        devices.each(
            lambda device: device.expect("never", 0.05) if device in (devices[0], devices[4]) else None
        )


def test_a_cloud_that_dies_is_told(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker) -> None:
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    cloud.server.request_stop()
    cloud.server.wait()
    with pytest.raises(
        ExpectationError, match=r"has lost its cloud: .* does not answer(.|\n)*the console ends"
    ):
        upgrade.wait()


def test_a_device_that_hangs_is_told(
    device_factory: Callable[..., RigDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    hang = Command("hang", "wait", lambda _context, _arguments: held.wait(10) and None)
    device = device_factory(commands=[hang])
    try:
        with pytest.raises(ExpectationError, match="did not come: not within"):
            device.run("hang", timeout=0.1)
        monkeypatch.setattr("sim.rig.live_device.STOP_TIMEOUT", 0.05)
        with pytest.raises(StuckError, match=r"does not end within 0\.05 s"):
            device.power_off()
    finally:
        monkeypatch.undo()
        held.set()
    device.power_off()
    assert not device.is_on


def test_a_cancelled_task_is_not_waited_for(cloud: LocalCloud, device: RigDevice, rbl: PackageMaker) -> None:
    device.power_off()
    upgrade = cloud.upgrade(device, app=rbl("app", "2.0.0"), wait=False)
    cloud.admin.cancel_task(upgrade.task)
    with pytest.raises(ExpectationError, match="will not finish task 1"):
        upgrade.wait()
