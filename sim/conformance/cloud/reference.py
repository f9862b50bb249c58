"""The admin hook of the reference cloud: `--admin-hook sim.conformance.cloud.reference:running`.

`CLOUDSIM_DATA` names the data directory of the cloud that runs.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cloudsdk.errors import UsageError
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.rollout import Selection
from sim.conformance.cloud.hook import Product


class ReferenceHook:
    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin

    def make_product(self, name: str) -> Product:
        self._admin.create_product(name)
        made = self._admin.show_product(name, keys=True)
        return Product(made["product_id"], made["product_key"])

    def add_device(self, product_id: str, sn: str) -> None:
        self._admin.add_device(product_id, sn)

    def upload(self, product_id: str, package: bytes) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "package.rbl")
            path.write_bytes(package)
            return str(self._admin.upload_firmware(path, product_id)["id"])

    def create_task(self, product_id: str, version: str, firmware: Sequence[str], sns: Sequence[str]) -> str:
        task = self._admin.create_task(
            product_id,
            firmware_ids=[int(name) for name in firmware],
            selection=Selection(tuple(sns)),
            version=version,
        )
        return str(task["id"])

    def cancel_task(self, task: str) -> None:
        self._admin.cancel_task(int(task))

    def is_online(self, product_id: str, sn: str) -> bool:
        return self._admin.show_device(sn, product=product_id)["online"]


def running() -> ReferenceHook:
    """The hook for the cloud that runs on `CLOUDSIM_DATA`. Raises `UsageError` when there is none."""
    data = os.environ.get("CLOUDSIM_DATA")
    endpoint = DataDir(Path(data)).endpoint() if data and Path(data).is_dir() else None
    if endpoint is None:
        raise UsageError("no cloud runs on CLOUDSIM_DATA: set it to the data directory of one that does")
    return ReferenceHook(AdminClient(endpoint.admin_url, endpoint.admin_token))
