"""Flash content in and out of a board: raw binary and Intel HEX.

This is a programmer's view, not a flash operation: bytes are replaced, nothing wears, power cannot fail.
"""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Final

from intelhex import IntelHex

from cloudsdk.errors import FlashError
from cloudsdk.ota.image import read_hex
from sim.flash.geometry import FlashGeometry
from sim.flash.pages import ERASED_PAGE, PAGE_SIZE, PageStore
from sim.flash.placement import PartitionEntry

_ROW: Final = 16  # bytes of a HEX record; rows that are erased are left out
_SEGMENT: Final = 64 * 1024  # bytes that one extended address record reaches
_ADDRESS_END: Final = 2**32  # Intel HEX has 32-bit addresses
_END_RECORD: Final = b":00000001FF\n"


class ImageFitError(FlashError):
    """A file that does not fit the place it is meant for."""

    code: ClassVar[str] = "board.image-fit"


@dataclass(frozen=True, slots=True)
class FlashWindow:
    """A device or a partition: `size` bytes of `pages` from offset `start`; `address` is its bus address."""

    name: str
    pages: PageStore
    start: int
    size: int
    address: int

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Offset from the start of the window and content of each page."""
        for offset in range(0, self.size, PAGE_SIZE):
            yield offset, self.pages.read(self.start + offset, min(PAGE_SIZE, self.size - offset))

    def replace(self, offset: int, data: bytes) -> None:
        """Replace bytes. What is erased costs no room."""
        if data == ERASED_PAGE[: len(data)]:
            self.pages.erase(self.start + offset, len(data))
        else:
            self.pages.write(self.start + offset, data)

    def erase(self) -> None:
        self.pages.erase(self.start, self.size)


def device_window(device: FlashGeometry, pages: PageStore) -> FlashWindow:
    """All of a device."""
    return FlashWindow(f"device {device.name}", pages, 0, device.size, device.address)


def partition_window(entry: PartitionEntry, device: FlashGeometry, pages: PageStore) -> FlashWindow:
    """A partition of `device`."""
    return FlashWindow(
        f"partition {entry.name}", pages, entry.offset, entry.length, device.address + entry.offset
    )


def export_raw(window: FlashWindow, file: BinaryIO) -> None:
    """Write the window as it is, erased bytes as 0xFF."""
    for _, piece in window.read():
        file.write(piece)


def export_hex(window: FlashWindow, file: BinaryIO) -> None:
    """Write what is not erased as Intel HEX, at bus addresses.

    Raises `ImageFitError` when those have more than 32 bits.
    """
    if window.address + window.size > _ADDRESS_END:
        raise ImageFitError(f"{window.name} lies beyond 32-bit addresses: export it as raw binary")
    batch = IntelHex()  # keeps a dictionary entry per byte: one segment at a time
    segment = -1
    for offset, page in window.read():
        if page == ERASED_PAGE[: len(page)]:
            continue
        for start in range(0, len(page), _ROW):
            row = page[start : start + _ROW]
            if row == ERASED_PAGE[: len(row)]:
                continue
            address = window.address + offset + start
            if address // _SEGMENT != segment:
                _write_records(batch, file)
                batch, segment = IntelHex(), address // _SEGMENT
            batch.puts(address, row)
    _write_records(batch, file)
    file.write(_END_RECORD)


def _write_records(batch: IntelHex, file: BinaryIO) -> None:
    text = io.StringIO()
    batch.write_hex_file(text, eolstyle="native")
    file.write(text.getvalue().encode("ascii").removesuffix(_END_RECORD))


def import_raw(window: FlashWindow, path: Path, file: BinaryIO, offset: int | None, *, erase: bool) -> int:
    """Replace the window by a raw file, or bytes from `offset` on; returns the number of bytes.

    With `erase` everything else in the window is erased.
    Without an offset the file has to be as long as the window: a dump of a real chip is. Raises
    `ImageFitError`, before anything is changed.
    """
    size = os.fstat(file.fileno()).st_size
    start = offset or 0
    room = window.size - start
    if room < 0:
        raise ImageFitError(
            f"offset 0x{start:x} is beyond the end of {window.name}, which has 0x{window.size:x} bytes"
        )
    held = f"{window.name} has {window.size} bytes" + (f", {room} from 0x{start:x} on" if start else "")
    if size > room:
        raise ImageFitError(f"{str(path)!r} has {size} bytes, {held}: it is {size - room} bytes too long")
    if offset is None and size < room:
        raise ImageFitError(
            f"{str(path)!r} has {size} bytes, {held}: it is {room - size} bytes too short; give --offset 0 "
            "to replace only so many"
        )
    if erase:
        window.erase()
    position = start
    while position < start + size:
        piece = file.read(min(PAGE_SIZE - position % PAGE_SIZE, start + size - position))
        if not piece:
            raise ImageFitError(f"{str(path)!r} became shorter while it was read")
        window.replace(position, piece)
        position += len(piece)
    return size


def import_hex(window: FlashWindow, path: Path, file: BinaryIO, *, erase: bool) -> int:
    """Replace the bytes that the records of an Intel HEX file name; returns their number.

    With `erase` everything else in the window is erased.
    Raises `ImageFitError` for an address outside the window and `ImageError` for a damaged file, before
    anything is changed.
    """
    image = read_hex(path, file)
    end = window.address + window.size
    for address, data in image.segments():
        if address < window.address or address + len(data) > end:
            outside = address if not window.address <= address < end else end
            raise ImageFitError(
                f"{str(path)!r} has a byte for 0x{outside:08x}, {window.name} is 0x{window.address:08x} to "
                f"0x{end:08x}"
            )
    if erase:
        window.erase()
    count = 0
    for address, data in image.segments():
        window.replace(address - window.address, data)
        count += len(data)
    return count
