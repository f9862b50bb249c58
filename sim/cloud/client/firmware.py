"""Firmware in the cloud (platform 8)."""

import os
from pathlib import Path
from typing import cast

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from sim.cloud.blobs import MAX_PACKAGE
from sim.cloud.client.http import ApiSession
from sim.cloud.errors import TooLargeError
from sim.cloud.shapes import FirmwareInfo


class FirmwareCalls(ApiSession):
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
