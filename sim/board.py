"""A simulated board: flash devices on one power supply, a bootloader, and the directory that keeps them."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloudsdk.errors import CloudSdkError, FlashError
from cloudsdk.ota.errors import PackageKeyError
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.keys import PackageKeys, parse_key_file
from cloudsdk.ota.pack import pack
from cloudsdk.ota.rt_ota import header_offset
from flash_images import samples
from sim.bootloader.outcome import BootResult
from sim.bootloader.rt_ota import APP, BOOTLOADER, boot
from sim.flash.fal import FalPartition, FalTable, encode_table
from sim.flash.images import copy_images, image_path, open_images
from sim.flash.layout import BoardLayout, load_layout, save_layout
from sim.flash.nor import make_devices
from sim.flash.pages import MemoryPages, PageStore
from sim.flash.power import PowerSupply

LAYOUT_FILE: Final = "board.yaml"
KEYS_FILE: Final = "bootloader-keys.json"
#: Of the application a new board comes with: 2018-10-13 14:09:41 UTC+8, as in the manual's boot log.
APP_TIMESTAMP: Final = 1539410981


class BoardError(CloudSdkError):
    """A board directory that is missing, is in the way, or cannot be used."""

    code = "board.directory"


class PartitionNameError(BoardError):
    """The board has no partition of that name."""

    code = "board.partition"


@dataclass(slots=True)
class Board:
    """A powered board. `power` counts flash operations and can cut them."""

    layout: BoardLayout
    partitions: FalTable
    power: PowerSupply
    keys: PackageKeys = field(default_factory=PackageKeys)

    def boot(self, console: Callable[[str], None]) -> BootResult:
        """Power on or reset: run the bootloader. Raises `PowerCut` when the supply is told to fail."""
        self.power.restore()
        return boot(self.partitions, self.keys, console)

    def partition(self, name: str) -> FalPartition:
        """The partition of that name. Raises `PartitionNameError`, which lists the ones there are."""
        found = self.partitions.find(name)
        if found is None:
            known = ", ".join(entry.name for entry in self.layout.partitions)
            raise PartitionNameError(
                f"board {self.layout.name} has no partition {name!r}; its partitions are {known}"
            )
        return found

    def installed(self, name: str) -> RblHeader | None:
        """The valid firmware header of a partition, or None."""
        partition = self.partition(name)
        header = RblHeader.unpack(partition.read(header_offset(partition), HEADER_SIZE))
        return header if header.crc_ok else None


def make_board(
    layout: BoardLayout, pages: dict[str, PageStore] | None = None, keys: PackageKeys | None = None
) -> Board:
    """A board over the given contents by device name; without any, in erased memory."""
    power = PowerSupply()
    devices = make_devices(layout.devices, power, pages)
    return Board(layout, FalTable(layout, devices), power, keys or PackageKeys())


def install(board: Board, name: str, raw: bytes, *, version: str, timestamp: int) -> None:
    """Put firmware into a partition as a programmer would: the image at its start, the header at its tail.

    Raises `FlashError` when it does not fit.
    """
    partition = board.partition(name)
    if len(raw) + HEADER_SIZE > partition.size:
        raise FlashError(
            f"{len(raw)} bytes and a header do not fit partition {name!r} of {partition.size} bytes"
        )
    package = pack(raw, name=name, version=version, timestamp=timestamp)
    partition.erase(0, partition.size)
    partition.write(0, raw)
    partition.write(header_offset(partition), package[:HEADER_SIZE])


def furnish(board: Board, *, app_version: str | None) -> None:
    """Give a new board its bootloader and, unless None, an application of that version."""
    layout = board.layout
    boot_image = samples.bootloader(encode_table(layout.partitions))
    facts = layout.bootloader
    install(board, BOOTLOADER, boot_image, version=facts.version, timestamp=facts.timestamp)
    if app_version is not None:
        image = samples.application(app_version, link_address=layout.app.link_address)
        install(board, APP, image, version=app_version, timestamp=APP_TIMESTAMP)


# --- board directories ----------------------------------------------------------------------------------


def create_board(
    directory: Path, layout: BoardLayout, *, app_version: str | None, keys: PackageKeys | None = None
) -> None:
    """Make a board directory with its flash images; its layout file, which makes it a board, comes last.

    Raises `BoardError` when there is a board already.
    """
    if (directory / LAYOUT_FILE).exists():
        raise BoardError(f"{str(directory)!r} holds a board already; choose another directory or remove it")
    try:
        for device in layout.devices:
            image_path(directory, device.name).unlink(missing_ok=True)
        with open_images(directory, layout) as images:
            board = make_board(layout, dict(images.pages))
            furnish(board, app_version=app_version)
        (directory / KEYS_FILE).unlink(missing_ok=True)
        if keys is not None:
            _save_keys(directory / KEYS_FILE, keys)
        save_layout(layout, directory / LAYOUT_FILE)
    except OSError as exc:
        raise BoardError(f"cannot make a board in {str(directory)!r}: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def open_board(directory: Path) -> Iterator[Board]:
    """The board of a directory, for one process at a time; every flash operation reaches its files at once.

    Raises `BoardError` when there is none.
    """
    layout, keys = _facts(directory)
    with open_images(directory, layout) as images:
        yield make_board(layout, dict(images.pages), keys)


def copy_board(directory: Path) -> tuple[BoardLayout, dict[str, MemoryPages], PackageKeys]:
    """The board of a directory in memory: layout, content by device name, keys. Nothing there is changed.

    Raises `BoardError` when there is none.
    """
    layout, keys = _facts(directory)
    return layout, copy_images(directory, layout), keys


def _facts(directory: Path) -> tuple[BoardLayout, PackageKeys]:
    if not (directory / LAYOUT_FILE).is_file():
        raise BoardError(f"{str(directory)!r} holds no board; make one with: cloudsim board new {directory}")
    return load_layout(directory / LAYOUT_FILE), _load_keys(directory / KEYS_FILE)


def _save_keys(path: Path, keys: PackageKeys) -> None:
    text = json.dumps({"key": keys.key.decode("ascii"), "iv": keys.iv.decode("ascii")})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _load_keys(path: Path) -> PackageKeys:
    if not path.exists():
        return PackageKeys()
    try:
        return parse_key_file(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, PackageKeyError) as exc:
        raise BoardError(
            f"{str(path)!r} is not a bootloader key file; remove it to use the default key"
        ) from exc
