"""What the traffic tests share: a device and a cloud on this machine, with a recorder between them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cloudsdk.limits import Limits
from cloudsdk.ota.pack import pack
from cloudsdk.port import Port
from cloudsdk.route import Address, Link
from flash_images import samples
from sim.board import furnish, make_board
from sim.cloud.client import AdminClient
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudServer
from sim.device import Device
from sim.flash.layout import load_board
from sim.traffic.events import Data, Event, Header
from sim.traffic.mask import Mask
from sim.traffic.recorder import Recorder
from sim.traffic.recording import Recording, RecordingWriter, load_recording

PATIENCE = 30.0  # seconds
LIMITS = Limits(activation_retry=0.05, download_retry=0.05, mqtt_reconnect=0.05)
LAYOUT = load_board("iot-board")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.02)


def address(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def of_link(events: tuple[Event, ...], link: Link) -> bytes:
    """Everything both sides said on a link."""
    return b"".join(event.data for event in events if isinstance(event, Data) and event.link is link)


@dataclass
class World:
    """A reference cloud with a product."""

    admin: AdminClient
    server: CloudServer
    folder: Path
    product: str = "lamp"

    def __post_init__(self) -> None:
        self.admin.create_product(self.product)
        shown = self.admin.show_product(self.product, keys=True)
        self.product_id, self.product_key = shown["product_id"], shown["product_key"]

    def task(self, sn: str, size: int = 5000) -> Callable[[], bool]:
        """A device and an upgrade for it; returns whether that is done."""
        self.admin.add_device(self.product, sn)
        existing = [item for item in self.admin.list_firmware(self.product) if item["version"] == "2.0.0"]
        if not existing:
            raw = samples.application("2.0.0", link_address=LAYOUT.app.link_address, size=size)
            package = self.folder / "app.rbl"
            package.write_bytes(pack(raw, name="app", version="2.0.0", timestamp=1546300800))
            existing = [self.admin.upload_firmware(package, self.product)]
        task = self.admin.create_task(
            self.product,
            firmware_ids=[existing[0]["id"]],
            selection=Selection((sn,)),
            version="1.0",
        )["id"]
        return lambda: all(each["state"] == "done" for each in self.admin.show_task(task)["devices"])

    @contextlib.contextmanager
    def device(self, sn: str, activation: Address, mqtt: Address) -> Iterator[Device]:
        board = make_board(LAYOUT)
        furnish(board, app_version="1.0.0")
        urls = f"http://{activation[0]}:{activation[1]}", f"mqtt://{mqtt[0]}:{mqtt[1]}"
        port = Port(sn, self.product_id, self.product_key, *urls)
        device = Device(board, port, limits=LIMITS, console=lambda _text: None)
        thread = threading.Thread(target=device.run)
        thread.start()
        try:
            yield device
        finally:
            device.stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def recorded_upgrade(self, sn: str, name: str, mask: Mask | None = None) -> Recording:
        """A whole upgrade through a recorder, every connection by way of rewritten addresses."""
        path = self.folder / name
        done = self.task(sn)
        with RecordingWriter(path, Header(time.time(), mask is not None)) as writer:
            with Recorder(writer, mask=mask) as recorder:
                activation = recorder.listen(Link.HTTP, address(self.server.activation_url))
                mqtt = recorder.listen(Link.MQTT, address(self.server.mqtt_url))
                with self.device(sn, activation, mqtt):
                    wait_until(done)
        return load_recording(path)
