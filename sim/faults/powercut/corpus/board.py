"""The board the real path is cut on: the IoT Board with firmware of a few kilobytes."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from cloudsdk.ota.header import Encryption
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.profile import MANUAL
from flash_images import samples
from sim.board import APP_TIMESTAMP, furnish, install, make_board
from sim.bootloader.rt_ota import APP
from sim.flash.layout import load_board
from sim.flash.pages import MemoryPages

LAYOUT: Final = load_board("iot-board")
APP_SIZE: Final = 5000  # bytes; two chunks of the bootloader, the second a short one
#: The SDK without the checks of its own that would catch what others did wrong.
TRUSTING: Final = replace(MANUAL, name="trusting", takes_any_package=True, reports_uninstalled=True)
_TIMESTAMP: Final = 1546300800  # seconds since 1970, of every package
_KEYS: Final = PackageKeys()


@cache
def board_pages(app_size: int = APP_SIZE) -> Mapping[str, MemoryPages]:
    """Flash of a board with application 1.0.0 that was never activated; not to be changed."""
    pages = {device.name: MemoryPages(device.size) for device in LAYOUT.devices}
    board = make_board(LAYOUT, dict(pages))
    furnish(board, app_version=None)
    install(board, APP, _application("1.0.0", app_size), version="1.0.0", timestamp=APP_TIMESTAMP)
    return pages


@cache
def app_package(size: int = APP_SIZE) -> bytes:
    """Application 2.0.0 of `size` bytes, encrypted."""
    return pack(
        _application("2.0.0", size),
        name=APP,
        version="2.0.0",
        timestamp=_TIMESTAMP,
        encryption=Encryption.AES256,
        key=_KEYS.key,
        iv=_KEYS.iv,
    )


@cache
def filesystem_package(size: int = APP_SIZE) -> bytes:
    """Filesystem 1.0.0 of `size` bytes, as it is."""
    raw = samples.filesystem("1.0.0", size=size)
    return pack(raw, name="filesystem", version="1.0.0", timestamp=_TIMESTAMP)


def _application(version: str, size: int) -> bytes:
    return samples.application(version, link_address=LAYOUT.app.link_address, size=size)
