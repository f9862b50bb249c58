"""A board's flash on disk: a directory with one image per device, used by one process at a time."""

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar, Final, Self

from cloudsdk.errors import FlashError
from cloudsdk.files import open_regular
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import BoardLayout
from sim.flash.pages import ERASED_PAGE, PAGE_SIZE, FilePages, ImageError, MemoryPages, inverted

LOCK_NAME: Final = "board.lock"


class BoardInUseError(FlashError):
    """Another process runs on the same flash images."""

    code: ClassVar[str] = "board.in-use"


class FlashImages:
    """The opened images of a board: `pages` by device name, for `make_devices`. A context manager."""

    def __init__(self, directory: Path, pages: Mapping[str, FilePages], resources: ExitStack) -> None:
        self.directory = directory
        self.pages = MappingProxyType(dict(pages))
        self._resources = resources

    def close(self) -> None:
        """Close the images and let other processes have them."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def image_path(directory: Path, device: str) -> Path:
    """The image of one device, every byte as its complement (docs/adr/0008)."""
    return directory / f"{device}.inverted"


def open_images(directory: Path, layout: BoardLayout) -> FlashImages:
    """Open the images of a board in `directory`, creating what is missing, erased and for the owner only.

    Raises `BoardInUseError` while they are open elsewhere, `ImageError` if they cannot be used.
    """
    with ExitStack() as resources:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ImageError(f"cannot use board directory {str(directory)!r}: {error.strerror}") from error
        resources.callback(os.close, lock)
        _lock(lock, fcntl.LOCK_EX, directory)
        pages = {
            device.name: resources.enter_context(FilePages(image_path(directory, device.name), device.size))
            for device in layout.devices
        }
        return FlashImages(directory, pages, resources.pop_all())


def copy_images(directory: Path, layout: BoardLayout) -> dict[str, MemoryPages]:
    """The content of the images in `directory` by device name, in memory; what is missing is erased.

    Nothing in the directory is changed. Raises `BoardInUseError` while a process runs on them, `ImageError`
    if they cannot be used.
    """
    with ExitStack() as resources:
        try:
            lock = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            pass  # no process has ever used them
        except OSError as error:
            raise ImageError(f"cannot lock board directory {str(directory)!r}: {error.strerror}") from error
        else:
            resources.callback(os.close, lock)
            _lock(lock, fcntl.LOCK_SH, directory)
        return {device.name: _copy(image_path(directory, device.name), device) for device in layout.devices}


def _copy(path: Path, device: FlashGeometry) -> MemoryPages:
    pages = MemoryPages(device.size)
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != device.size:
                raise ImageError(f"flash image {str(path)!r} has {size} bytes, not {device.size}")
            for offset in range(0, size, PAGE_SIZE):
                page = inverted(file.read(PAGE_SIZE))
                if page != ERASED_PAGE[: len(page)]:
                    pages.write(offset, page)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ImageError(f"cannot read flash image {str(path)!r}: {error.strerror}") from error
    return pages


def _lock(descriptor: int, kind: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BoardInUseError(
            f"board {str(directory)!r} is in use by another process; stop it or take another directory"
        ) from error
    except OSError as error:
        raise ImageError(f"cannot lock board directory {str(directory)!r}: {error.strerror}") from error
