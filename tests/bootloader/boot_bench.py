"""Boards with a `factory` partition, one boot with everything it did, and packages that go wrong."""

import functools
import struct
import zlib
from dataclasses import replace
from typing import Any

from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.keys import PackageKeys
from sim.board import Board, furnish, make_board
from sim.bootloader.decoded import DecodeCache
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.flash.facts import BootloaderFacts, QbootFacts
from sim.flash.layout import BoardLayout, PartitionEntry, load_board
from sim.flash.pages import MemoryPages
from sim.flash.power import CutMoment, FlashOperation, PowerCut

STACK_POINTER, ENTRY = 0x20018000, 0x08010189
FACTORY_SIZE = 0x00100000


def layout(kind: str, qboot: QbootFacts | None = None) -> BoardLayout:
    """The IoT Board with that bootloader and a `factory` cut from its file system."""
    board = load_board("iot-board")
    *others, filesystem = board.partitions
    length = filesystem.length - FACTORY_SIZE
    partitions = (
        *others,
        replace(filesystem, length=length),
        PartitionEntry("factory", filesystem.device, filesystem.offset + length, FACTORY_SIZE),
    )
    return replace(board, partitions=partitions, bootloader=BootloaderFacts(kind, qboot=qboot))


def board_of(
    kind: str,
    *,
    qboot: QbootFacts | None = None,
    app_version: str | None = "1.0.0",
    keys: PackageKeys | None = None,
    cache: DecodeCache | None = None,
) -> Board:
    facts = layout(kind, qboot)
    pages = {name: each.fork() for name, each in _furnished(kind, app_version).items()}
    return make_board(facts, dict(pages), keys, cache)


@functools.cache
def _furnished(kind: str, app_version: str | None) -> dict[str, MemoryPages]:
    facts = layout(kind)
    pages = {device.name: MemoryPages(device.size) for device in facts.devices}
    furnish(make_board(facts, dict(pages)), app_version=app_version)
    return pages


def app_image(size: int, seed: int = 1) -> bytes:
    head = struct.pack("<4I", STACK_POINTER, ENTRY, ENTRY, ENTRY)
    return (head + bytes((index * seed + index // 251) & 0xFF for index in range(size)))[:size]


def put(board: Board, package: bytes, name: str = "download") -> None:
    """As a downloader does: only the blocks that the package needs are erased."""
    partition = board.partition(name)
    partition.erase(0, len(package))
    partition.write(0, package)


def wipe(board: Board, *names: str) -> None:
    for name in names:
        partition = board.partition(name)
        partition.erase(0, partition.size)


def with_header(package: bytes, **fields: Any) -> bytes:
    """The package with other header fields and right CRCs of header and body."""
    body = package[HEADER_SIZE:]
    fields = {"body_size": len(body), "body_crc32": zlib.crc32(body), **fields}
    header = replace(RblHeader.unpack(package), **fields)
    return (header if "header_crc32" in fields else header.with_crc()).pack() + body


def booted(board: Board, *, factory_key: bool = False) -> tuple[str, BootResult]:
    console: list[str] = []
    try:
        result = board.boot(console.append, factory_key=factory_key)
    except PowerCut:
        result = BootResult(BootOutcome.POWER_CUT)
    return "".join(console), result


def traced(board: Board) -> tuple[str, BootResult]:
    """A boot with its flash operations as marks between the text, as the recorder of QBoot wrote them."""
    console: list[str] = []

    def mark(_index: int, operation: FlashOperation) -> CutMoment | None:
        for part in board.partitions:
            start = operation.offset - part.offset
            if part.device_name == operation.device and 0 <= start < part.size:
                console.append(f"<{operation.op[0].upper()} {part.name} {start:x} {operation.length}>")
        return None

    board.power.arm(mark)
    result = board.boot(console.append)
    board.power.disarm()
    return "".join(console), result


def cut_at(board: Board, wanted: int, moment: CutMoment = CutMoment.TORN) -> None:
    """Lose power in driver call number `wanted` of the next boots."""
    board.power.arm(lambda index, _operation: moment if index == wanted else None)
