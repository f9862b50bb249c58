"""Packages for tests."""

from pathlib import Path
from typing import Final

from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.flash.layout import BoardLayout

TIMESTAMP: Final = 1546300800  # 2019-01-01 UTC, so that the same call gives the same bytes


class PackageMaker:
    """Makes `.rbl` files in a directory, for the bootloader of one board."""

    def __init__(self, directory: Path, layout: BoardLayout, keys: PackageKeys | None = None) -> None:
        self._directory = directory
        self._layout = layout
        self._keys = keys or PackageKeys()

    def __call__(
        self,
        name: str,
        version: str,
        raw: bytes | None = None,
        *,
        compression: Compression = Compression.NONE,
        encryption: Encryption = Encryption.NONE,
    ) -> Path:
        """A package of `raw` for partition `name`; without `raw`, of sample firmware that boots."""
        secret = encryption is Encryption.AES256
        content = self._sample(name, version) if raw is None else raw
        package = pack(
            content,
            name=name,
            version=version,
            timestamp=TIMESTAMP,
            compression=compression,
            encryption=encryption,
            key=self._keys.key if secret else None,
            iv=self._keys.iv if secret else None,
            flavour="qboot" if self._layout.bootloader.kind == "qboot" else "official",
        )
        path = self._directory / f"{name}-{version}.rbl"
        path.write_bytes(package)
        return path

    def _sample(self, name: str, version: str) -> bytes:
        app = self._layout.app
        if name == app.partition:
            return samples.application(version, link_address=app.link_address)
        return samples.filesystem(version)
