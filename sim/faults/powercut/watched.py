"""A page store that notes which pages are looked at and which are changed."""

from sim.flash.pages import PAGE_SIZE, MemoryPages


class WatchedPages:
    """Content of a device in a world. Notes begin with `watch`."""

    def __init__(self, pages: MemoryPages) -> None:
        self.pages = pages
        self._watching = False
        self._first: dict[int, bytes | None] = {}  # None: erased before it was looked at
        self._changed: set[int] = set()

    @property
    def size(self) -> int:
        return self.pages.size

    def watch(self) -> None:
        """Begin to note, or begin anew."""
        self._watching = True
        self._first = {}
        self._changed = set()

    def seen(self) -> list[tuple[int, bytes]]:
        """The pages that were looked at, as they were then. To program over a page is to look at it."""
        return [(index, page) for index, page in self._first.items() if page is not None]

    def left(self) -> dict[int, bytes]:
        """The pages that were changed, as they are now."""
        return {index: self.pages.page(index) for index in self._changed}

    def read(self, offset: int, length: int) -> bytes:
        if self._watching:
            self._look(offset, length)
        return self.pages.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        if self._watching:
            self._look(offset, len(data))
            self._changed.update(_indices(offset, len(data)))
        self.pages.write(offset, data)

    def erase(self, offset: int, length: int) -> None:
        if self._watching:
            for index in _indices(offset, length):
                if index not in self._first:
                    start = index * PAGE_SIZE
                    whole = offset <= start and start + PAGE_SIZE <= offset + length
                    self._first[index] = None if whole else self.pages.page(index)
                self._changed.add(index)
        self.pages.erase(offset, length)

    def _look(self, offset: int, length: int) -> None:
        first = self._first
        for index in _indices(offset, length):
            if index not in first:
                first[index] = self.pages.page(index)


def _indices(offset: int, length: int) -> range:
    return range(offset // PAGE_SIZE, (offset + length - 1) // PAGE_SIZE + 1)
