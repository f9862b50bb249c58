"""Devices (platform 3)."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Unpack, cast

from sim.cloud.client.http import ApiSession
from sim.cloud.pages import MAX_PAGE
from sim.cloud.qr import QrFormat
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


class DeviceCalls(ApiSession):
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
        texts = {"product": product, "sn": sn, "name": name, "mac": mac, "description": description}
        return cast(DeviceInfo, self._post("/devices", {**texts, "tags": list(tags)}))

    def add_devices(self, product: str, table: bytes) -> ImportInfo:
        return cast(
            ImportInfo,
            self._call(
                "POST",
                "/api/v1/devices/import",
                params={"product": product},
                data=table,
                headers={"Content-Type": "text/csv"},
            ),
        )

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        wanted = DeviceFilter(product=product)
        return self._all(lambda after: self.page_devices(wanted, after=after, limit=MAX_PAGE))

    def page_devices(
        self, wanted: DeviceFilter = ANY_DEVICE, *, after: int = 0, limit: int = 100
    ) -> Page[DeviceInfo]:
        found = self._get("/devices", after=after, limit=limit, **_query(wanted))
        return cast(Page[DeviceInfo], found)

    def count_devices(self, wanted: DeviceFilter = ANY_DEVICE) -> DeviceCounts:
        return cast(DeviceCounts, self._get("/devices/counts", **_query(wanted)))

    def list_tags(self, product: str | None = None) -> list[TagInfo]:
        return cast(list[TagInfo], self._get("/devices/tags", product=product))

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        query = {"sn": sn, "product": product, "keys": "true" if keys else None}
        return cast(DeviceInfo, self._get("/devices/find", **query))

    def device_key(self, device: str, *, product: str | None = None) -> DeviceKeyInfo:
        return cast(DeviceKeyInfo, self._get(self._device_path(device, product) + "/key"))

    def update_device(
        self, device: str, *, product: str | None = None, **changes: Unpack[DeviceChanges]
    ) -> DeviceInfo:
        return cast(DeviceInfo, self._patch(self._device_path(device, product), dict(changes)))

    def publish_device(self, device: str, *, product: str | None = None) -> DeviceInfo:
        return cast(DeviceInfo, self._post(self._device_path(device, product) + "/publish"))

    def delete_device(self, device: str, *, product: str | None = None) -> None:
        self._delete(self._device_path(device, product))

    def binding_url(self, device: str, *, product: str | None = None) -> Binding:
        return cast(Binding, self._get(self._device_path(device, product) + "/binding"))

    def binding_qr(self, device: str, kind: QrFormat, *, product: str | None = None) -> bytes:
        path = f"/api/v1{self._device_path(device, product)}/qr.{kind}"
        return self._request("GET", path).content

    def bind_device(self, device: str, *, product: str | None = None, seconds: int = BIND_SECONDS) -> Binding:
        path = self._device_path(device, product) + "/bind"
        return cast(Binding, self._post(path, {"seconds": seconds}))

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        return cast(list[TransferInfo], self._get(self._device_path(sn, product) + "/transfers"))

    def _device_path(self, device: str, product: str | None) -> str:
        return f"/devices/{self.show_device(device, product=product)['device_id']}"


def _query(wanted: DeviceFilter) -> dict[str, Any]:
    return {
        name: str(value).lower() if name == "online" else value
        for name, value in asdict(wanted).items()
        if value is not None
    }
