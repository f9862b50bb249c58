"""A board in files, a bootloader run on them, and what it left there."""

import json
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, Flavour, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.board import Board, create_board, open_board
from sim.conformance.case import NotRunError, Suite, expect, violated
from sim.conformance.command import Running, command_words
from sim.conformance.scope import Scope
from sim.flash.images import image_path
from sim.flash.layout import BoardLayout
from sim.flash.pages import inverted

OLD: Final = "1.0.0"
NEW: Final = "2.0.0"
SIZE: Final = 20_000  # bytes of the firmware that is installed
_TIMESTAMP: Final = 1546300800  # of packages
_VECTORS: Final = struct.Struct("<4I")

SUITE: Final = Suite["BootBench"]("bootloader", "Cases for bootloaders")


@dataclass(frozen=True, slots=True)
class Boot:
    """`started`: an application was started. `console` is what was printed."""

    started: bool
    console: str


#: Runs a bootloader once on the board in this directory.
Launch = Callable[[Scope, Path, Sequence[Path]], Boot]


def launcher(command: str) -> Launch:
    """Run `command`, whose exit status 0 says that an application was started.

    `{images}` in it are raw images, made for the run and taken over after it; `{directory}` is the board
    directory. Raises `UsageError`.
    """
    wants_raw = "{images}" in command

    def launch(scope: Scope, directory: Path, images: Sequence[Path]) -> Boot:
        raw = [image.with_suffix(".bin") for image in images]
        if wants_raw:
            _invert(images, raw)
        values = {"directory": str(directory), "images": [str(image) for image in raw]}
        running = Running(scope, command_words(command, values), cwd=Path.cwd())
        status = running.wait()
        if wants_raw:
            _invert(raw, images)
        return Boot(status == 0, running.output)

    command_words(command, {"directory": "", "images": []})  # a wrong one is known before anything runs
    return launch


def _invert(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Raw images from those of a board, and back. Raises `ViolationError` if one has changed its size."""
    for source, target in zip(sources, targets, strict=True):
        data = source.read_bytes()
        size = target.stat().st_size if target.exists() else len(data)
        expect(len(data) == size, f"an image {source.name} of {size} bytes", len(data))
        target.write_bytes(inverted(data))


@dataclass(frozen=True, slots=True)
class BootTarget:
    """The bootloader under test; `layout` names its kind. `vectors` is a folder of recorded packages."""

    layout: BoardLayout
    launch: Launch
    keys: PackageKeys = field(default_factory=PackageKeys)
    vectors: Path | None = None

    @property
    def is_qboot(self) -> bool:
        return self.layout.bootloader.kind == "qboot"

    @property
    def abilities(self) -> tuple[str, ...]:
        kind = "qboot" if self.is_qboot else "rt_ota"
        return (kind, "vectors") if self.vectors is not None else (kind,)


class BootBench:
    """One case: a board of its own, with application `OLD`."""

    def __init__(self, scope: Scope, target: BootTarget) -> None:
        self.scope = scope
        self.target = target
        folder = tempfile.TemporaryDirectory(prefix="cloudsim-conform-")
        scope.add(folder.cleanup)
        self.directory = Path(folder.name)
        create_board(self.directory, target.layout, app_version=OLD)
        self.old = self.app()

    @property
    def layout(self) -> BoardLayout:
        return self.target.layout

    @property
    def flavour(self) -> Flavour:
        return "qboot" if self.target.is_qboot else "official"

    def change(self, work: Callable[[Board], Any]) -> Any:
        """Do something with the board between two boots."""
        with open_board(self.directory) as board:
            return work(board)

    # Packages

    def image(self, version: str = NEW, size: int = SIZE) -> bytes:
        return samples.application(version, link_address=self.layout.app.link_address, size=size)

    def package(
        self,
        raw: bytes | None = None,
        *,
        name: str | None = None,
        version: str = NEW,
        compression: Compression = Compression.NONE,
        encrypted: bool = False,
        keys: PackageKeys | None = None,
    ) -> bytes:
        used = keys or self.target.keys
        return pack(
            self.image(version) if raw is None else raw,
            name=name or self.layout.app.partition,
            version=version,
            timestamp=_TIMESTAMP,
            compression=compression,
            encryption=Encryption.AES256 if encrypted else Encryption.NONE,
            key=used.key if encrypted else None,
            iv=used.iv if encrypted else None,
            flavour=self.flavour,
        )

    def download(self, package: bytes) -> None:
        """As a device does: only the blocks that are needed are erased."""

        def put(board: Board) -> None:
            partition = board.partition("download")
            partition.erase(0, len(package))
            partition.write(0, package)

        self.change(put)

    # Boots

    def boot(self) -> Boot:
        images = [image_path(self.directory, device.name) for device in self.layout.devices]
        return self.target.launch(self.scope, self.directory, images)

    def started(self) -> Boot:
        """A boot that has to start an application."""
        boot = self.boot()
        expect(boot.started, "exit status 0, an application started", _last(boot))
        return boot

    # What is there

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        def take(board: Board) -> bytes:
            partition = board.partition(name)
            return bytes(partition.read(offset, partition.size - offset if size is None else size))

        found: bytes = self.change(take)
        return found

    def app(self) -> bytes:
        """The whole application partition, with its header."""
        return self.read(self.layout.app.partition)

    def holds(self, raw: bytes, name: str | None = None) -> None:
        """Raises `ViolationError` unless the partition begins with `raw`."""
        partition = name or self.layout.app.partition
        found = self.read(partition, 0, len(raw))
        if found != raw:
            at = next(index for index, pair in enumerate(zip(found, raw, strict=True)) if pair[0] != pair[1])
            violated(f"the firmware in partition {partition}", f"another byte at offset {at}")

    def keeps_old(self) -> None:
        """Raises `ViolationError` unless the application is as it was."""
        expect(self.app() == self.old, "the application as it was", "a changed partition")

    def header(self, name: str | None = None) -> RblHeader:
        """What lies in the last 96 bytes of the partition."""
        return RblHeader.unpack(self.read(name or self.layout.app.partition)[-HEADER_SIZE:])

    def refuses(self, package: bytes) -> Boot:
        """A boot that has to leave the application alone and start it."""
        self.download(package)
        boot = self.started()
        self.keeps_old()
        return boot

    def vectors(self) -> list[dict[str, Any]]:
        """The recorded packages of this flavour."""
        folder = self.target.vectors
        if folder is None:
            raise NotRunError("needs --vectors")
        index = json.loads((folder / "index.json").read_text())
        return [row for row in index if row["flavour"] == self.flavour]


def _last(boot: Boot) -> str:
    lines = boot.console.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def with_header(package: bytes, **fields: Any) -> bytes:
    """The package with other header fields; CRCs of header and body are right unless given."""
    body = package[HEADER_SIZE:]
    fields = {"body_size": len(body), "body_crc32": zlib.crc32(body), **fields}
    header = replace(RblHeader.unpack(package), **fields)
    return (header if "header_crc32" in fields else header.with_crc()).pack() + body
