"""A device is upgraded by the reference cloud through every kind of bad network."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudsdk.limits import Limits
from cloudsdk.ota.pack import pack
from cloudsdk.ota.transport import rounded
from cloudsdk.port import Port
from cloudsdk.profile import Profile, profile_named
from cloudsdk.route import Link
from flash_images import samples
from sim.board import Board, furnish, make_board
from sim.bootloader.outcome import BootResult
from sim.cloud.client import AdminClient
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.shapes import TransferInfo
from sim.device import Device
from sim.faults.network import FaultProxy, FaultSet, Opened, ProxyEvent, Struck, parse_fault
from sim.faults.network.rules import Ending, draw
from sim.flash.layout import load_board

PATIENCE = 30.0  # seconds until an upgrade that does not end fails the test
LIMITS = Limits(
    activation_retry=0.05,
    download_retry=0.05,
    mqtt_reconnect=0.05,
    mqtt_answer=2.0,
    http_timeout=0.3,
)
LAYOUT = load_board("iot-board")
SIZE = 60_000  # bytes of the application


@dataclass
class World:
    """A cloud and a board; `events` is what the network did in the last upgrade."""

    admin: AdminClient
    server: CloudServer
    folder: Path
    events: list[ProxyEvent] = field(default_factory=list)
    boots: list[str] = field(default_factory=list)
    package_size: int = 0
    task: int = 0

    def upgrade(
        self, faults: FaultSet, profile: str = "manual", during: Callable[[FaultProxy], None] | None = None
    ) -> list[TransferInfo]:
        """From the first boot to the report of the task version; returns what the server has sent."""
        sn = f"SN{time.monotonic_ns()}"
        product = self.admin.create_product(sn)
        key = self.admin.show_product(product["product_id"], keys=True)["product_key"]
        self.admin.add_device(sn, sn)
        board = make_board(LAYOUT)
        furnish(board, app_version="1.0.0")
        raw = samples.application("2.0.0", link_address=LAYOUT.app.link_address, size=SIZE)
        package = self.folder / "app.rbl"
        package.write_bytes(pack(raw, name="app", version="2.0.0", timestamp=1546300800))
        self.package_size = rounded(package.stat().st_size)
        firmware = self.admin.upload_firmware(package, sn)
        self.task = self.admin.create_task(
            sn, firmware_ids=[firmware["id"]], selection=Selection((sn,)), version="1.0"
        )["id"]
        port = Port(sn, product["product_id"], key, self.server.activation_url, self.server.mqtt_url)
        with FaultProxy(faults, on_event=self.events.append) as proxy:
            with self._running(board, port, proxy, profile_named(profile)):
                if during is not None:
                    during(proxy)
                wait_until(self.is_done)
        header = board.installed("app")
        assert header is not None
        assert header.version_text == "2.0.0"
        assert self.boots == ["1.0.0", "2.0.0"], "exactly one upgrade for one task"
        return self.admin.transfers(sn, product=sn)

    def is_done(self) -> bool:
        return all(device["state"] == "done" for device in self.admin.show_task(self.task)["devices"])

    @contextlib.contextmanager
    def _running(self, board: Board, port: Port, proxy: FaultProxy, profile: Profile) -> Iterator[None]:
        def booted(_boot: BootResult) -> bool:
            header = board.installed("app")
            self.boots.append(header.version_text if header is not None else "")
            return True

        device = Device(
            board,
            port,
            profile=profile,
            limits=LIMITS,
            console=lambda _text: None,
            after_boot=booted,
            route=proxy.route,
        )
        thread = threading.Thread(target=device.run)
        thread.start()
        try:
            yield
        finally:
            device.stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def struck(self, link: Link, kind: Ending) -> list[int]:
        """Offsets at which connections of `link` ended so."""
        return [
            event.at
            for event in self.events
            if isinstance(event, Struck) and (event.link, event.fault) == (link, kind)
        ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    with CloudServer(CloudConfig(tmp_path_factory.mktemp("cloud"), http_port=0, mqtt_port=0)) as running:
        yield running


@pytest.fixture
def world(server: CloudServer, tmp_path: Path) -> Iterator[World]:
    with contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin:
        yield World(admin, server, tmp_path)


def faults(*specs: str, seed: int = 0) -> FaultSet:
    return FaultSet(tuple(map(parse_fault, specs)), seed)


def assert_resumed(world: World, transfers: list[TransferInfo]) -> None:
    """Each request goes on where flash ended, and no byte but those under way is sent twice."""
    starts = [transfer["first_byte"] for transfer in transfers]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert starts[-1] > 0
    assert {transfer["status"] for transfer in transfers[1:]} <= {200, 206}
    assert transfers[-1]["first_byte"] + transfers[-1]["bytes_sent"] == world.package_size


def test_upgrade_through_resets_at_random_offsets(world: World) -> None:
    seed = 536  # connections 2 to 4, which download, are among the 30 %
    network = faults("reset@1KB..40KB,share=0.3,down", seed=seed)
    assert [bool(draw(network, Link.HTTP, number).hits) for number in range(1, 6)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    transfers = world.upgrade(network)
    assert len(world.struck(Link.HTTP, Ending.RESET)) == 3
    assert len(transfers) == 4
    assert_resumed(world, transfers)


def test_upgrade_with_mqtt_cut_over_and_over(world: World) -> None:
    transfers = world.upgrade(faults("mqtt:reset@5..900,share=0.8", seed=5))
    assert len(world.struck(Link.MQTT, Ending.RESET)) >= 2
    assert len(transfers) == 1


def test_upgrade_in_slices_of_1_to_7_bytes(world: World) -> None:
    transfers = world.upgrade(faults("slice=1..7", seed=2))
    assert [transfer["first_byte"] for transfer in transfers] == [0]


def test_upgrade_at_64_kilobytes_per_second(world: World) -> None:
    started = time.monotonic()
    transfers = world.upgrade(faults("bandwidth=64KB/s"))
    assert time.monotonic() - started > 0.9  # 60 kB
    assert [transfer["first_byte"] for transfer in transfers] == [0]


@pytest.mark.parametrize("profile", ["manual", "v2.0.0"])
def test_every_mqtt_message_twice_is_one_upgrade(world: World, profile: str) -> None:
    transfers = world.upgrade(faults("mqtt:duplicate=all"), profile)
    opened = [event for event in world.events if isinstance(event, Opened) and event.link is Link.MQTT]
    assert {event.faults for event in opened} == {("mqtt:duplicate=all",)}
    assert [transfer["first_byte"] for transfer in transfers] == [0]


def test_upgrade_when_the_server_falls_silent_in_the_middle(world: World) -> None:
    transfers = world.upgrade(faults("http:half-open@20KB,share=0.3,down", seed=536))
    assert world.struck(Link.HTTP, Ending.HALF_OPEN)[:2] == [20_000] * 2
    assert_resumed(world, transfers)


def test_network_that_recovers_while_the_device_tries(world: World) -> None:
    def until_refused(proxy: FaultProxy) -> None:
        wait_until(lambda: sum(isinstance(event, Opened) for event in world.events) >= 4)
        assert not world.is_done()
        proxy.set(FaultSet())

    transfers = world.upgrade(faults("http:reset", "mqtt:latency=60s"), during=until_refused)
    assert world.struck(Link.HTTP, Ending.RESET)[0] == 0
    assert len(transfers) == 1
