"""A simulated board: flash devices on one power supply, a bootloader, and the directory that keeps them."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloudsdk.errors import CloudSdkError, FlashError
from cloudsdk.ota.header import HEADER_SIZE, Flavour, RblHeader
from cloudsdk.ota.keys import PackageKeys, read_key_file
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.bootloader import kinds
from sim.bootloader.decoded import DecodeCache
from sim.bootloader.outcome import BootResult
from sim.bootloader.rt_ota import BOOTLOADER, FACTORY
from sim.flash.fal import FalPartition, FalTable, encode_table
from sim.flash.images import FlashImages, copy_images, image_path, open_images
from sim.flash.layout import BoardLayout, load_layout, save_layout
from sim.flash.nor import make_devices
from sim.flash.pages import MemoryPages, PageStore
from sim.flash.power import PowerSupply
from sim.flash.wear import WEAR_FILE, WearTables, load_wear, save_wear

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
    """A powered board. `power` counts flash operations and can cut them.

    `cache` keeps what its bootloader decodes; boards that boot one after the other may share one.
    """

    layout: BoardLayout
    partitions: FalTable
    power: PowerSupply
    keys: PackageKeys = field(default_factory=PackageKeys)
    cache: DecodeCache | None = None

    def boot(self, console: Callable[[str], None], *, factory_key: bool = False) -> BootResult:
        """Power on or reset: run the bootloader. Raises `PowerCut` when the supply is told to fail.

        `factory_key` is whether QBoot's factory key is held down.
        """
        self.power.restore()
        return kinds.boot(self.partitions, self.keys, console, cache=self.cache, factory_key=factory_key)

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
        """The firmware header of a partition if it is valid to the board's bootloader, or None."""
        return kinds.installed(self.layout.bootloader, self.partition(name))


def make_board(
    layout: BoardLayout,
    pages: dict[str, PageStore] | None = None,
    keys: PackageKeys | None = None,
    cache: DecodeCache | None = None,
    *,
    wear: WearTables | None = None,
) -> Board:
    """A board over the given contents and wear by device name; without any, in erased and fresh memory."""
    power = PowerSupply()
    devices = make_devices(layout.devices, power, pages, wear=wear)
    return Board(layout, FalTable(layout, devices), power, keys or PackageKeys(), cache)


def install(board: Board, name: str, raw: bytes, *, version: str, timestamp: int) -> None:
    """Put firmware into a partition as a programmer would: the image at its start, the header at its tail.

    Raises `FlashError` when it does not fit.
    """
    package = pack(raw, name=name, version=version, timestamp=timestamp, flavour=_flavour(board))
    _program(board.partition(name), raw, package[:HEADER_SIZE])


def furnish(board: Board, *, app_version: str | None) -> None:
    """Give a new board its bootloader and, unless None, an application of that version.

    A bootloader that restores from partition `factory` finds the same application there. QBoot has no header
    of its own, and its `factory` holds a package.
    """
    layout = board.layout
    facts = layout.bootloader
    is_qboot = facts.kind == "qboot"
    boot_image = samples.bootloader(encode_table(layout.partitions))
    if is_qboot:
        _program(board.partition(BOOTLOADER), boot_image)
    else:
        install(board, BOOTLOADER, boot_image, version=facts.version, timestamp=facts.timestamp)
    if app_version is None:
        return
    image = samples.application(app_version, link_address=layout.app.link_address)
    install(board, layout.app.partition, image, version=app_version, timestamp=APP_TIMESTAMP)
    factory = board.partitions.find(FACTORY)
    if factory is not None and is_qboot:
        flavour = _flavour(board)
        _program(
            factory,
            pack(
                image,
                name=layout.app.partition,
                version=app_version,
                timestamp=APP_TIMESTAMP,
                flavour=flavour,
            ),
        )
    elif facts.kind == "rt_ota+factory":
        install(board, FACTORY, image, version=app_version, timestamp=APP_TIMESTAMP)


def _flavour(board: Board) -> Flavour:
    return "qboot" if board.layout.bootloader.kind == "qboot" else "official"


def _program(partition: FalPartition, content: bytes, header: bytes = b"") -> None:
    """Erase a partition and write `content` to its start and `header`, if any, to its end."""
    if len(content) + len(header) > partition.size:
        raise FlashError(
            f"{len(content)} bytes{' and a header' if header else ''} do not fit partition "
            f"{partition.name!r} of {partition.size} bytes"
        )
    partition.erase(0, partition.size)
    partition.write(0, content)
    if header:
        partition.write(partition.size - len(header), header)


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
        for left_over in (KEYS_FILE, WEAR_FILE):
            (directory / left_over).unlink(missing_ok=True)
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
    with open_flash(directory) as (layout, images):
        keys, worn = _load_keys(directory / KEYS_FILE), load_wear(directory / WEAR_FILE)
        board = make_board(layout, dict(images.pages), keys, wear=worn)
        try:
            yield board
        finally:
            devices = board.partitions.devices.items()
            tables = {name: table for name, device in devices if (table := device.wear_table())}
            if tables != worn:
                save_wear(directory / WEAR_FILE, tables)


@contextlib.contextmanager
def open_flash(directory: Path) -> Iterator[tuple[BoardLayout, FlashImages]]:
    """The layout and the flash content of a board, for one process at a time.

    Raises `BoardError` when there is none.
    """
    layout = _layout(directory)
    with open_images(directory, layout) as images:
        yield layout, images


def copy_board(directory: Path) -> tuple[BoardLayout, dict[str, MemoryPages], PackageKeys]:
    """The board of a directory in memory: layout, content by device name, keys. Nothing there is changed.

    Raises `BoardError` when there is none.
    """
    layout = _layout(directory)
    return layout, copy_images(directory, layout), _load_keys(directory / KEYS_FILE)


def _layout(directory: Path) -> BoardLayout:
    if not (directory / LAYOUT_FILE).is_file():
        raise BoardError(f"{str(directory)!r} holds no board; make one with: cloudsim board new {directory}")
    return load_layout(directory / LAYOUT_FILE)


def _save_keys(path: Path, keys: PackageKeys) -> None:
    text = json.dumps({"key": keys.key.decode("ascii"), "iv": keys.iv.decode("ascii")})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _load_keys(path: Path) -> PackageKeys:
    if not path.exists():
        return PackageKeys()
    try:
        keys, _ = read_key_file(path)
    except CloudSdkError as exc:
        raise BoardError(
            f"{str(path)!r} is not a bootloader key file; remove it to use the default key"
        ) from exc
    return keys
