"""Packages (platform 7), and firmware in the cloud (platform 8)."""

import shutil
from pathlib import Path
from typing import BinaryIO, Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.pack import PackOptions, size_warnings
from sim.cloud.blobs import Upload
from sim.cloud.errors import StorageError
from sim.cloud.model import library
from sim.cloud.model.packages import Expected, PackageFacts, inspect_package, package_info
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.packing import pack_file
from sim.cloud.shapes import FirmwareInfo, PackedInfo, Page

_READ_SIZE: Final = 256 * 1024  # bytes


def take_in(upload: Upload, file: BinaryIO, expected: Expected | None = None) -> PackageFacts:
    """Fill `upload` from `file` and inspect it. Needs no database, so any thread will do."""
    while piece := file.read(_READ_SIZE):
        upload.write(piece)
    upload.flush()
    return inspect_package(upload.path, expected)


def packed_info(header: RblHeader, size: int, firmware: FirmwareInfo | None) -> PackedInfo:
    return PackedInfo(
        package=package_info(header), size=size, warnings=size_warnings(header), firmware=firmware
    )


class FirmwareOperations(BaseOperations):
    def upload_firmware(
        self,
        path: Path,
        product: str,
        *,
        expected: Expected | None = None,
        description: str = "",
        allow_lower: bool = False,
    ) -> FirmwareInfo:
        """Take in the package at `path`; `expected` is what the user says about it.

        Its version must be higher than the latest of this name in the product (platform 8.1), unless
        `allow_lower`. Raises `PackageRefusedError`, `VersionNotHigherError`, `QuotaError`.
        """
        with self.core.blobs.receive() as upload:
            try:
                with open_regular(path) as file:
                    facts = take_in(upload, file, expected)
            except OSError as exc:
                raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
            return self.add_firmware(upload, facts, product, description=description, allow_lower=allow_lower)

    def may_upload(self, product: str) -> None:
        """Raises the `CloudError` that `add_firmware` would raise for this product and caller."""
        with self._work(Scope.FIRMWARE) as work:
            library.check_new(work, product)

    def may_pack(self, product: str | None) -> None:
        """Raises the `CloudError` that packing for this product, or for nobody, would raise."""
        self.caller.require(Scope.FIRMWARE)
        if product is not None:
            self.may_upload(product)

    def add_firmware(
        self,
        upload: Upload,
        facts: PackageFacts,
        product: str,
        *,
        description: str = "",
        allow_lower: bool = False,
    ) -> FirmwareInfo:
        """Keep an inspected upload. The blob is durable before the row names it."""
        with self._work(Scope.FIRMWARE) as work:
            # What is refused leaves no blob behind.
            if library.find_same(work, product, upload.sha256) is None:
                library.check_new(work, product, size=upload.size, facts=facts, allow_lower=allow_lower)
        self.core.blobs.keep(upload)
        with self._work(Scope.FIRMWARE) as work:
            return library.add_firmware(
                work, product, facts, upload.sha256, description=description, allow_lower=allow_lower
            )

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]:
        with self._work(Scope.READ) as work:
            return library.list_firmware(work, product)

    def page_firmware(
        self, product: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[FirmwareInfo]:
        with self._work(Scope.READ) as work:
            return library.page_firmware(work, product, after=after, limit=limit)

    def show_firmware(self, firmware_id: int) -> FirmwareInfo:
        with self._work(Scope.READ) as work:
            return library.firmware_info(library.find_firmware(work, firmware_id))

    def firmware_file(self, firmware_id: int) -> tuple[FirmwareInfo, Path]:
        """The firmware and where its package lies."""
        info = self.show_firmware(firmware_id)
        return info, self.core.blobs.path(info["sha256"])

    def download_firmware(self, firmware_id: int, output: Path) -> FirmwareInfo:
        """Write the package as it was uploaded to `output`."""
        info, path = self.firmware_file(firmware_id)
        try:
            with path.open("rb") as file, replacing(output) as target:
                shutil.copyfileobj(file, target)
        except OSError as exc:
            raise StorageError(f"cannot read a stored package: {exc.strerror}") from exc
        return info

    def delete_firmware(self, firmware_id: int) -> None:
        """Raises `FirmwareInUseError` while an open task needs it."""
        with self._work(Scope.FIRMWARE) as work:
            unused = library.delete_firmware(work, firmware_id)
        if unused is not None:
            self.core.blobs.drop(unused)

    def pack_package(
        self,
        source: Path,
        options: PackOptions,
        *,
        output: Path | None = None,
        product: str | None = None,
        description: str = "",
        allow_lower: bool = False,
    ) -> PackedInfo:
        """Make a package of the raw firmware in `source`; write it to `output`, store it in `product`,
        or both.

        It takes as long as packing takes: on an event loop use `Core.packers`, `take_in` and `add_firmware`.
        """
        self.caller.require(Scope.FIRMWARE)
        with self.core.blobs.scratch() as made:
            header = pack_file(source, made, options)
            size = made.seek(0, 2)
            firmware = None
            if product is not None:
                made.seek(0)
                with self.core.blobs.receive() as upload:
                    facts = take_in(upload, made, Expected(key=options.key, iv=options.iv))
                    firmware = self.add_firmware(
                        upload, facts, product, description=description, allow_lower=allow_lower
                    )
            if output is not None:
                made.seek(0)
                with replacing(output) as target:
                    shutil.copyfileobj(made, target)
        return packed_info(header, size, firmware)
