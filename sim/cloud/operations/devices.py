"""Devices (platform 3)."""

from collections.abc import Sequence
from typing import Unpack

from sim.cloud.device_table import read_devices
from sim.cloud.model import binding, devices, fleet, transfers
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.qr import QrFormat, qr_image
from sim.cloud.shapes import (
    ANY_DEVICE,
    BIND_SECONDS,
    Binding,
    DeviceChanges,
    DeviceCounts,
    DeviceFilter,
    DeviceInfo,
    DeviceKeyInfo,
    ImportInfo,
    Page,
    TagInfo,
    TransferInfo,
)


class DeviceOperations(BaseOperations):
    """A device is named by its DeviceID or SN; `product` tells apart devices of products with one SN."""

    def add_device(
        self,
        product: str,
        sn: str,
        *,
        name: str = "",
        mac: str = "",
        description: str = "",
        tags: Sequence[str] = (),
    ) -> DeviceInfo:
        with self._work(Scope.MANAGE) as work:
            return devices.add_device(
                work, product, sn, name=name, mac=mac, description=description, tags=tags
            )

    def add_devices(self, product: str, table: bytes) -> ImportInfo:
        """Add the devices of a CSV table, all or none (`device_table`). Raises `DevicesRefusedError`."""
        self.caller.require(Scope.MANAGE)
        rows = read_devices(table)
        with self._work(Scope.MANAGE) as work:
            return fleet.add_devices(work, product, rows)

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        with self._work(Scope.READ) as work:
            return devices.list_devices(work, product)

    def page_devices(
        self, wanted: DeviceFilter = ANY_DEVICE, *, after: int = 0, limit: int = 100
    ) -> Page[DeviceInfo]:
        with self._work(Scope.READ) as work:
            return fleet.page_devices(work, wanted, after=after, limit=limit)

    def count_devices(self, wanted: DeviceFilter = ANY_DEVICE) -> DeviceCounts:
        with self._work(Scope.READ) as work:
            return fleet.count_devices(work, wanted)

    def list_tags(self, product: str | None = None) -> list[TagInfo]:
        """The tags in use."""
        with self._work(Scope.READ) as work:
            return devices.list_tags(work, product)

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        with self._work(Scope.READ, *([Scope.KEYS] if keys else [])) as work:
            row = devices.find_device(work, sn, product)
            info = devices.device_info(row)
            if keys:
                info["device_key"] = devices.device_key(work, row.device_id, None)["device_key"]
            return info

    def device_key(self, device: str, *, product: str | None = None) -> DeviceKeyInfo:
        """The DeviceKey; audited."""
        with self._work(Scope.KEYS) as work:
            return devices.device_key(work, device, product)

    def update_device(
        self, device: str, *, product: str | None = None, **changes: Unpack[DeviceChanges]
    ) -> DeviceInfo:
        """Modify a device; what is not given stays. SN and MAC cannot change once it is activated or
        published."""
        with self._work(Scope.MANAGE) as work:
            return devices.update_device(work, device, product, changes)

    def publish_device(self, device: str, *, product: str | None = None) -> DeviceInfo:
        """Publish (platform 3.3): SN and MAC stay from now on."""
        with self._work(Scope.MANAGE) as work:
            return devices.publish_device(work, device, product)

    def delete_device(self, device: str, *, product: str | None = None) -> None:
        """Delete a device in whatever state; it is disconnected."""
        with self._work(Scope.MANAGE) as work:
            gone = devices.delete_device(work, device, product)
        self.core.devices_gone([gone])

    def binding_url(self, device: str, *, product: str | None = None) -> Binding:
        """The binding page of the device (cloudsdk-protocol 8)."""
        with self._work(Scope.READ) as work:
            return binding.binding(work, self.core.public_url, device, product)

    def binding_qr(self, device: str, kind: QrFormat, *, product: str | None = None) -> bytes:
        """The address of the binding page as an image."""
        return qr_image(self.binding_url(device, product=product)["url"], kind)

    def bind_device(self, device: str, *, product: str | None = None, seconds: int = BIND_SECONDS) -> Binding:
        """Let the device fetch its keys by its SN alone for so many seconds; 0 ends it.

        Why this needs the scope `keys`: see `model.binding`.
        """
        with self._work(Scope.MANAGE, Scope.KEYS) as work:
            return binding.bind_device(work, self.core.public_url, device, product, seconds)

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        with self._work(Scope.READ) as work:
            return transfers.transfers_of(work, devices.find_device(work, sn, product))
