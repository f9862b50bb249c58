"""What a cloud in memory offers: packages at URLs, and tasks made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cloudsdk.datapoints import DataPoint
from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.transport import cipher, rounded

ORIGIN: Final = "http://127.0.0.1:8090"  # names the cloud in requests; nothing listens there
DEVICE_ID: Final = "9017444f3bec4453"
DEVICE_KEY: Final = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
CREATED: Final = 1539684200  # `createdTime` of every task


def message(dp: DataPoint, value: object = None) -> bytes:
    """A message to the device with one data point (cloudsdk-protocol 2.4)."""
    element: dict[str, object] = {"DP": int(dp)} | ({"value": value} if value is not None else {})
    return json.dumps({"data": [element]}).encode()


ACTIVATED: Final = json.dumps({"DeviceId": DEVICE_ID, "DeviceKey": DEVICE_KEY}).encode()
VERSION_QUERY: Final = message(DataPoint.VERSION_QUERY)


@dataclass(frozen=True, slots=True)
class Release:
    """A package at a path of the cloud. `etag` is as it stands in the header field, quotes included."""

    package: bytes = field(repr=False)
    path: str
    etag: str | None = '"1"'
    header: RblHeader = field(init=False, repr=False)
    body: bytes = field(init=False, repr=False)  # as it is sent to the device

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", RblHeader.unpack(self.package))
        padded = self.package.ljust(rounded(len(self.package)), b"\0")
        object.__setattr__(self, "body", cipher(DEVICE_KEY).encryptor().update(padded))

    @property
    def url(self) -> str:
        return ORIGIN + self.path

    def element(self, index: int) -> dict[str, object]:
        """Its element in a task (cloudsdk-protocol 3.1)."""
        return {
            "type": self.header.name_text,
            "file_version": self.header.version_text,
            "file_url": self.url,
            "upgrade_mode": 1,
            "file_size": len(self.package),
            "index": index,
        }


@dataclass(frozen=True, slots=True)
class Task:
    """A set of releases under one version, in this order. `changes` override members of every element."""

    version: str
    releases: tuple[Release, ...]
    changes: tuple[tuple[str, object], ...] = ()
    message: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        firmwares = [
            release.element(number) | dict(self.changes)
            for number, release in enumerate(self.releases, start=1)
        ]
        value = {"createdTime": CREATED, "version": self.version, "firmwares": firmwares}
        object.__setattr__(self, "message", message(DataPoint.OTA_TASK, value))


def releases(packages: Sequence[bytes]) -> tuple[Release, ...]:
    """Complete `.rbl` files at paths of their own."""
    return tuple(Release(package, f"/fw/{number}.rbl") for number, package in enumerate(packages))
