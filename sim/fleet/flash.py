"""The flash of a fleet: one base for all devices, and of each device only the pages that differ.

A device at rest is a dictionary of pages, each without the erased bytes at its end. Flash devices, partitions
and ENV are built over it when somebody looks at them, and given up again by `rest`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cloudsdk.env import EnvError
from cloudsdk.ota.keys import PackageKeys
from sim.board import Board, furnish, make_board
from sim.bootloader.decoded import DecodeCache
from sim.bootloader.outcome import BootResult
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.fal import FalPartition
from sim.flash.layout import BoardLayout
from sim.flash.pages import ERASED_PAGE, PAGE_SIZE, MemoryPages, PageStore
from sim.flash.power import CutMoment, PowerCut

ENV_PARTITION: Final = "easyflash"
SHARED_PAGES: Final = 16384  # pages that are the same on many devices, 64 MiB of them at most
REMEMBERED_BOOTS: Final = 64

#: Content by page, counted through all flash devices of a board, each without trailing erased bytes.
Pages = dict[int, bytes]


class PageShare:
    """One copy of equal pages. What was shared longest ago is forgotten, which costs memory only."""

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[bytes, bytes] = {}

    def one(self, page: bytes) -> bytes:
        """The copy of `page` that is kept."""
        kept = self._pages.setdefault(page, page)
        if len(self._pages) > SHARED_PAGES:
            del self._pages[next(iter(self._pages))]
        return kept


class DevicePages:
    """One flash device's content. Implements `PageStore` over the pages of a fleet device."""

    __slots__ = ("_base", "_first", "_own", "_share", "_size")

    def __init__(
        self, size: int, first: int, own: Pages, base: Mapping[int, bytes], share: PageShare
    ) -> None:
        self._size = size
        self._first = first  # page of the board that is this device's first
        self._own = own
        self._base = base
        self._share = share

    @property
    def size(self) -> int:
        return self._size

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
            position += len(piece)
            if len(piece) < PAGE_SIZE:
                old = self._page(index)
                piece = old[:start] + piece + old[start + len(piece) :]
            self._put(index, piece)

    def erase(self, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            index, start = divmod(offset, PAGE_SIZE)
            count = min(PAGE_SIZE - start, end - offset)
            if count < PAGE_SIZE:
                self.write(offset, ERASED_PAGE[:count])
            else:
                self._put(index, b"")
            offset += count

    def _page(self, index: int) -> bytes:
        index += self._first
        page = self._own.get(index)
        if page is None:
            page = self._base.get(index, b"")
        if len(page) == PAGE_SIZE:
            return page
        return page.ljust(PAGE_SIZE, b"\xff") if page else ERASED_PAGE

    def _put(self, index: int, page: bytes) -> None:
        """A full page is the package's and shared; what ends erased is the device's own, ENV or journal."""
        page = page.rstrip(b"\xff")
        if len(page) == PAGE_SIZE:
            page = self._share.one(page)
        index += self._first
        if page == self._base.get(index, b""):
            self._own.pop(index, None)
        else:
            self._own[index] = page


class _WatchedPages(DevicePages):
    """Notes what a boot sees before it changes it, and which pages it changes."""

    __slots__ = ("changed", "seen")

    def __init__(
        self, size: int, first: int, own: Pages, base: Mapping[int, bytes], share: PageShare
    ) -> None:
        super().__init__(size, first, own, base, share)
        self.seen: dict[int, bytes] = {}
        self.changed: set[int] = set()

    def _page(self, index: int) -> bytes:
        page = super()._page(index)
        if index + self._first not in self.changed:
            self.seen.setdefault(index + self._first, page.rstrip(b"\xff"))
        return page

    def _put(self, index: int, page: bytes) -> None:
        self.changed.add(index + self._first)
        super()._put(index, page)


_Store = TypeVar("_Store", bound=DevicePages)


@dataclass(slots=True)
class _Boot:
    """What the bootloader saw, what it left, how it ended and what it printed."""

    seen: list[tuple[int, bytes]]
    left: dict[int, bytes]
    result: BootResult
    console: str


@dataclass(slots=True)
class BoardBase:
    """What all boards of one layout with one firmware have in common."""

    layout: BoardLayout
    pages: Mapping[int, bytes]
    first_pages: Mapping[str, int]  # of each flash device
    keys: PackageKeys = field(default_factory=PackageKeys)
    share: PageShare = field(default_factory=PageShare)
    cache: DecodeCache = field(default_factory=DecodeCache)
    boots: int = 0  # that the bootloader was run for
    recalled_boots: int = 0
    _remembered: list[_Boot] = field(default_factory=list)

    @classmethod
    def make(cls, layout: BoardLayout, app_version: str, keys: PackageKeys | None = None) -> "BoardBase":
        """A new board with an application, as it has booted once: its ENV holds the defaults."""
        contents = {device.name: MemoryPages(device.size) for device in layout.devices}
        board = make_board(layout, dict[str, PageStore](contents), keys)
        furnish(board, app_version=app_version)
        EasyFlashEnv(board.partition(ENV_PARTITION)).init()
        pages: dict[int, bytes] = {}
        firsts: dict[str, int] = {}
        first = 0
        for name, content in contents.items():
            firsts[name] = first
            for index, page in content.snapshot():
                if trimmed := page.rstrip(b"\xff"):
                    pages[first + index] = trimmed
            first += -(-content.size // PAGE_SIZE)
        return cls(layout, pages, firsts, keys or PackageKeys())

    def board(self, own: Pages) -> Board:
        """A board over the pages of one device."""
        return make_board(self.layout, dict(self._stores(own, DevicePages)), self.keys, self.cache)

    def boot(self, own: Pages) -> tuple[BootResult, str]:
        """Run the bootloader on the pages of one device; the outcome and its console text.

        A boot that finds every page it would look at as an earlier one found it leaves what that one left.
        """
        for place, earlier in enumerate(self._remembered):
            if self._same(own, earlier.seen):
                self._remembered.insert(0, self._remembered.pop(place))
                for index, page in earlier.left.items():
                    self._take(own, index, page)
                self.recalled_boots += 1
                return earlier.result, earlier.console
        watched = dict(self._stores(own, _WatchedPages))
        text: list[str] = []
        board = make_board(self.layout, dict[str, PageStore](watched), self.keys, self.cache)
        result = board.boot(text.append)
        seen = {index: page for store in watched.values() for index, page in store.seen.items()}
        left = {
            index: own.get(index, self.pages.get(index, b""))
            for store in watched.values()
            for index in store.changed
        }
        self._remembered.insert(0, _Boot(list(seen.items()), left, result, "".join(text)))
        del self._remembered[REMEMBERED_BOOTS:]
        self.boots += 1
        return result, "".join(text)

    def cut_boot(self, own: Pages, operations: int) -> bool:
        """Run the bootloader with power for so many flash operations; whether they did not suffice."""
        board = self.board(own)
        board.power.arm(lambda index, _operation: CutMoment.TORN if index == operations else None)
        try:
            board.boot(lambda _text: None)
        except PowerCut:
            return True
        return False

    def _same(self, own: Pages, seen: list[tuple[int, bytes]]) -> bool:
        for place, (index, content) in enumerate(seen):
            page = own.get(index)
            if page is None:
                page = self.pages.get(index, b"")
            if page != content:
                # What differs once will differ again: look there first.
                seen.insert(0, seen.pop(place))
                return False
        return True

    def _take(self, own: Pages, index: int, page: bytes) -> None:
        if page == self.pages.get(index, b""):
            own.pop(index, None)
        else:
            own[index] = page

    def _stores(self, own: Pages, kind: type[_Store]) -> Iterator[tuple[str, _Store]]:
        for device in self.layout.devices:
            yield (
                device.name,
                kind(device.size, self.first_pages[device.name], own, self.pages, self.share),
            )


class DeviceFlash:
    """Partitions and ENV of one device. Implements `cloudsdk.fal.PartitionTable` and `cloudsdk.env.Env`."""

    __slots__ = ("_board", "_env", "base", "pages")

    def __init__(self, base: BoardBase) -> None:
        self.pages: Pages = {}
        self.base = base
        self._board: Board | None = None
        self._env: EasyFlashEnv | None = None

    def boot(self) -> tuple[BootResult, str]:
        """Power on or reset: the bootloader's outcome and console text. What was in RAM is gone."""
        self._board = self._env = None
        return self.base.boot(self.pages)

    def cut_boot(self, operations: int) -> bool:
        """A boot with power for so many flash operations; False when it needs fewer, and is complete."""
        self._board = self._env = None
        return self.base.cut_boot(self.pages, operations)

    @property
    def awake(self) -> bool:
        """Whether there is something for `rest` to give up."""
        return self._board is not None

    def rest(self) -> None:
        """Give up what can be built again. Wear and statistics are not kept."""
        if self._env is None or not self._env.state.dirty:
            self._board = self._env = None

    # --- partitions ---------------------------------------------------------------------------------

    def find(self, name: str) -> FalPartition | None:
        return self._awake.partitions.find(name)

    @property
    def _awake(self) -> Board:
        if self._board is None:
            self._board = self.base.board(self.pages)
        return self._board

    # --- ENV ----------------------------------------------------------------------------------------

    def get(self, key: str) -> str | None:
        return self._store.get(key)

    def set(self, key: str, value: str) -> None:
        self._store.set(key, value)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def save(self) -> None:
        self._store.save()

    @property
    def _store(self) -> EasyFlashEnv:
        if self._env is None:
            self._env = EasyFlashEnv(self._awake.partition(ENV_PARTITION))
            with contextlib.suppress(EnvError):  # the board goes on without ENV
                self._env.init()
        return self._env
