import random
import tracemalloc
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import VECTORS

from cloudsdk.ota.errors import CodecError

firmware_like = st.one_of(
    st.binary(min_size=1, max_size=700),
    st.lists(
        st.sampled_from([b"\0\0\0\0", b"\xff" * 40, b"\x08\xb5", b"\x70\x47", b"abcdefg", b"q"]), min_size=1
    ).map(b"".join),
)


@pytest.mark.parametrize(
    ("block", "raw"),
    [
        ("00 5a", b"\x5a"),
        ("02 616263 20 02", b"abcabc"),  # length 3
        ("02 616263 c0 02", b"abc" + b"abcabcab"),  # length 8
        ("02 616263 e0 00 02", b"abc" + b"abcabcabc"),  # length 9, with its extra byte
        ("02 616263 e0 ff 00", b"abc" + b"c" * 264),  # the longest of level 1, overlapping itself
        ("22 616263 20 02", b"abcabc"),  # level 2
        ("22 616263 e0 ff 01 02", b"abc" + (b"abc" * 89)[:265]),  # level 2 goes on after 255
        ("20 61 e0 ff ff 00 00 00 62", b"a" + b"a" * 519 + b"b"),
    ],
)
def test_each_kind_of_operation(fastlz: ModuleType, block: str, raw: bytes) -> None:
    assert fastlz.decompress(bytes.fromhex(block), len(raw)) == raw


def test_level_2_far_match(fastlz: ModuleType) -> None:
    noise = random.Random(4).randbytes(8192 + 64)
    literal_runs = b"".join(bytes((31,)) + noise[at : at + 32] for at in range(0, len(noise), 32))
    block = bytes((literal_runs[0] | 1 << 5,)) + literal_runs[1:] + bytes.fromhex("3f ff 0010")
    assert fastlz.decompress(block, 9000) == noise + noise[64 - 16 : 64 - 16 + 3]


def test_level_1_reads_the_same_bits_as_a_near_match(fastlz: ModuleType) -> None:
    noise = random.Random(4).randbytes(8192)
    literal_runs = b"".join(bytes((31,)) + noise[at : at + 32] for at in range(0, len(noise), 32))
    assert fastlz.decompress(literal_runs + bytes.fromhex("3f ff"), 9000) == noise + noise[:3]


@settings(max_examples=150, deadline=None)
@given(firmware_like)
def test_round_trip(fastlz: ModuleType, raw: bytes) -> None:
    encoded = fastlz.compress(raw)
    assert fastlz.decompress(encoded, len(raw)) == raw
    assert encoded[0] >> 5 == 0  # level 1, and a literal first
    assert len(encoded) <= len(raw) + (len(raw) + 31) // 32


def test_farthest_distance_survives(fastlz: ModuleType) -> None:
    noise = random.Random(5).randbytes(8192)
    sizes = []
    for gap in (b"", b"x"):  # with the gap, the repetition of the first bytes is out of reach by one
        raw = noise + gap + noise[:200]
        encoded = fastlz.compress(raw)
        assert fastlz.decompress(encoded, len(raw)) == raw
        sizes.append(len(encoded))
    assert sizes[0] < sizes[1]


def test_not_larger_than_the_official_encoder(fastlz: ModuleType) -> None:
    compared = 0
    for v in VECTORS:
        if not (v.official and v.id.endswith("fastlz__plain")):
            continue
        raw = v.raw
        ours = sum(4 + len(fastlz.compress(raw[at : at + 4096])) for at in range(0, len(raw), 4096))
        assert ours <= 1.005 * v.facts["size_package"], v.id
        compared += 1
    assert compared == 7


@pytest.mark.parametrize(
    ("block", "word"),
    [
        ("", "empty"),
        ("40 5a", "level 3"),
        ("e0 5a", "level 8"),
        ("01 5a", "inside a run"),
        ("00 5a 20", "inside a match"),
        ("00 5a e0 05", "inside a match"),
        ("20 5a e0 ff", "inside a match"),
        ("20 5a 3f ff 00", "inside a match"),
        ("00 5a 20 01", "reaches 2 bytes back"),
    ],
)
def test_impossible_blocks_are_refused(fastlz: ModuleType, block: str, word: str) -> None:
    with pytest.raises(CodecError, match=word):
        fastlz.decompress(bytes.fromhex(block), 4096)


@pytest.mark.parametrize(
    "block", ["02 616263 20 02", "05 616263616263", "22 616263 e0" + "ff" * 400 + "00 02"]
)
def test_output_stays_below_the_limit(fastlz: ModuleType, block: str) -> None:
    with pytest.raises(CodecError, match="more than the 5 bytes"):
        fastlz.decompress(bytes.fromhex(block), 5)


def test_endless_match_is_refused_before_it_is_made(fastlz: ModuleType) -> None:
    block = bytes.fromhex("22 616263 e0") + b"\xff" * 100_000 + bytes.fromhex("00 02")
    tracemalloc.start()
    with pytest.raises(CodecError):
        fastlz.decompress(block, 4096)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_last_two_bytes_are_literals(fastlz: ModuleType) -> None:
    assert fastlz.compress(b"a" * 50).endswith(b"\x01aa")


def test_empty_data_cannot_be_encoded(fastlz: ModuleType) -> None:
    with pytest.raises(CodecError):
        fastlz.compress(b"")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_noise_is_bounded(fastlz: ModuleType, noise: bytes) -> None:
    try:
        decoded = fastlz.decompress(noise, 300)
    except CodecError:
        return
    assert len(decoded) <= 300
