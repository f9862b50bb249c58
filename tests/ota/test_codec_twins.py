"""The C core and its Python twin give the same bytes and the same errors."""

import random
import threading
from collections.abc import Callable
from types import ModuleType

import pytest
from codec_implementations import codec
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import IV, KEY, VECTORS, blocks_of, vector

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota import body as body_module
from cloudsdk.ota.body import MAX_BLOCK_SIZE, decode
from cloudsdk.ota.errors import CodecError
from cloudsdk.ota.header import HEADER_SIZE, RblHeader

Twins = tuple[ModuleType, ModuleType]

FIRMWARE = vector("official-d_100k_fw__none__plain").raw
PIECES = [FIRMWARE[at : at + 4096] for at in range(0, len(FIRMWARE), 16 * 1024)]

#: Random, repetitive and firmware-like data, so short that shrinking stays quick.
raw_data = st.one_of(
    st.binary(min_size=1, max_size=700),
    st.lists(
        st.sampled_from(
            [b"\0\0\0\0", b"\xff" * 90, b"\x08\xb5", b"\x70\x47", b"abcdefg", b"q", bytes(range(40))]
        ),
        min_size=1,
        max_size=60,
    ).map(b"".join),
    st.builds(
        lambda start, size: FIRMWARE[start : start + size],
        st.integers(0, len(FIRMWARE) - 2048),
        st.integers(1, 2048),
    ),
    st.builds(
        lambda unit, times: (unit * times)[:3000], st.binary(min_size=1, max_size=40), st.integers(1, 400)
    ),
)


def outcome(call: Callable[[], object]) -> object:
    """What `call` returns, or the code and text of its error."""
    try:
        return call()
    except CloudSdkError as error:
        return error.code, str(error)


def decoded(module: ModuleType, block: bytes, limit: int) -> object:
    return outcome(lambda: module.decompress(block, limit))


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@settings(max_examples=250, deadline=None)
@given(raw=raw_data)
def test_encoders_write_the_same(twins: Twins, raw: bytes) -> None:
    python, c = twins
    encoded = c.compress(raw)
    assert encoded == python.compress(raw)
    assert c.decompress(encoded, len(raw)) == raw


@pytest.mark.parametrize("size", [*range(1, 40), 215, 216, 217, 4095, 4096, 4097, 40_000])
@pytest.mark.parametrize("kind", ["random", "erased", "firmware"])
def test_encoders_write_the_same_at_the_edges(twins: Twins, size: int, kind: str) -> None:
    python, c = twins
    raw = {
        "random": random.Random(size).randbytes(size),
        "erased": b"\xff" * size,
        "firmware": FIRMWARE[:size],
    }[kind]
    encoded = c.compress(raw)
    assert encoded == python.compress(raw)
    assert c.decompress(encoded, size) == python.decompress(encoded, size) == raw


def test_recorded_blocks_decode_the_same(twins: Twins) -> None:
    python, c = twins
    plain = [v for v in VECTORS if v.id.endswith(f"__{name_of(python)}__plain")]
    blocks = [block for v in plain for block in blocks_of(v.package[HEADER_SIZE:])]
    assert len(blocks) > 60
    for block in blocks:
        assert c.decompress(block, 4096) == python.decompress(block, 4096)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_blocks_end_the_same(twins: Twins, data: st.DataObject) -> None:
    python, c = twins
    block = bytearray(python.compress(data.draw(raw_data)))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(block[: data.draw(st.integers(0, len(block)))] if data.draw(st.booleans()) else block)
    limit = data.draw(st.sampled_from([0, 1, 100, 1000, 4096, 65536, 100_000]))
    assert decoded(c, damaged, limit) == decoded(python, damaged, limit)


@settings(max_examples=400, deadline=None)
@given(noise=st.binary(max_size=300), first=st.sampled_from([None, 0x4F, 0x4D, 0x4E, 0x22]))
def test_noise_ends_the_same(twins: Twins, noise: bytes, first: int | None) -> None:
    python, c = twins
    if first is not None and len(noise) > 9:
        # A header that agrees with what follows, so that the decoder itself has to notice.
        noise = bytes((first,)) + len(noise).to_bytes(4, "little") + noise[5:7] + b"\0\0" + noise[9:]
    assert decoded(c, noise, 2000) == decoded(python, noise, 2000)


def test_every_truncation_ends_the_same(twins: Twins) -> None:
    python, c = twins
    for block in (python.compress(FIRMWARE[:900]), python.compress(b"\xff" * 900)):
        for size in range(len(block)):
            cut = block[:size]
            relabelled = cut[:1] + size.to_bytes(4, "little") + cut[5:] if size >= 9 else cut
            for damaged in (cut, relabelled):
                assert decoded(c, damaged, 4096) == decoded(python, damaged, 4096)


