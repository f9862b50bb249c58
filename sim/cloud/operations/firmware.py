"""Firmware in the cloud (platform 8)."""

from pathlib import Path
from typing import Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from sim.cloud.blobs import Upload
from sim.cloud.model import library, products
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import FirmwareInfo

_READ_SIZE: Final = 256 * 1024  # bytes


class FirmwareOperations(BaseOperations):
    def upload_firmware(self, path: Path, product: str) -> FirmwareInfo:
        with self.core.blobs.receive() as upload:
            try:
                with open_regular(path) as file:
                    while piece := file.read(_READ_SIZE):
                        upload.write(piece)
            except OSError as exc:
                raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
            upload.flush()
            return self.add_firmware(upload, library.inspect_package(upload.path), product)

    def may_upload(self, product: str) -> None:
        """Raises the `CloudError` that `add_firmware` would raise for this product and caller."""
        with self._work(Scope.FIRMWARE) as work:
            products.find_product(work, product)

    def add_firmware(self, upload: Upload, facts: library.PackageFacts, product: str) -> FirmwareInfo:
        """Keep an inspected upload. The blob is durable before the row names it."""
        self.may_upload(product)  # an unknown product leaves no blob behind
        self.core.blobs.keep(upload)
        with self._work(Scope.FIRMWARE) as work:
            return library.add_firmware(work, product, facts, upload.sha256)

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]:
        with self._work(Scope.READ) as work:
            return library.list_firmware(work, product)
