"""Mistakes in rt_ota: the real bootloader with one wrong step, on the real path."""

from functools import partial
from typing import Final

from cloudsdk.fal import Partition
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.journal import is_blank
from cloudsdk.ota.rt_ota import CLEARED, DOWNLOAD, header_offset
from sim.board import Board
from sim.bootloader.outcome import BootResult
from sim.bootloader.rt_ota import APP, Bootloader, DownloadedPackage
from sim.faults.powercut.corpus.board import APP_SIZE, LAYOUT, TRUSTING, app_package, board_pages
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Verdict
from sim.faults.powercut.upgrade import Upgrade
from sim.faults.powercut.world import Console

_UNIT: Final = 8  # bytes the STM32L4 programs at once
#: Bytes of an application small enough for every page program to be cut; its padding is one byte, so that the
#: last double word belongs to the image.
_ONE_CHUNK: Final = 607


class _HeaderFirst(Bootloader):
    def _install(self, package: DownloadedPackage, destination: Partition) -> None:
        self._erase(destination, package.header.raw_size)
        destination.write(header_offset(destination), package.header.pack())
        self._copy(package, destination)
        self._check_copy(package.header, destination)


class _Resuming(Bootloader):
    """Takes up the copy where it was cut: a header still there means that the erase was not over."""

    def _erase(self, destination: Partition, size: int) -> None:
        if not is_blank(destination.read(header_offset(destination), HEADER_SIZE)):
            super()._erase(destination, size)

    def _copy(self, package: DownloadedPackage, destination: Partition) -> None:
        written = 0
        for chunk in package.chunks():
            if not self._is_whole(destination.read(written, len(chunk.data))):
                destination.write(written, chunk.data)
            written += len(chunk.data)

    def _is_whole(self, stored: bytes) -> bool:
        return not is_blank(stored)


class _LastUnitTells(_Resuming):
    def _is_whole(self, stored: bytes) -> bool:
        return not is_blank(stored[-_UNIT:])


class _EraseFirst(Bootloader):
    def _upgrade_wanted(self, download: Partition) -> bool:
        wanted = super()._upgrade_wanted(download)
        app = self._partitions.find(APP)
        if wanted and app is not None:
            super()._erase(app, RblHeader.unpack(download.read(0, HEADER_SIZE)).raw_size)
        return wanted

    def _erase(self, destination: Partition, size: int) -> None:
        pass


class _ClearsBeforeHeader(Bootloader):
    def _check_copy(self, header: RblHeader, destination: Partition) -> None:
        super()._check_copy(header, destination)
        download = self._partitions.find(DOWNLOAD)
        if download is not None:
            download.erase(0, CLEARED)


class _WantsHeader(Bootloader):
    def _upgrade_wanted(self, download: Partition) -> bool:
        app = self._partitions.find(APP)
        return app is not None and self._ota.header(app) is not None and super()._upgrade_wanted(download)


class _BelievesBlank(Bootloader):
    def _erase(self, destination: Partition, size: int) -> None:
        if not is_blank(destination.read(0, _UNIT)):
            super()._erase(destination, size)


def _subject(kind: type[Bootloader], planted: bool, *, size: int = APP_SIZE) -> Upgrade:
    def boot(board: Board, console: Console) -> BootResult:
        return kind(board.partitions, board.keys, console).run()

    chosen = boot if planted else Board.boot
    return Upgrade(LAYOUT, board_pages(size), [app_package(size)], profile=TRUSTING, boot=chosen)


_DAMAGED: Final = frozenset({Verdict.SILENT_CORRUPTION})
_DAMAGED_OR_DEAD: Final = _DAMAGED | {Verdict.BRICK}
_WHERE: Final = "rt_ota"

DEFECTS: Final = (
    Defect(
        name="header-before-body",
        mistake="the application's header is written before the application",
        where=_WHERE,
        expected=_DAMAGED_OR_DEAD,
        subject=partial(_subject, _HeaderFirst),
    ),
    Defect(
        name="torn-chunk-taken-for-whole",
        mistake="the copy is taken up at the first erased chunk, so a torn one counts as written",
        where=_WHERE,
        expected=_DAMAGED,
        subject=partial(_subject, _Resuming),
    ),
    Defect(
        name="last-unit-tells",
        mistake="the copy is taken up at the first chunk whose last double word is erased",
        where=_WHERE,
        expected=_DAMAGED,
        subject=partial(_subject, _LastUnitTells, size=_ONE_CHUNK),
        fine=True,
    ),
    Defect(
        name="erase-before-check",
        mistake="the application is erased before the package's body is checked",
        where=_WHERE,
        expected=frozenset({Verdict.BRICK}),
        subject=partial(_subject, _EraseFirst),
    ),
    Defect(
        name="download-cleared-before-header",
        mistake="the package is thrown away before the application's header is written",
        where=_WHERE,
        expected=_DAMAGED,
        subject=partial(_subject, _ClearsBeforeHeader),
    ),
    Defect(
        name="no-header-no-upgrade",
        mistake="without a valid header in the destination nothing is installed",
        where=_WHERE,
        expected=_DAMAGED_OR_DEAD,
        subject=partial(_subject, _WantsHeader),
    ),
    Defect(
        name="blank-start-means-erased",
        mistake="the erase is left out when the first double word of the partition is erased",
        where=_WHERE,
        expected=_DAMAGED,
        subject=partial(_subject, _BelievesBlank),
    ),
)