@pytest.mark.parametrize("limit", [-(1 << 70), -1, 0, 100_000, 199_999, 200_000, 1 << 40, 1 << 70])
def test_more_than_one_buffer_decodes_the_same(twins: Twins, limit: int) -> None:
    python, c = twins
    block = c.compress(b"\xff" * 200_000)
    expected = decoded(python, block, limit)
    assert decoded(c, block, limit) == expected
    assert isinstance(expected, bytes) is (limit >= 200_000)


@pytest.mark.parametrize("limit", [-(1 << 70), -1, 899, 900, 1 << 70])
def test_limits_are_the_same_for_a_small_block(twins: Twins, limit: int) -> None:
    python, c = twins
    for raw in (b"\xff" * 900, random.Random(1).randbytes(900)):
        block = c.compress(raw)
        expected = decoded(python, block, limit)
        assert decoded(c, block, limit) == expected
        assert isinstance(expected, bytes) is (limit >= 900)


def test_other_bytes_like_objects_are_taken(twins: Twins) -> None:
    for twin in twins:
        block = twin.compress(bytearray(FIRMWARE[:3000]))
        assert twin.decompress(bytearray(block), 4096) == FIRMWARE[:3000]


@pytest.mark.parametrize("arguments", [(), (b"N",), (b"N", 1, 2), ("N", 1), (b"", None)])
def test_wrong_calls_are_refused_by_both(twins: Twins, arguments: tuple[object, ...]) -> None:
    for twin in twins:
        with pytest.raises((TypeError, CodecError)):
            twin.decompress(*arguments)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 20_000])
def test_framed_bodies_are_the_same(twins: Twins, size: int) -> None:
    python, c = twins
    body = c.compress_framed(FIRMWARE[:size], 4096)
    assert body == python.compress_framed(FIRMWARE[:size], 4096)
    assert b"".join(python.decompress(block, 4096) for block in blocks_of(body)) == FIRMWARE[:size]


def test_front_decodes_what_one_buffer_holds_and_leaves_the_rest(twins: Twins) -> None:
    _, c = twins
    body = c.compress_framed(FIRMWARE, 4096)
    raw = b""
    calls = 0
    while body:
        piece, used = c.decompress_front(bytearray(body), MAX_BLOCK_SIZE)
        assert used
        raw += piece
        body = body[used:]
        calls += 1
    assert raw == FIRMWARE
    assert calls == 2


def test_front_stops_before_what_is_not_a_good_block(twins: Twins) -> None:
    _, c = twins
    good = c.compress_framed(FIRMWARE[:4096], 4096)
    (block,) = blocks_of(good)
    for bad in (
        b"",
        b"\0",
        bytes(4),
        bytes(16),
        b"\x10" * 16,
        b"\0\0\0\x05" + bytes(4),  # not whole
        b"\0\0\0\x05" + b"\xff" * 5,  # not right
        good[:-1],
    ):
        assert c.decompress_front(good + bad, MAX_BLOCK_SIZE) == (FIRMWARE[:4096], len(good))
    assert c.decompress_front(good, len(block) - 1) == (b"", 0)


@pytest.mark.parametrize("piece", [1 << 20, 4096, 777])
def test_bodies_decode_the_same(twins: Twins, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded packages, whole and damaged: the same bytes come out before the same error."""
    name = name_of(twins[0])
    rng = random.Random(piece)
    compared = 0
    for v in VECTORS:
        if f"__{name}__" not in v.id:
            continue
        package = v.package
        header = RblHeader.unpack(package)
        intact = package[HEADER_SIZE:]
        bodies = [intact]
        for _ in range(3):
            damaged = bytearray(intact)
            damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
            bodies += [bytes(damaged), intact[: rng.randrange(len(intact))]]
        for stored in bodies:
            results = []
            for twin in twins:
                monkeypatch.setattr(body_module, name, twin)
                raw = bytearray()

                def read(raw: bytearray = raw, header: RblHeader = header, stored: bytes = stored) -> None:
                    pieces = (stored[at : at + piece] for at in range(0, len(stored), piece))
                    for decoded in decode(header, pieces, KEY, IV):
                        raw += decoded

                results.append((outcome(read), bytes(raw)))
            assert results[0] == results[1], v.id
            compared += 1
    assert compared > 80


def test_hashes_are_the_same() -> None:
    python, c = codec("fnv", "python"), codec("fnv", "c")
    for size in (*range(9), 4096, 5001):
        for start in (0, python.FNV_SEED, 0xFFFFFFFF):
            assert c.fnv1a32(FIRMWARE[:size], start) == python.fnv1a32(FIRMWARE[:size], start)


def test_threads_do_not_share_a_buffer(twins: Twins) -> None:
    _, c = twins
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        raw = rng.randbytes(500) * 8
        for _ in range(400):
            if c.decompress(c.compress(raw), 4096) != raw:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_difference_would_be_noticed(twins: Twins) -> None:
    python, c = twins
    block = python.compress(FIRMWARE[:600])
    assert decoded(c, block[:-1], 600) != decoded(python, block, 600)
    with pytest.raises(CodecError):
        c.decompress(block[:-1], 600)
