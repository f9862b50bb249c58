"""A fleet device says, does and leaves on flash what the single device does, given the same by the cloud."""

import asyncio
import re
import threading

from fleet_rig import DEVICE_KEY, PRODUCT_ID, PRODUCT_KEY, ScriptedCloud, fleet_of, until, wait_for

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from sim.board import furnish, make_board
from sim.device import Device
from sim.flash.layout import load_board

SN = "EF4016D6658466CA3E3610"
LIMITS = Limits(download_retry=0.05)
SDK_LINES = re.compile(r"\x1b\[\d+(?:;\d+)?m(?:\x1b\[2A)?\[[IE]/(?:cld[.a-z]*|MQTT|OTA|web)\] [^\n]*")


class Record:
    """What one of them said: requests, packets, console lines of the SDK, and the flash it left."""

    def __init__(self, cloud: ScriptedCloud, console: str, flash: dict[str, bytes]) -> None:
        self.http = cloud.http
        self.mqtt = cloud.mqtt
        self.console = SDK_LINES.findall(console)
        self.flash = flash


def single(profile: Profile, cloud: ScriptedCloud) -> Record:
    board = make_board(load_board("iot-board"))
    furnish(board, app_version="1.0.0")
    text: list[str] = []
    port = Port(SN, PRODUCT_ID, PRODUCT_KEY, cloud.http_url, cloud.mqtt_url)
    device = Device(board, port, profile=profile, limits=LIMITS, console=text.append)
    runner = threading.Thread(target=device.run)
    runner.start()
    wait_for(lambda: cloud.done)
    device.stop()
    runner.join()
    return Record(cloud, "".join(text), {each.name: each.read(0, each.size) for each in board.partitions})


def of_a_fleet(profile: Profile, cloud: ScriptedCloud) -> Record:
    text: list[str] = []

    async def run() -> dict[str, bytes]:
        fleet = fleet_of(
            (SN,),
            cloud.http_url,
            cloud.mqtt_url,
            profile=profile,
            limits=LIMITS,
            console=lambda _sn, line: text.append(line),
        )
        await until(fleet, lambda: cloud.done)
        (device,) = fleet.devices
        found = (device.flash.find(entry.name) for entry in load_board("iot-board").partitions)
        return {each.name: each.read(0, each.size) for each in found if each is not None}

    flash = asyncio.run(run())
    return Record(cloud, "".join(text), flash)


def compare(profile: Profile) -> None:
    cloud = ScriptedCloud(reports=1 if profile.one_publish_per_packet else 2)
    one = single(profile, cloud)
    cloud.forget()  # at the same address: the ENV keeps a digest of the URL
    other = of_a_fleet(profile, cloud)
    cloud.close()
    assert other.http == one.http
    assert len(one.http) == 3
    assert other.mqtt == one.mqtt
    assert len(one.mqtt) == 2
    assert other.console == one.console
    assert any("100%" in line for line in one.console)
    for name, content in one.flash.items():
        assert other.flash[name] == content, name


def test_requests_packets_lines_and_flash_are_the_single_devices() -> None:
    compare(MANUAL)


def test_the_same_in_the_profile_of_the_original() -> None:
    compare(V2_0_0)


def test_no_secret_is_in_a_repr() -> None:
    fleet = fleet_of((SN,), "http://127.0.0.1:1", "mqtt://127.0.0.1:1")
    shown = repr(fleet.config) + repr(list(fleet.config.ports()))
    assert PRODUCT_KEY not in shown
    assert DEVICE_KEY not in shown
