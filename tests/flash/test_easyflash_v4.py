"""Images of EasyFlash 4 made by hand, for what the recorded ones do not show."""

import struct
import zlib

import pytest
from env_vectors import Recorded, cut

from sim.flash.easyflash_v4 import (
    SECTOR_SIZE,
    NodeStatus,
    SectorDirty,
    SectorStore,
    V4Env,
    read_v4,
)

GRANULARITIES = [1, 8, 32]
V4_CUTS = [vector for vector in cut() if vector.id.startswith("v4-")]


def table(granularity: int, state: int, states: int) -> bytes:
    """A status table that went through every state up to `state` (easyflash-format 9.1)."""
    if granularity == 1:
        return bytes([0xFF >> state])
    size = granularity // 8
    cells = [b"\0" if number <= state else b"\xff" for number in range(1, states)]
    return b"".join(cell.ljust(size, b"\xff") for cell in cells)


def node(granularity: int, state: int, name: bytes, value: bytes, crc_off: int = 0) -> bytes:
    def pad(data: bytes) -> bytes:
        size = max(granularity // 8, 1)
        return data + b"\xff" * (-len(data) % size)

    status = table(granularity, state, 6)
    status += b"\xff" * (-len(status) % 4)
    protected = struct.pack("<B3sI", len(name), b"\xff" * 3, len(value)) + pad(name) + pad(value)
    length = len(status) + 12 + len(protected)
    return status + struct.pack("<4sII", b"KV40", length, zlib.crc32(protected) ^ crc_off) + protected


def sector(granularity: int, store: int, dirty: int, *nodes: bytes) -> bytes:
    head = table(granularity, store, 4) + table(granularity, dirty, 4)
    head += b"\xff" * (-len(head) % 4)
    return (head + b"EF40" + b"\xff" * 8 + b"".join(nodes)).ljust(SECTOR_SIZE, b"\xff")


def read(image: bytes) -> V4Env:
    env = read_v4(image)
    assert env is not None
    return env


def live(image: bytes) -> list[tuple[str, bytes]]:
    return [(each.name, each.value) for each in read(image).variables]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_granularity_and_state_is_read(granularity: int) -> None:
    states = [*NodeStatus][1:]
    nodes = [node(granularity, state, f"name{state}".encode(), b"v" * state) for state in states]
    image = sector(granularity, SectorStore.FULL, SectorDirty.TRUE, *nodes)
    image += sector(granularity, SectorStore.EMPTY, SectorDirty.FALSE)
    env = read(image)
    assert env.granularity == granularity
    assert [(each.store, each.dirty) for each in env.sectors] == [
        (SectorStore.FULL, SectorDirty.TRUE),
        (SectorStore.EMPTY, SectorDirty.FALSE),
    ]
    assert [(each.name, each.status) for each in env.nodes] == [(f"name{each}", each) for each in states]
    assert live(image) == [("name2", b"vv")]
    assert [each.name for each in env.returning + env.delayed] == ["name3"]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_search_goes_on_behind_a_damaged_node(granularity: int) -> None:
    live_state = NodeStatus.WRITE
    damaged = node(granularity, live_state, b"damaged", b"x" * 21, crc_off=1)
    image = sector(
        granularity, SectorStore.USING, SectorDirty.FALSE, damaged, node(granularity, live_state, b"k", b"v")
    )
    assert live(image) == [("k", b"v")]


def test_first_live_node_of_a_name_wins_across_sectors() -> None:
    image = sector(1, SectorStore.FULL, SectorDirty.TRUE, node(1, NodeStatus.DELETED, b"k", b"0"))
    image += sector(1, SectorStore.FULL, SectorDirty.FALSE, node(1, NodeStatus.WRITE, b"k", b"1"))
    image += sector(1, SectorStore.USING, SectorDirty.FALSE, node(1, NodeStatus.WRITE, b"k", b"2"))
    assert live(image) == [("k", b"1")]


def test_nodes_in_empty_or_headless_sectors_do_not_count() -> None:
    inside = node(1, NodeStatus.WRITE, b"k", b"v")
    image = sector(1, SectorStore.EMPTY, SectorDirty.FALSE, inside)
    image += bytes(16) + sector(1, SectorStore.USING, SectorDirty.FALSE, inside)[16:]
    image += sector(1, SectorStore.USING, SectorDirty.FALSE)
    assert live(image) == []
    assert [each.has_header for each in read(image).sectors] == [True, False, True]


def test_old_value_returns_unless_a_live_one_is_there() -> None:
    old = [node(1, NodeStatus.PRE_DELETE, name, b"old") for name in (b"a", b"b")]
    image = sector(1, SectorStore.USING, SectorDirty.TRUE, *old, node(1, NodeStatus.WRITE, b"a", b"new"))
    env = read(image)
    assert [(each.name, each.value) for each in env.returning] == [("b", b"old")]
    assert env.delayed == ()


@pytest.mark.parametrize("vector", V4_CUTS, ids=lambda vector: vector.id)
def test_recorded_starts_bring_back_what_is_foreseen(vector: Recorded) -> None:
    env = read_v4(vector.image)
    if env is None:
        assert vector.env == [("boot_times", b"0")]
        return
    first = {each.name: each.value for each in env.variables + env.returning}
    assert first == dict(vector.env)
    second = first | {each.name: each.value for each in env.delayed}
    after = vector.meta.get("expected_after_second_reload", vector.reload)
    assert second == {name: value.encode() for name, value in after["env"]}


@pytest.mark.parametrize(
    "spoiled",
    [
        struct.pack("<4sI", b"KV40", 0),
        struct.pack("<4sI", b"KV40", 23),
        struct.pack("<4sI", b"KV40", SECTOR_SIZE),
        struct.pack("<4sI", b"KV40", 0xFFFFFFFF),
        b"KV40" * 3,
    ],
)
def test_impossible_lengths_end_nothing_but_the_node(spoiled: bytes) -> None:
    bad = table(1, NodeStatus.WRITE, 6) + b"\xff" * 3 + spoiled.ljust(30, b"\xff")
    image = sector(1, SectorStore.USING, SectorDirty.FALSE, bad, node(1, NodeStatus.WRITE, b"k", b"v"))
    assert live(image) == [("k", b"v")]
    assert read(image).nodes[0].status is NodeStatus.ERR_HDR


def test_value_beyond_its_node_is_not_read() -> None:
    protected = struct.pack("<B3sI", 1, b"\xff" * 3, 9) + b"k" + b"v"
    bad = table(1, NodeStatus.WRITE, 6) + b"\xff" * 3
    bad += struct.pack("<4sII", b"KV40", 26, zlib.crc32(protected)) + protected
    assert live(sector(1, SectorStore.USING, SectorDirty.FALSE, bad)) == []


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_image_full_of_magics_is_gone_through(granularity: int) -> None:
    node_like = struct.pack("<4sI", b"KV40", SECTOR_SIZE // 2)
    image = sector(granularity, SectorStore.USING, SectorDirty.GC, node_like * 500) * 32
    assert live(image) == []


@pytest.mark.parametrize("image", [b"", bytes(SECTOR_SIZE), b"\xff" * 8192, b"\xff\xff\xff\xffEF40"])
def test_image_without_a_sector_header_is_none(image: bytes) -> None:
    assert read_v4(image) is None


def test_values_stay_out_of_reprs() -> None:
    image = sector(1, SectorStore.USING, SectorDirty.FALSE, node(1, NodeStatus.WRITE, b"cld_pwd", b"hunter2"))
    assert "hunter2" not in repr(read(image))
    assert live(image) == [("cld_pwd", b"hunter2")]
