"""The admin operations over HTTP, for the command line and for tests. Results as in `shapes`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import requests

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.task import UpgradeMode
from sim.cloud.blobs import MAX_PACKAGE
from sim.cloud.errors import CloudError, TooLargeError, UnreachableError, by_code
from sim.cloud.service import Admin
from sim.cloud.shapes import (
    DEFAULT_DEVICE_LIMIT,
    OPERATOR,
    AccountInfo,
    DeviceInfo,
    FirmwareInfo,
    ProductInfo,
    TaskInfo,
    TransferInfo,
)

TIMEOUT: Final = (5.0, 60.0)  # seconds to connect, and between two pieces of an answer


class AdminClient(Admin):
    """`url` is the server's HTTP URL, `token` its admin token.

    Every method raises the `CloudError` that the cloud answers with, or `UnreachableError`.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc
        self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._session.close()

    def healthy(self, instance: str) -> bool:
        """True if this very run of the server answers."""
        try:
            found = self._call("GET", "/healthz")
        except CloudError:
            return False
        return isinstance(found, dict) and found.get("instance") == instance

    def create_account(self, name: str, password: str) -> AccountInfo:
        return cast(AccountInfo, self._post("/accounts", {"name": name, "password": password}))

    def create_product(
        self,
        name: str,
        *,
        account: str = OPERATOR,
        kind: str = "",
        model: str = "",
        connection: str = "",
        description: str = "",
        device_limit: int = DEFAULT_DEVICE_LIMIT,
    ) -> ProductInfo:
        body = {
            "name": name,
            "account": account,
            "kind": kind,
            "model": model,
            "connection": connection,
            "description": description,
            "device_limit": device_limit,
        }
        return cast(ProductInfo, self._post("/products", body))

    def list_products(self) -> list[ProductInfo]:
        return cast(list[ProductInfo], self._get("/products"))

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        return cast(ProductInfo, self._get("/product", product=product, keys=keys))

    def add_device(
        self, product: str, sn: str, *, name: str = "", mac: str = "", description: str = ""
    ) -> DeviceInfo:
        body = {"product": product, "sn": sn, "name": name, "mac": mac, "description": description}
        return cast(DeviceInfo, self._post("/devices", body))

    def list_devices(self, product: str | None = None) -> list[DeviceInfo]:
        return cast(list[DeviceInfo], self._get("/devices", product=product))

    def show_device(self, sn: str, *, product: str | None = None, keys: bool = False) -> DeviceInfo:
        return cast(DeviceInfo, self._get("/device", sn=sn, product=product, keys=keys))

    def upload_firmware(self, path: Path, product: str) -> FirmwareInfo:
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size > MAX_PACKAGE:
                    raise TooLargeError(f"the package is larger than {MAX_PACKAGE} bytes")
                found = self._call("POST", "/api/v1/firmware", params={"product": product}, data=file)
        except OSError as exc:
            raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
        return cast(FirmwareInfo, found)

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]:
        return cast(list[FirmwareInfo], self._get("/firmware", product=product))

    def create_task(
        self,
        product: str,
        version: str | None,
        firmware_ids: Sequence[int],
        sns: Sequence[str],
        mode: UpgradeMode = UpgradeMode.FORCED,
    ) -> TaskInfo:
        body = {
            "product": product,
            "firmware_ids": list(firmware_ids),
            "sns": list(sns),
            "mode": mode.name.lower(),
        }
        if version is not None:
            body["version"] = version
        return cast(TaskInfo, self._post("/tasks", body))

    def list_tasks(self, product: str | None = None) -> list[TaskInfo]:
        return cast(list[TaskInfo], self._get("/tasks", product=product))

    def show_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._get(f"/tasks/{task_id}"))

    def cancel_task(self, task_id: int) -> TaskInfo:
        return cast(TaskInfo, self._post(f"/tasks/{task_id}/cancel", {}))

    def transfers(self, sn: str, *, product: str | None = None) -> list[TransferInfo]:
        return cast(list[TransferInfo], self._get("/transfers", sn=sn, product=product))

    def _get(self, path: str, *, keys: bool = False, **query: str | None) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", "/api/v1" + path, params={**params, "keys": "1"} if keys else params)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", "/api/v1" + path, json=body)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._session.request(method, self._url + path, timeout=TIMEOUT, **arguments)
            answer = response.json()
        except requests.JSONDecodeError:
            raise UnreachableError(f"what answers at {self._url} is not a cloud: check the URL") from None
        except requests.RequestException:
            raise UnreachableError(f"the cloud at {self._url} does not answer: is it running?") from None
        if response.ok:
            return answer
        fields = answer if isinstance(answer, dict) else {}
        raise by_code(str(fields.get("code")))(str(fields.get("detail") or f"HTTP {response.status_code}"))
