"""Where a test wants the power to go."""

import re
from collections.abc import Callable
from typing import Final

from cloudsdk.errors import UsageError
from cloudsdk.ota.header import HEADER_SIZE, MAGIC, RblHeader
from sim.board import Board
from sim.flash.fal import FalPartition
from sim.flash.power import CutMoment, FlashOperation, Trigger

DOWNLOAD: Final = "download"  # the partition that packages come to
ERASED_AT_BOOT: Final = 4096  # bytes at the start of `download`; their erase blocks are staged (ADR 2)
_PLACE: Final = re.compile(
    r"(?P<partition>[^+\s]+)(?:\+(?P<offset>0x[0-9a-fA-F]+|[0-9]+)|\s+(?P<percent>[0-9]{1,3})\s?%)?"
)


def cut_trigger(board: Board, at: "int | str | Trigger", moment: CutMoment) -> Trigger:
    """A trigger that cuts once.

    `at` is one of

    - the number of driver calls still to be done before,
    - `"PARTITION+OFFSET"`: the first operation that touches this byte (decimal or 0x), or the first one in
      the partition without an offset,
    - `"PARTITION N%"`: the first write that reaches N percent of the package in `download`, or in another
      partition of the firmware that is packed in it,
    - a trigger of its own.

    Raises `UsageError` and `PartitionNameError`.
    """
    if callable(at):
        return at
    if isinstance(at, int):
        if at < 0:
            raise UsageError("the number of operations before a cut is 0 or more")
        return lambda index, _operation: moment if index == at else None
    found = _PLACE.fullmatch(at)
    if found is None:
        raise UsageError(
            f"{at!r} is no place to cut the power: give PARTITION, PARTITION+OFFSET or 'PARTITION N%'"
        )
    partition = board.partition(found["partition"])
    if found["percent"] is not None:
        reached = _percent(board, partition, int(found["percent"]))
    else:
        reached = _place(partition, int(found["offset"], 0) if found["offset"] is not None else None)
    cut = False

    def trigger(_index: int, operation: FlashOperation) -> CutMoment | None:
        nonlocal cut
        if cut or not reached(operation):
            return None
        cut = True
        return moment

    return trigger


def _place(partition: FalPartition, offset: int | None) -> Callable[[FlashOperation], bool]:
    if offset is not None and offset >= partition.size:
        raise UsageError(f"partition {partition.name!r} has {partition.size} bytes, none at {offset:#x}")
    start = partition.offset + (offset or 0)
    end = partition.offset + partition.size if offset is None else start + 1
    return lambda operation: (
        operation.device == partition.device_name
        and operation.offset < end
        and start < operation.offset + operation.length
    )


def _percent(board: Board, partition: FalPartition, percent: int) -> Callable[[FlashOperation], bool]:
    if percent > 100:
        raise UsageError("a cut is at 0 to 100 percent")
    download = board.partition(DOWNLOAD)
    header: RblHeader | None = None
    head = download.offset  # where the first bytes of the package are
    head_size = -(-ERASED_AT_BOOT // download.block_size) * download.block_size

    def reached(operation: FlashOperation) -> bool:
        nonlocal header, head
        if operation.op != "write":
            return False
        # The head of a package is staged in the tail of `download` and moved last (ADR 2).
        if _is_in(operation, download) and operation.data.startswith(MAGIC):
            header, head = _header(operation.data), operation.offset
        header = header or _header(download.read(0, HEADER_SIZE))
        if header is None or not _is_in(operation, partition):
            return False
        if partition.name == DOWNLOAD:
            wanted = _share(HEADER_SIZE + header.body_size, percent)
            start = head if wanted < head_size else download.offset
        else:
            wanted, start = _share(header.raw_size, percent), partition.offset
        return operation.offset <= start + wanted < operation.offset + operation.length

    return reached


def _share(size: int, percent: int) -> int:
    return min(size - 1, size * percent // 100)


def _is_in(operation: FlashOperation, partition: FalPartition) -> bool:
    start = operation.offset - partition.offset
    return operation.device == partition.device_name and 0 <= start < partition.size


def _header(data: bytes) -> RblHeader | None:
    if len(data) < HEADER_SIZE:
        return None
    header = RblHeader.unpack(data)
    return header if header.crc_ok else None
