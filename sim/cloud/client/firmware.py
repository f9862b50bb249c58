"""Packages (platform 7), and firmware in the cloud (platform 8)."""

import json
import os
from pathlib import Path
from typing import Any, cast

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.ota.pack import PackOptions
from sim.cloud.blobs import MAX_PACKAGE
from sim.cloud.client.http import ApiSession
from sim.cloud.errors import TooLargeError
from sim.cloud.model.packages import Expected
from sim.cloud.pages import MAX_PAGE
from sim.cloud.shapes import FirmwareInfo, PackedInfo, Page


class FirmwareCalls(ApiSession):
    def upload_firmware(
        self,
        path: Path,
        product: str,
        *,
        expected: Expected | None = None,
        description: str = "",
        allow_lower: bool = False,
    ) -> FirmwareInfo:
        wanted = expected or Expected()
        query = {
            "product": product,
            "name": wanted.name,
            "version": wanted.version,
            "description": description,
            "allow_lower": _flag(allow_lower),
        }
        answer = self._send_file("/firmware", path, query, _secrets(wanted.key, wanted.iv))
        return cast(FirmwareInfo, answer.json())

    def list_firmware(self, product: str | None = None) -> list[FirmwareInfo]:
        return self._all(lambda after: self.page_firmware(product, after=after, limit=MAX_PAGE))

    def page_firmware(
        self, product: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Page[FirmwareInfo]:
        found = self._get("/firmware/page", product=product, after=after, limit=limit)
        return cast(Page[FirmwareInfo], found)

    def show_firmware(self, firmware_id: int) -> FirmwareInfo:
        return cast(FirmwareInfo, self._get(f"/firmware/{firmware_id}"))

    def download_firmware(self, firmware_id: int, output: Path) -> FirmwareInfo:
        info = self.show_firmware(firmware_id)
        answer = self._request("GET", f"/api/v1/firmware/{firmware_id}/file")
        with replacing(output) as target:
            target.write(answer.content)
        return info

    def delete_firmware(self, firmware_id: int) -> None:
        self._request("DELETE", f"/api/v1/firmware/{firmware_id}")

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
        query = {
            "name": options.name,
            "version": options.version,
            "compression": options.compression.name.lower(),
            "encryption": options.encryption.name.lower(),
            "timestamp": options.timestamp,
            "product": product,
            "description": description,
            "allow_lower": _flag(allow_lower),
        }
        answer = self._send_file("/packages", source, query, _secrets(options.key, options.iv))
        if product is None:
            packed = cast(PackedInfo, json.loads(answer.headers["X-Package"]))
            content = answer.content
        else:
            packed = cast(PackedInfo, answer.json())
            content = b""
            if output is not None and packed["firmware"] is not None:
                number = packed["firmware"]["id"]
                content = self._request("GET", f"/api/v1/firmware/{number}/file").content
        if output is not None:
            with replacing(output) as target:
                target.write(content)
        return packed

    def _send_file(self, path: str, source: Path, query: dict[str, Any], headers: dict[str, str]) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        try:
            with open_regular(source) as file:
                if os.fstat(file.fileno()).st_size > MAX_PACKAGE:
                    raise TooLargeError(f"{source} is larger than {MAX_PACKAGE} bytes")
                return self._request("POST", "/api/v1" + path, params=params, data=file, headers=headers)
        except OSError as exc:
            raise UsageError(f"cannot read {source}: {exc.strerror}") from exc


def _secrets(key: bytes | None, iv: bytes | None) -> dict[str, str]:
    given = {"X-Package-Key": key, "X-Package-IV": iv}
    return {name: value.decode("latin-1") for name, value in given.items() if value is not None}


def _flag(value: bool) -> str | None:
    return "true" if value else None
