"""A cloud on the bench: the reference cloud in this process, with what a test does to it."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import Port
from sim.cloud.client import AdminClient
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.shapes import DeviceInfo, ProductInfo, TaskInfo
from sim.rig.device import TIMEOUT, RigDevice
from sim.rig.transcript import ExpectationError

PRODUCT: Final = "bench"
_POLL: Final = 0.005  # seconds between two looks


class RigCloud:
    """A context manager. `server` and `admin` are there for everything that has no shorter way here."""

    def __init__(self, data: Path, *, broker: BrokerKind = "embedded") -> None:
        self.server = CloudServer(CloudConfig(data, http_port=0, mqtt_port=0, broker=broker))
        self.admin: AdminClient
        self._product: ProductInfo | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self.server)
            self.admin = self._stack.enter_context(
                contextlib.closing(AdminClient(self.server.http_url, self.server.admin_token))
            )
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def register(self, sn: str) -> Port:
        """Enter a device; returns what its firmware is built with."""
        if self._product is None:
            self._product = self.admin.create_product(PRODUCT)
        product = self._product
        self.admin.add_device(product["product_id"], sn)
        return Port(
            sn,
            product["product_id"],
            product["product_key"],
            self.server.activation_url,
            self.server.mqtt_url,
        )

    def info(self, device: RigDevice) -> DeviceInfo:
        """What the cloud knows of a device."""
        return self.admin.show_device(device.sn, product=device.port.product_id)

    def wait_online(self, *devices: RigDevice, timeout: float = TIMEOUT) -> None:
        """Wait until the devices are online and have reported their version."""
        for device in devices:
            self._wait(device, self._has_reported, "it is not online", timeout)

    def upgrade(
        self,
        *devices: RigDevice,
        version: str | None = None,
        mode: UpgradeMode = UpgradeMode.FORCED,
        wait: bool = True,
        timeout: float = TIMEOUT,
        **firmware: str | Path,
    ) -> TaskInfo:
        """Upload packages, create a task of them, and wait until the devices have reported its version.

        `firmware` maps partitions to packages, in the order of installation: `app="2.0.0.rbl"`. Raises
        ValueError when a package is for another partition.
        """
        if not devices or not firmware:
            raise ValueError("an upgrade needs a device and a package, such as app='2.0.0.rbl'")
        product = devices[0].port.product_id
        ids = [self._upload(product, name, Path(path)) for name, path in firmware.items()]
        task = self.admin.create_task(product, version, ids, [device.sn for device in devices], mode)
        return self.wait_done(task, *devices, timeout=timeout) if wait else task

    def wait_done(self, task: TaskInfo, *devices: RigDevice, timeout: float = TIMEOUT) -> TaskInfo:
        """Wait until the devices are done with a task."""
        for device in devices:
            self._wait(
                device,
                lambda device: self._state(task, device) == "done",
                f"task {task['id']} is not done",
                timeout,
            )
        return self.admin.show_task(task["id"])

    def _upload(self, product: str, partition: str, path: Path) -> int:
        with path.open("rb") as file:
            name = RblHeader.unpack(file.read(HEADER_SIZE)).name_text
        if name != partition:
            raise ValueError(f"{path} is a package for partition {name!r}, not {partition!r}")
        return self.admin.upload_firmware(path, product)["id"]

    def _has_reported(self, device: RigDevice) -> bool:
        info = self.info(device)
        return info["online"] and info["version"] is not None

    def _state(self, task: TaskInfo, device: RigDevice) -> str:
        shown = self.admin.show_task(task["id"])
        return next(row["state"] for row in shown["devices"] if row["sn"] == device.sn)

    def _wait(
        self, device: RigDevice, condition: Callable[[RigDevice], bool], otherwise: str, timeout: float
    ) -> None:
        deadline = time.monotonic() + timeout
        while not condition(device):
            late = time.monotonic() > deadline
            if late or not device.is_on:
                why = f"within {timeout:g} s" if late else "and the device has ended"
                raise ExpectationError(
                    f"device {device.sn}: {otherwise} {why}; its console ends with\n{device.console.tail()}"
                )
            time.sleep(_POLL)
