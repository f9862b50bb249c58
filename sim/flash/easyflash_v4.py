"""The EasyFlash 4 ENV ("NG") in a dump of its partition: sectors, nodes, and which variables are live.

It is read as the firmware reads it, except that nothing is written. Start-up of the firmware may write: it
finishes what a loss of power interrupted. So `variables` is what is live without that, `returning` what the
next start brings back, and `delayed` what only the start after it does, because a half-written node ends the
search. Source: easyflash-format 9. All words are little-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sim.flash.easyflash_area import decode_text

SECTOR_SIZE: Final = 4096  # bytes
_SECTOR_MAGIC: Final = b"EF40"
_NODE_MAGIC: Final = b"KV40"
_NODE: Final = struct.Struct("<4sIIB3xI")  # from its magic on: magic, len, CRC, name_len, value_len
_UNPROTECTED: Final = struct.Struct("<4sII").size  # bytes from the magic to where the CRC begins


class SectorStore(IntEnum):
    """How full a sector is."""

    UNUSED = 0
    EMPTY = 1
    USING = 2
    FULL = 3


class SectorDirty(IntEnum):
    """Whether a sector holds deleted nodes."""

    UNUSED = 0
    FALSE = 1
    TRUE = 2
    GC = 3


class NodeStatus(IntEnum):
    """What became of a node; only `WRITE` is live."""

    UNUSED = 0
    PRE_WRITE = 1
    WRITE = 2
    PRE_DELETE = 3
    DELETED = 4
    ERR_HDR = 5


@dataclass(frozen=True, slots=True)
class Sector:
    """A sector at a partition offset in bytes. One without a header is erased and formatted at start-up."""

    offset: int
    has_header: bool
    store: SectorStore
    dirty: SectorDirty


@dataclass(frozen=True, slots=True)
class Node:
    """One stored value. `offset` (in the partition) and `length` are bytes; `intact`: its CRC is right."""

    offset: int
    status: NodeStatus
    intact: bool
    length: int
    name: str = ""
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class V4Env:
    """What an image holds, in the order it is found. `granularity` is that of a write in bits."""

    granularity: int
    sectors: tuple[Sector, ...]
    nodes: tuple[Node, ...]
    variables: tuple[Node, ...]
    returning: tuple[Node, ...]
    delayed: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Offsets in bytes that depend on the granularity, which is in bits (easyflash-format 9.1)."""

    granularity: int
    dirty: int
    sector_magic: int
    sector_header: int
    node_magic: int
    node_header: int

    @property
    def granule(self) -> int:
        """The granularity in whole bytes."""
        return -(-self.granularity // 8)

    def status(self, image: bytes, table: int, states: int) -> int:
        """The highest of `states` that was entered in the status table at `table`."""
        for state in range(states - 1, 0, -1):
            if self.granularity == 1:
                entered = not image[table] & 0x80 >> (state - 1)
            else:
                entered = image[table + (state - 1) * self.granule] == 0
            if entered:
                return state
        return 0

    def aligned(self, length: int) -> int:
        return -(-length // self.granule) * self.granule


_LAYOUTS: Final = (
    _Layout(1, dirty=1, sector_magic=4, sector_header=16, node_magic=4, node_header=24),
    _Layout(8, dirty=3, sector_magic=8, sector_header=20, node_magic=8, node_header=28),
    _Layout(32, dirty=12, sector_magic=24, sector_header=36, node_magic=20, node_header=40),
)


def read_v4(image: bytes) -> V4Env | None:
    """The ENV in `image`, a dump from the start of its partition; None if no sector has a header.

    The granularity is the one that gives most sectors a header, and the area ends with the last of them: a
    dump does not tell the size the firmware was built with. No content makes this fail.
    """
    headers, layout = max(((_headers(image, each), each) for each in _LAYOUTS), key=lambda each: len(each[0]))
    if not headers:
        return None
    area = headers[-1] + SECTOR_SIZE
    sectors = tuple(_sector(image, layout, offset) for offset in range(0, area, SECTOR_SIZE))
    nodes = tuple(
        node
        for sector in sectors
        if sector.has_header and sector.store is not SectorStore.EMPTY
        for node in _nodes(image, layout, sector.offset)
    )
    live: dict[str, Node] = {}
    for node in nodes:
        if node.intact and node.status is NodeStatus.WRITE:
            live.setdefault(node.name, node)
    returning, delayed = _recovered(sectors, nodes, live)
    return V4Env(layout.granularity, sectors, nodes, tuple(live.values()), returning, delayed)


def _headers(image: bytes, layout: _Layout) -> list[int]:
    """Offsets of the whole sectors that have a header of this layout."""
    return [
        offset
        for offset in range(0, len(image) - SECTOR_SIZE + 1, SECTOR_SIZE)
        if image.startswith(_SECTOR_MAGIC, offset + layout.sector_magic)
    ]


def _sector(image: bytes, layout: _Layout, offset: int) -> Sector:
    if not image.startswith(_SECTOR_MAGIC, offset + layout.sector_magic):
        return Sector(offset, False, SectorStore.UNUSED, SectorDirty.UNUSED)
    store = SectorStore(layout.status(image, offset, len(SectorStore)))
    dirty = SectorDirty(layout.status(image, offset + layout.dirty, len(SectorDirty)))
    return Sector(offset, True, store, dirty)


def _nodes(image: bytes, layout: _Layout, sector: int) -> Iterator[Node]:
    """The nodes of a sector: one right behind its header, the others wherever their magic is found next."""
    magic_end = sector + SECTOR_SIZE - layout.sector_header  # a magic begins before it
    at = sector + layout.sector_header
    while True:
        node = _node(image, layout, at, sector + SECTOR_SIZE)
        yield node
        after = at + (node.length if node.intact else layout.granule)
        magic = image.find(_NODE_MAGIC, after + layout.node_magic, magic_end + len(_NODE_MAGIC) - 1)
        if magic < 0:
            return
        at = magic - layout.node_magic


def _node(image: bytes, layout: _Layout, at: int, sector_end: int) -> Node:
    header_end = at + layout.node_header
    if header_end > sector_end:
        return Node(at, NodeStatus.ERR_HDR, intact=False, length=0)
    _, length, crc, name_length, value_length = _NODE.unpack_from(image, at + layout.node_magic)
    if not layout.node_header <= length <= sector_end - at:
        # The firmware marks such a node as one with a bad header as soon as it reads it.
        status = NodeStatus.UNUSED if layout.status(image, at, len(NodeStatus)) == 0 else NodeStatus.ERR_HDR
        return Node(at, status, intact=False, length=0)
    status = NodeStatus(layout.status(image, at, len(NodeStatus)))
    end = at + length
    value_start = header_end + layout.aligned(name_length)
    right = zlib.crc32(image[at + layout.node_magic + _UNPROTECTED : end]) == crc
    if not right or value_start + value_length > end:
        return Node(at, status, intact=False, length=length)
    name = decode_text(image[header_end : header_end + name_length])
    value = image[value_start : value_start + value_length]
    return Node(at, status, intact=True, length=length, name=name, value=value)


def _recovered(
    sectors: tuple[Sector, ...], nodes: tuple[Node, ...], live: dict[str, Node]
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Old values that the next start brings back, and those of the start after it (easyflash-format 9.4).

    An interrupted change leaves the old node in `PRE_DELETE`. First an interrupted collection is finished,
    which moves such nodes, too; then the nodes are looked at as far as the first half-written one.
    """
    collected: set[int] = set()
    empty = sum(sector.store is SectorStore.EMPTY for sector in sectors)
    if empty <= 1 and any(sector.dirty is SectorDirty.GC for sector in sectors):
        collected = {
            sector.offset for sector in sectors if sector.dirty in (SectorDirty.TRUE, SectorDirty.GC)
        }
    returning: dict[str, Node] = {}
    delayed: dict[str, Node] = {}
    stopped = False
    for node in nodes:
        stopped = stopped or node.status is NodeStatus.PRE_WRITE
        if node.status is not NodeStatus.PRE_DELETE or not node.intact or node.name in live:
            continue
        moved = node.offset // SECTOR_SIZE * SECTOR_SIZE in collected
        (delayed if stopped and not moved else returning).setdefault(node.name, node)
    later = tuple(node for name, node in delayed.items() if name not in returning)
    return tuple(returning.values()), later
