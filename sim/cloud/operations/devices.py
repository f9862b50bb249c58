"""Devices (platform 3)."""

from sim.cloud.model import devices, transfers
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import DeviceInfo, TransferInfo


class DeviceOperations(BaseOperations):
    def add_device(
        self, product: str, sn: str, *, name: str = "", mac: str = "", description: str = ""
    ) -> DeviceInfo:
        with self._work(Scope.MANAGE) as work:
            return devices.add_device(work, product, sn, name=name, mac=mac, description=description)

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        with self._work(Scope.READ) as work:
            return devices.list_devices(work, product)

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        with self._work(Scope.READ, *([Scope.KEYS] if keys else [])) as work:
            return devices.device_info(devices.find_device(work, sn, product), keys=keys)

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        with self._work(Scope.READ) as work:
            return transfers.transfers_of(work, devices.find_device(work, sn, product))
