"""The upgrades that virtual worlds are made for: a small board, packages, the stories of an operator."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from cloudsdk.ota.codecs.fnv import fnv1a32
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.board import APP_TIMESTAMP, install, make_board
from sim.bootloader.rt_ota import APP, BOOTLOADER
from sim.flash.layout import BoardLayout, load_board
from sim.flash.pages import MemoryPages
from sim.virtual.clock import SECOND
from sim.virtual.faults import Randomness
from sim.virtual.releases import Release, Task
from sim.virtual.world import Order

FILES: Final = "filesystem"
_APP_SIZE: Final = 5000  # bytes
_FILES_SIZE: Final = 3000
_TIMESTAMP: Final = 1600000000


@cache
def board() -> BoardLayout:
    return load_board("iot-board")


@cache
def application(version: str) -> bytes:
    return samples.application(version, link_address=board().app.link_address, size=_APP_SIZE)


@cache
def files(version: str) -> bytes:
    return samples.filesystem(version, size=_FILES_SIZE)


def package(
    name: str,
    version: str,
    raw: bytes,
    *,
    keys: PackageKeys | None = None,
    compression: Compression = Compression.NONE,
    timestamp: int = _TIMESTAMP,
) -> bytes:
    """A package as the cloud gets it; encrypted with `keys` when they are given."""
    encryption = Encryption.NONE if keys is None else Encryption.AES256
    key, iv = (keys.key, keys.iv) if keys is not None else (None, None)
    return pack(
        raw,
        name=name,
        version=version,
        timestamp=timestamp,
        compression=compression,
        encryption=encryption,
        key=key,
        iv=iv,
    )


def damaged(package: bytes) -> bytes:
    """The same package with a body that its CRC does not fit."""
    middle = HEADER_SIZE + (len(package) - HEADER_SIZE) // 2
    return package[:middle] + bytes([package[middle] ^ 0xFF]) + package[middle + 1 :]


@cache
def app_release(version: str) -> Release:
    return Release(
        package(APP, version, application(version), keys=PackageKeys()),
        f"/fw/app-{version}.rbl",
        f'"{version}"',
    )


@cache
def files_release(version: str) -> Release:
    return Release(package(FILES, version, files(version)), f"/fw/files-{version}.rbl", f'"{version}"')


@cache
def other_build(release: Release) -> Release:
    """Another build under the same name, version and size."""
    header = release.header
    keys = PackageKeys() if header.encryption_bits else None
    other = package(
        header.name_text,
        header.version_text,
        _other_image(header.name_text, header.version_text),
        keys=keys,
        timestamp=_TIMESTAMP + 1,
    )
    return Release(other, release.path, release.etag)


def _image(name: str, version: str) -> bytes:
    return application(version) if name == APP else files(version)


@cache
def _other_image(name: str, version: str) -> bytes:
    image = _image(name, version)
    return image[:64] + bytes(byte ^ 0x55 for byte in image[64:])  # the vectors stay


def image_of(header: RblHeader) -> bytes | None:
    """The image that was packed with this header, by its hash; None when there is none."""
    name, version = header.name_text, header.version_text
    for image in (_image(name, version), _other_image(name, version)):
        if fnv1a32(image) == header.raw_hash:
            return image
    return None


@cache
def _base() -> Mapping[str, MemoryPages]:
    layout = board()
    pages = {device.name: MemoryPages(device.size) for device in layout.devices}
    made = make_board(layout, dict(pages))
    install(made, BOOTLOADER, bytes(range(256)), version="1.3", timestamp=1545134551)
    install(made, APP, application("1.0.0"), version="1.0.0", timestamp=APP_TIMESTAMP)
    return pages


def new_board() -> dict[str, MemoryPages]:
    """The flash of a board that was never activated: bootloader and application 1.0.0."""
    return {name: pages.fork() for name, pages in _base().items()}


# --- tasks ----------------------------------------------------------------------------------------------


@cache
def greater() -> Task:
    """Two firmwares, newer than what is there."""
    return Task("1.1", (app_release("2.0.0"), files_release("1.0.0")))


@cache
def following() -> Task:
    """The one after `greater`."""
    return Task("1.2", (app_release("3.0.0"),))


@cache
def same() -> Task:
    """What is installed already."""
    return Task("1.0", (app_release("1.0.0"),))


@cache
def previous() -> Task:
    return Task("0.9", (app_release("0.9.0"),))


@cache
def back() -> Task:
    """The application that a new board comes with, under a version of its own."""
    return Task("1.3", (app_release("1.0.0"),))


@cache
def bad_signature() -> Task:
    """A package whose body does not fit its CRC."""
    good = app_release("2.0.0")
    return Task("6.6", (Release(damaged(good.package), "/fw/bad.rbl"),))


@cache
def wrong_key(version: str = "2.0.0") -> Task:
    """A package that the device can verify and the bootloader cannot decrypt."""
    keys = PackageKeys(key=b"W" * 32, iv=b"w" * 16)
    return Task("6.7", (Release(package(APP, version, application(version), keys=keys), "/fw/key.rbl"),))


class Story(StrEnum):
    """What the operator does."""

    GREATER = "greater version"
    SAME = "same version"
    PREVIOUS = "previous version"
    BAD_SIGNATURE = "incorrect signing"
    WRONG_KEY = "wrong key"
    REPLACED = "replaced during the download"
    BACK_TO_BACK = "back-to-back"
    CANCEL = "cancel"
    CANCEL_THEN_UPDATE = "cancel then update"


@dataclass(frozen=True, slots=True)
class Plot:
    """A story with its times. `wanted` is the task that stands at the end, None after a cancel."""

    story: Story
    orders: tuple[Order, ...]

    @property
    def wanted(self) -> Task | None:
        return self.orders[-1].task


_WEIGHTED: Final = (Story.GREATER,) * 8 + tuple(Story)


def draw_plot(source: Randomness) -> Plot:
    story = source.choice(_WEIGHTED)
    first = source.randrange(0, 5 * SECOND)
    second = first + source.choice((0, source.randrange(0, 2 * SECOND), source.randrange(0, 60 * SECOND)))
    third = second + source.randrange(0, 30 * SECOND)
    return Plot(story, _orders(story, first, second, third))


def _orders(story: Story, first: int, second: int, third: int) -> tuple[Order, ...]:
    match story:
        case Story.GREATER:
            return (Order(first, greater()),)
        case Story.SAME:
            return (Order(first, same()),)
        case Story.PREVIOUS:
            return (Order(first, previous()),)
        case Story.BAD_SIGNATURE:
            return (Order(first, bad_signature()),)
        case Story.WRONG_KEY:
            return (Order(first, wrong_key()),)
        case Story.REPLACED | Story.BACK_TO_BACK:
            later = second if story is Story.REPLACED else second + 60 * SECOND
            return (Order(first, greater()), Order(later, following()))
        case Story.CANCEL:
            return (Order(first, greater()), Order(second, None))
        case Story.CANCEL_THEN_UPDATE:
            return (Order(first, greater()), Order(second, None), Order(third, following()))
