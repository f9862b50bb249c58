"""The packer of the cloud (platform 7): off the event loop, a few at a time."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.pack import PackOptions, pack_stream
from sim.cloud.blobs import MAX_PACKAGE
from sim.cloud.errors import BusyError, StorageError, TooLargeError

PARALLEL: Final = 2  # packages made at the same time
WAITING: Final = 8  # that may wait for it
_READ_SIZE: Final = 256 * 1024  # bytes


def pack_file(source: Path, target: BinaryIO, options: PackOptions) -> RblHeader:
    """Write the package for the raw firmware in `source` to the seekable `target`.

    Raises `TooLargeError` when firmware or package exceed `MAX_PACKAGE`, `UsageError` when `source` cannot be
    read, and `StorageError` when `target` cannot be written.
    """
    try:
        header = pack_stream(_pieces(source), target, options)
        size = target.seek(0, 2)
        target.seek(0)
    except OSError as exc:
        raise StorageError(f"cannot store the package: {exc.strerror}") from exc
    if size > MAX_PACKAGE:
        raise TooLargeError(f"the package is larger than {MAX_PACKAGE} bytes")
    return header


def _pieces(source: Path) -> Iterator[bytes]:
    left = MAX_PACKAGE
    try:
        with open_regular(source) as file:
            while piece := file.read(_READ_SIZE):
                left -= len(piece)
                if left < 0:
                    raise TooLargeError(f"the firmware is larger than {MAX_PACKAGE} bytes")
                yield piece
    except OSError as exc:
        raise UsageError(f"cannot read {source}: {exc.strerror}") from exc


class Packers:
    """Packs for an event loop. `pack` raises what `pack_file` raises, and `BusyError`."""

    def __init__(self, parallel: int = PARALLEL, waiting: int = WAITING) -> None:
        self._room = parallel + waiting
        self._executor = ThreadPoolExecutor(parallel, thread_name_prefix="cloud-packer")

    async def pack(self, source: Path, target: BinaryIO, options: PackOptions) -> RblHeader:
        if self._room <= 0:
            raise BusyError("many packages are being made at the moment: try again in a minute")
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            # A request that goes away does not stop the thread that reads its file.
            return await asyncio.shield(
                loop.run_in_executor(self._executor, pack_file, source, target, options)
            )
        finally:
            self._room += 1

    def close(self) -> None:
        self._executor.shutdown()
