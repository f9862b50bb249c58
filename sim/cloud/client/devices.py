"""Devices (platform 3)."""

from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import DeviceInfo, TransferInfo


class DeviceCalls(ApiSession):
    def add_device(
        self, product: str, sn: str, *, name: str = "", mac: str = "", description: str = ""
    ) -> DeviceInfo:
        body = {"product": product, "sn": sn, "name": name, "mac": mac, "description": description}
        return cast(DeviceInfo, self._post("/devices", body))

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        return cast(list[DeviceInfo], self._get("/devices", product=product))

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        query = {"sn": sn, "product": product, "keys": "true" if keys else None}
        return cast(DeviceInfo, self._get("/devices/find", **query))

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        device_id = self.show_device(sn, product=product)["device_id"]
        return cast(list[TransferInfo], self._get(f"/devices/{device_id}/transfers"))
