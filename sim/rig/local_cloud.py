"""The reference cloud, in this process."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from sim.board import Board
from sim.cloud.client import AdminClient
from sim.cloud.errors import UnreachableError
from sim.cloud.rollout import Selection
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.shapes import DeviceInfo, ProductInfo, TaskState
from sim.rig.clock import WallClock
from sim.rig.cloud import Progress, RigCloud
from sim.rig.device import RigDevice
from sim.rig.live_device import LiveDevice

PRODUCT: Final = "bench"
_PROGRESS: Final = {
    TaskState.DONE: Progress.DONE,
    TaskState.FAILED: Progress.FAILED,
    TaskState.CANCELLED: Progress.FAILED,
    TaskState.EXPIRED: Progress.FAILED,
}


class LocalCloud(RigCloud):
    """A context manager. `server` and `admin` are there for everything that has no shorter way here."""

    def __init__(self, data: Path, *, broker: BrokerKind = "embedded") -> None:
        super().__init__(WallClock())
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

    def make_device(self, board: Board, port: Port, profile: Profile, **options: Any) -> LiveDevice:
        return LiveDevice(board, port, profile=profile, clock=self.clock, **options)

    def info(self, device: RigDevice) -> DeviceInfo:
        """What the cloud knows of a device."""
        return self.admin.show_device(device.sn, product=device.port.product_id)

    def is_online(self, device: RigDevice) -> bool:
        try:
            info = self.info(device)
        except UnreachableError as exc:
            raise device.failure(f"has lost its cloud: {exc}") from exc
        return info["online"] and info["version"] is not None

    def start_upgrade(
        self, devices: Sequence[RigDevice], packages: Sequence[Path], version: str | None, mode: UpgradeMode
    ) -> int:
        product = devices[0].port.product_id
        ids = [self.admin.upload_firmware(path, product)["id"] for path in packages]
        selection = Selection(sns=tuple(device.sn for device in devices))
        task = self.admin.create_task(
            product, firmware_ids=ids, selection=selection, mode=mode, version=version
        )
        return task["id"]

    def progress(self, task: int, device: RigDevice) -> Progress:
        try:
            shown = self.admin.show_task(task)
        except UnreachableError as exc:
            raise device.failure(f"has lost its cloud: {exc}") from exc
        (state,) = (row["state"] for row in shown["devices"] if row["sn"] == device.sn)
        return _PROGRESS.get(TaskState(state), Progress.OPEN)
