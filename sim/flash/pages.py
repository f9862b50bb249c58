"""Where the bytes of an emulated device live: in memory with copy-on-write, or in an image file.

A store is dumb: it replaces bytes and knows nothing of NOR rules, bounds or power. `NorFlash` does.
"""

import ctypes
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Protocol, Self

from cloudsdk.errors import FlashError

PAGE_SIZE: Final = 4096  # bytes
ERASED_PAGE: Final = b"\xff" * PAGE_SIZE
_ZEROS: Final = bytes(256 * PAGE_SIZE)  # written at a time where no hole can be made
_COMPLEMENT: Final = bytes(range(255, -1, -1))


class ImageError(FlashError):
    """An image file cannot be used."""

    code: ClassVar[str] = "flash.image"


class PageStore(Protocol):
    """Content of one device. The caller keeps every range inside `size` bytes."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None:
        """Replace the bytes at `offset`."""
        ...

    def erase(self, offset: int, length: int) -> None:
        """Set [offset, offset + length) to 0xFF."""
        ...


class MemoryPages:
    """Content in memory: a shared base that is never written, and the pages that differ from it.

    `base` is the content of the first bytes, the rest is erased. Pages are immutable, so a `fork` shares
    all of them until either side writes.
    """

    def __init__(self, size: int, base: bytes | None = None) -> None:
        base = base or b""
        if len(base) > size:
            raise ImageError(f"content of {len(base)} bytes does not fit a device of {size} bytes")
        self._size = size
        self._base = base
        self._pages: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return self._size

    @property
    def changed_pages(self) -> int:
        """Number of pages that are not taken from the base."""
        return len(self._pages)

    def fork(self) -> "MemoryPages":
        """An independent copy with the same content, at the price of one reference for each changed page."""
        twin = MemoryPages(self._size, self._base)
        twin._pages = self._pages.copy()
        return twin

    def snapshot(self) -> tuple[tuple[int, bytes], ...]:
        """Index and content of each page that differs from the base, ascending.

        Two stores of one size over equal bases hold the same bytes exactly if their snapshots are equal. The
        pages are shared, not copied, so a set of snapshots is a cheap memory of states that were seen.
        """
        return tuple(
            (index, page) for index, page in sorted(self._pages.items()) if page != self._base_page(index)
        )

    def page(self, index: int) -> bytes:
        """The `PAGE_SIZE` bytes of one page; the same object until it is written."""
        return self._page(index)

    def replace(self, pages: Mapping[int, bytes]) -> None:
        """Exchange whole pages by index."""
        self._pages.update(pages)

    def read(self, offset: int, length: int) -> bytes:
        first, start = divmod(offset, PAGE_SIZE)
        last = (offset + length - 1) // PAGE_SIZE
        if first >= last:
            return self._page(first)[start : start + length]
        whole = b"".join([self._page(index) for index in range(first, last + 1)])
        return whole[start : start + length]

    def write(self, offset: int, data: bytes) -> None:
        position = 0
        while position < len(data):
            index, start = divmod(offset + position, PAGE_SIZE)
            piece = data[position : position + PAGE_SIZE - start]
            if len(piece) < PAGE_SIZE:
                page = self._page(index)
                self._pages[index] = page[:start] + piece + page[start + len(piece) :]
            else:
                self._pages[index] = piece
            position += len(piece)

    def erase(self, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            index, start = divmod(offset, PAGE_SIZE)
            count = min(PAGE_SIZE - start, end - offset)
            if count < PAGE_SIZE:
                self.write(offset, ERASED_PAGE[:count])
            elif index * PAGE_SIZE < len(self._base):
                self._pages[index] = ERASED_PAGE
            else:
                self._pages.pop(index, None)
            offset += count

    def _page(self, index: int) -> bytes:
        page = self._pages.get(index)
        return self._base_page(index) if page is None else page

    def _base_page(self, index: int) -> bytes:
        page = self._base[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]
        return page if len(page) == PAGE_SIZE else page + ERASED_PAGE[len(page) :]


def inverted(data: bytes) -> bytes:
    """The complement of every byte: what image files hold."""
    return data.translate(_COMPLEMENT)


class FilePages:
    """Content in an image file, written through: what an operation changed is in the file when it returns.

    So the death of the process is a power cut between two operations. Every byte is stored as its complement:
    what is erased is a hole in the file and takes no room (docs/adr/0008). A missing file is created erased,
    readable by its owner only, for it may come to hold the device key. Raises `ImageError` if the file cannot
    be used or is not `size` bytes long.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        try:
            if not path.exists():
                _create_erased(path, size)
            self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            raise ImageError(f"cannot open flash image {str(path)!r}: {error.strerror}") from error
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            os.close(self._file)
            raise ImageError(
                f"flash image {str(path)!r} is not a file of {size} bytes as the board layout wants (it has "
                f"{status.st_size}); move it away to start with an erased device"
            )

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._file, length, offset)
        except OSError as error:
            raise ImageError(f"cannot read flash image {str(self._path)!r}: {error.strerror}") from error
        if len(data) != length:
            raise ImageError(f"flash image {str(self._path)!r} was cut below {self._size} bytes while in use")
        return inverted(data)

    def write(self, offset: int, data: bytes) -> None:
        self._store(offset, inverted(data))

    def erase(self, offset: int, length: int) -> None:
        if not length or _make_hole(self._file, offset, length):
            return
        for start in range(offset, offset + length, len(_ZEROS)):
            self._store(start, _ZEROS[: offset + length - start])

    def _store(self, offset: int, complements: bytes) -> None:
        view = memoryview(complements)
        try:
            while view:
                count = os.pwrite(self._file, view, offset)
                view = view[count:]
                offset += count
        except OSError as error:
            raise ImageError(f"cannot write flash image {str(self._path)!r}: {error.strerror}") from error

    def close(self) -> None:
        """Release the file. The store cannot be used afterwards."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _create_erased(path: Path, size: int) -> None:
    # Under another name first: a process killed here must not leave a short image behind.
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.truncate(size)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


_PUNCH_HOLE: Final = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE of fallocate(2)
_C_LIBRARY: Final = ctypes.CDLL(None)
#: Python has no call for it. `fallocate` alone has 64-bit offsets where there is no `fallocate64` beside it.
_FALLOCATE: Final = getattr(_C_LIBRARY, "fallocate64", None) or getattr(_C_LIBRARY, "fallocate", None)


def _make_hole(file: int, offset: int, length: int) -> bool:
    """Zero a range and give its blocks back; False where the system cannot."""
    if _FALLOCATE is None:
        return False
    done: int = _FALLOCATE(file, _PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length))
    return done == 0
