"""A fleet through the reference cloud: activation, a task of two firmwares over cut downloads, reports."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fleet_rig import CuttingRelay, app_package, until, wait_for

from cloudsdk.limits import Limits
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.cloud.client import AdminClient
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer
from sim.fleet.events import FleetEvent, Kind, Phase
from sim.fleet.fleet import Fleet, FleetConfig
from sim.fleet.identities import Population, numbered
from sim.fleet.ramps import Linear

DEVICES = 20


@pytest.fixture
def relay() -> Iterator[CuttingRelay]:
    found = CuttingRelay(after=30_000)
    yield found
    found.close()


@pytest.fixture
def cloud(tmp_path: Path, relay: CuttingRelay) -> Iterator[CloudServer]:
    """Devices download through the relay."""
    config = CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, public_url=relay.url)
    with CloudServer(config) as running:
        parts = urlsplit(running.http_url)
        relay.upstream = (parts.hostname or "", parts.port or 0)
        yield running


def test_twenty_devices_take_a_task_of_two_firmwares_over_cut_downloads(
    cloud: CloudServer, relay: CuttingRelay, tmp_path: Path
) -> None:
    admin = AdminClient(cloud.http_url, cloud.admin_token)
    product = admin.create_product("lamp", device_limit=DEVICES)
    numbers = numbered("LAMP##", DEVICES)
    for sn in numbers:
        admin.add_device("lamp", sn)
    files = pack(
        samples.filesystem("1.0.0", size=50_000), name="filesystem", version="1.0.0", timestamp=1546300800
    )
    firmware = []
    for name, package in (("app", app_package()), ("filesystem", files)):
        path = tmp_path / f"{name}.rbl"
        path.write_bytes(package)
        firmware.append(admin.upload_firmware(path, "lamp")["id"])
    admin.create_task("lamp", firmware_ids=firmware, selection=Selection(tuple(numbers)), version="1.1")
    events: list[FleetEvent] = []
    fleet = Fleet(
        FleetConfig(
            [Population(product["product_id"], numbers)],
            {product["product_id"]: product["product_key"]},
            cloud.http_url,
            cloud.mqtt_url,
            ramp=Linear(200),
            limits=Limits(download_retry=0.05, download_block=4096),
            boot_time=0.05,
            tell=events.append,
        )
    )

    def all_report() -> bool:
        states = list(fleet.states())
        return len(states) == DEVICES and all(state.version == "1.1" for state in states)

    summary = asyncio.run(until(fleet, all_report))

    assert summary["events"] == {kind.value: count for kind, count in _counts(events).items()}
    per_device = Counter((event.sn, event.kind) for event in events)
    for sn in numbers:
        state = fleet.state(sn)
        assert (state.phase, state.boots, state.cause) == (Phase.OFF, 3, "")
        assert [per_device[sn, kind] for kind in (Kind.ACTIVATED, Kind.TASK, Kind.REBOOTED)] == [1, 2, 2]
        wait_for(lambda sn=sn: admin.show_device(sn, product="lamp")["version"] == "1.1")
        transfers = admin.transfers(sn)
        resumed = [each for each in transfers if each["status"] == 206]
        assert all(each["first_byte"] >= 4096 for each in resumed)
        assert fleet.devices[numbers.index(sn)].flash.find("filesystem") is not None
    assert relay.cuts >= DEVICES // 2
    base = fleet.devices[0].flash.base
    assert base.boots <= 4  # the others were recalled
    assert base.boots + base.recalled_boots == 3 * DEVICES
    assert max(len(device.flash.pages) for device in fleet.devices) < 200
    shared = {
        id(page) for device in fleet.devices for page in device.flash.pages.values() if len(page) == 4096
    }
    assert len(shared) < 60  # of two packages and what was installed from them
    admin.close()


def _counts(events: list[FleetEvent]) -> dict[Kind, int]:
    found = Counter(event.kind for event in events)
    return {kind: found[kind] for kind in Kind if found[kind]}


def test_a_device_of_another_product_does_not_stop_the_fleet(cloud: CloudServer) -> None:
    admin = AdminClient(cloud.http_url, cloud.admin_token)
    product = admin.create_product("lamp")
    admin.add_device("lamp", "KNOWN")
    fleet = Fleet(
        FleetConfig(
            [Population(product["product_id"], ("STRANGER", "KNOWN"))],
            {product["product_id"]: product["product_key"]},
            cloud.http_url,
            cloud.mqtt_url,
            limits=Limits(activation_attempts=2, activation_retry=0.05),
            boot_time=0.01,
        )
    )

    def settled() -> bool:
        phases = fleet.metrics.phases
        return phases[Phase.ONLINE] == 1 and phases[Phase.FAILED] == 1

    asyncio.run(until(fleet, settled))
    assert fleet.state("STRANGER").phase is Phase.FAILED
    assert "activation given up: HTTP status" in fleet.state("STRANGER").cause
    assert fleet.state("KNOWN").version == "0.0"
    admin.close()
