"""The files a shell sees: a small port, and an in-memory DFS with devices at `/dev` (console 7)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

DEVICES: Final = "/dev"
MAX_DIRECTORIES: Final = 1024  # in one volume


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of `size` bytes, or a directory."""

    name: str
    size: int = 0
    directory: bool = False


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """What is left: blocks, and bytes in each."""

    blocks: int
    block_size: int


class FileSystem(Protocol):
    """Files by absolute path as `resolve` gives it. Nothing raises: what fails says so by its result."""

    def stat(self, path: str) -> Entry | None: ...

    def entries(self, path: str) -> Sequence[Entry] | None:
        """The entries of a directory; None if there is no such directory."""
        ...

    def read(self, path: str) -> bytes | None: ...

    def write(self, path: str, data: bytes, *, append: bool = False) -> bool:
        """Write a file, which is made if it is not there."""
        ...

    def make_directory(self, path: str) -> bool: ...

    def remove(self, path: str) -> bool:
        """Remove a file or an empty directory."""
        ...

    def rename(self, path: str, new_path: str) -> bool: ...

    def free(self, path: str) -> FreeSpace | None: ...

    def format(self, kind: str, device: str) -> bool:
        """Make an empty file system of that kind; False without such a device."""
        ...


def resolve(directory: str, path: str) -> str:
    """`path` as seen from `directory`: absolute, without `.`, `..` and double slashes."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{directory}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def base_name(path: str) -> str:
    """The last part of a path."""
    return path.rstrip("/").rpartition("/")[2]


@dataclass(slots=True)
class Volume:
    """A file system in memory. It never holds more than `blocks` of `block_size` bytes."""

    device: str
    blocks: int = 1024
    block_size: int = 4096
    files: dict[str, bytes] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)

    @property
    def free_blocks(self) -> int:
        return self.blocks - sum(map(self._blocks_of, self.files.values())) - len(self.directories)

    def room_for(self, path: str, data: bytes) -> bool:
        """Whether `path` can have that content in place of what it has now."""
        return self._blocks_of(data) <= self.free_blocks + self._blocks_of(self.files.get(path, b""))

    def _blocks_of(self, data: bytes) -> int:
        return -(-len(data) // self.block_size)

    def clear(self) -> None:
        self.files.clear()
        self.directories.clear()


class Dfs:
    """Devices at `/dev`, and maybe a volume at `/`. Implements `FileSystem`.

    `devices` gives the names at `/dev`. Without a volume there is nothing at `/`, as in the IoT Board's
    firmware.
    """

    def __init__(self, devices: Callable[[], Iterable[str]], volume: Volume | None = None) -> None:
        self._devices = devices
        self._volume = volume

    def stat(self, path: str) -> Entry | None:
        if self._is_directory(path):
            return Entry(base_name(path), directory=True)
        if _on_devfs(path):
            return next((each for each in self._device_entries() if f"{DEVICES}/{each.name}" == path), None)
        content = self.read(path)
        return None if content is None else Entry(base_name(path), len(content))

    def entries(self, path: str) -> Sequence[Entry] | None:
        if path == DEVICES:
            return self._device_entries()
        volume = self._volume
        if volume is None or not self._is_directory(path):
            return None
        found = [
            Entry(base_name(each), directory=True) for each in volume.directories if _parent(each) == path
        ]
        found += [
            Entry(base_name(each), len(data)) for each, data in volume.files.items() if _parent(each) == path
        ]
        return sorted(found, key=lambda entry: entry.name)

    def read(self, path: str) -> bytes | None:
        return self._volume.files.get(path) if self._volume is not None else None

    def write(self, path: str, data: bytes, *, append: bool = False) -> bool:
        volume = self._writable(path)
        if volume is None or path in volume.directories:
            return False
        content = (volume.files.get(path, b"") if append else b"") + data
        if not volume.room_for(path, content):
            return False
        volume.files[path] = content
        return True

    def make_directory(self, path: str) -> bool:
        volume = self._writable(path)
        if volume is None or self.stat(path) is not None:
            return False
        if not volume.free_blocks or len(volume.directories) >= MAX_DIRECTORIES:
            return False
        volume.directories.add(path)
        return True

    def remove(self, path: str) -> bool:
        volume = self._writable(path)
        if volume is None or self.entries(path):
            return False
        if path in volume.directories:
            volume.directories.remove(path)
            return True
        return volume.files.pop(path, None) is not None

    def rename(self, path: str, new_path: str) -> bool:
        volume = self._writable(path)
        if volume is None or self._writable(new_path) is None or self.stat(new_path) is not None:
            return False
        if path in volume.files:
            volume.files[new_path] = volume.files.pop(path)
            return True
        inside = path + "/"
        if path not in volume.directories or new_path.startswith(inside):
            return False
        moved = {path, *(each for each in volume.directories if each.startswith(inside))}
        volume.directories -= moved
        volume.directories |= {new_path + each[len(path) :] for each in moved}
        for each in [each for each in volume.files if each.startswith(inside)]:
            volume.files[new_path + each[len(path) :]] = volume.files.pop(each)
        return True

    def free(self, path: str) -> FreeSpace | None:
        volume = self._volume
        if volume is None or _on_devfs(path):
            return None
        return FreeSpace(volume.free_blocks, volume.block_size)

    def format(self, kind: str, device: str) -> bool:
        if self._volume is None or self._volume.device != device:
            return False
        self._volume.clear()
        return True

    def _device_entries(self) -> list[Entry]:
        return [Entry(name) for name in self._devices()]

    def _is_directory(self, path: str) -> bool:
        if path == DEVICES:
            return True
        return self._volume is not None and (path == "/" or path in self._volume.directories)

    def _writable(self, path: str) -> Volume | None:
        """The volume, if something can be made or removed at `path`."""
        if path == "/" or _on_devfs(path) or not self._is_directory(_parent(path)):
            return None
        return self._volume


def _on_devfs(path: str) -> bool:
    return path == DEVICES or path.startswith(DEVICES + "/")


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
