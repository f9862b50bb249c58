import random
import struct
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import VECTORS, blocks_of, vector

from cloudsdk.ota.codecs.quicklz_header import SHORT_RAW_LIMIT, block_sizes, read_header
from cloudsdk.ota.errors import CodecError
from cloudsdk.ota.header import HEADER_SIZE

LONG_COMPRESSED = 0x4F
SENTINEL = 1 << 31
TAIL = bytes(range(0xE0, 0xEB))  # eleven literals, as every block that has matches ends

firmware_like = st.one_of(
    st.binary(max_size=700),
    st.lists(st.sampled_from([b"\0\0\0\0", b"\xff" * 40, b"\x08\xb5", b"\x70\x47", b"abcdefg", b"q"])).map(
        b"".join
    ),
)


def block(items: list[bytes | tuple[bytes, int]]) -> bytes:
    """A long block of at most 31 items: literals as bytes, matches as (token, length)."""
    control, data, raw_size = SENTINEL, b"", 0
    for index, item in enumerate(items):
        if isinstance(item, tuple):
            control |= 1 << index
            data += item[0]
            raw_size += item[1]
        else:
            data += item
            raw_size += 1
    body = control.to_bytes(4, "little") + data
    return struct.pack("<BII", LONG_COMPRESSED, 9 + len(body), raw_size) + body


def literals(text: bytes) -> list[bytes | tuple[bytes, int]]:
    return [bytes((byte,)) for byte in text]


def matches_of(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """`(start, length, distance)` of each match in a compressed block, read without the decoder."""
    header = read_header(encoded)
    data = encoded[header.header_size :]
    position = done = 0
    while done < header.raw_size:
        control = int.from_bytes(data[position : position + 4], "little")
        position += 4
        for index in range(31):
            if done == header.raw_size:
                return
            if not control >> index & 1:
                position += 1
                done += 1
                continue
            word = int.from_bytes(data[position : position + 4], "little")
            if word & 3 == 0:
                size, length, distance = 1, 3, (word & 0xFF) >> 2
            elif word & 3 == 1:
                size, length, distance = 2, 3, (word & 0xFFFF) >> 2
            elif word & 3 == 2:
                size, length, distance = 2, (word >> 2 & 15) + 3, (word & 0xFFFF) >> 6
            elif word & 127 != 3:
                size, length, distance = 3, (word >> 2 & 31) + 2, word >> 7 & 0x1FFFF
            else:
                size, length, distance = 4, (word >> 7 & 255) + 3, word >> 15
            yield done, length, distance
            position += size
            done += length


@pytest.mark.parametrize(
    ("token", "length"),
    [
        (bytes((5 << 2,)), 3),
        ((5 << 2 | 1).to_bytes(2, "little"), 3),
        ((5 << 6 | 9 << 2 | 2).to_bytes(2, "little"), 12),
        ((5 << 7 | 20 << 2 | 3).to_bytes(3, "little"), 22),
        ((5 << 15 | 100 << 7 | 3).to_bytes(4, "little"), 103),
    ],
)
def test_each_form_of_match(quicklz: ModuleType, token: bytes, length: int) -> None:
    expected = b"abcdef" + (b"bcdef" * 30)[:length] + TAIL
    assert (
        quicklz.decompress(block([*literals(b"abcdef"), (token, length), *literals(TAIL)]), 4096) == expected
    )


def test_official_one_byte_block(quicklz: ModuleType) -> None:
    assert quicklz.decompress(bytes.fromhex("4d0c01000000805a00000000"), 1) == b"\x5a"


def test_official_block_sizes() -> None:
    encoded = next(blocks_of(vector("official-d_100k_fw__quicklz__plain").package[HEADER_SIZE:]))
    assert block_sizes(encoded) == (len(encoded), 4096)


def test_tail_ignores_control_bits_but_not_their_words(quicklz: ModuleType) -> None:
    # 40 literals: the 31st item is followed by a control word, whose bits mean nothing in the last 11 bytes.
    raw = bytes(range(40))
    body = struct.pack("<I", SENTINEL | 1 << 30) + raw[:31] + struct.pack("<I", 0xFFFFFFFF) + raw[31:]
    encoded = struct.pack("<BII", LONG_COMPRESSED, 9 + len(body), 40) + body
    assert quicklz.decompress(encoded, 40) == raw


def test_bytes_behind_the_block_are_ignored(quicklz: ModuleType) -> None:
    assert quicklz.decompress(quicklz.compress(b"firmware" * 50) + b"slack", 4096) == b"firmware" * 50


@settings(max_examples=150, deadline=None)
@given(firmware_like)
def test_round_trip(quicklz: ModuleType, raw: bytes) -> None:
    encoded = quicklz.compress(raw)
    assert quicklz.decompress(encoded, len(raw)) == raw
    assert block_sizes(encoded) == (len(encoded), len(raw))
    assert len(encoded) <= len(raw) + (3 if len(raw) < SHORT_RAW_LIMIT else 9)


@settings(max_examples=100, deadline=None)
@given(firmware_like)
def test_encoder_obeys_the_rules_of_the_c_decoder(quicklz: ModuleType, raw: bytes) -> None:
    encoded = quicklz.compress(raw)
    if read_header(encoded).compressed:
        for start, length, distance in matches_of(encoded):
            assert distance >= 3
            assert start < len(raw) - 11
            assert start + length <= len(raw) - 4
            assert 3 <= length <= 258


def test_incompressible_data_is_stored(quicklz: ModuleType) -> None:
    raw = random.Random(1).randbytes(4096)
    encoded = quicklz.compress(raw)
    assert encoded == struct.pack("<BII", 0x4E, 4105, 4096) + raw


@pytest.mark.parametrize("size", [1, 215])
def test_small_incompressible_data_is_stored_with_the_short_header(quicklz: ModuleType, size: int) -> None:
    raw = random.Random(2).randbytes(size)
    assert quicklz.compress(raw) == bytes((0x4C, size + 3, size)) + raw


def test_farthest_distance_survives(quicklz: ModuleType) -> None:
    noise = random.Random(3).randbytes(300)
    for distance, reached in ((0x1FFFF, True), (0x20000, False)):
        raw = noise.ljust(distance, b"\0") + noise + TAIL
        encoded = quicklz.compress(raw)
        assert quicklz.decompress(encoded, len(raw)) == raw
        assert (distance in {match[2] for match in matches_of(encoded)}) is reached


def test_not_larger_than_the_official_encoder(quicklz: ModuleType) -> None:
    compared = 0
    for v in VECTORS:
        if not (v.official and v.id.endswith("quicklz__plain")):
            continue
        raw = v.raw
        ours = sum(4 + len(quicklz.compress(raw[at : at + 4096])) for at in range(0, len(raw), 4096))
        assert ours <= 1.005 * v.facts["size_package"], v.id
        compared += 1
    assert compared == 7


@pytest.mark.parametrize(
    ("first", "word"),
    [(0x47, "level 1"), (0x4B, "level 2"), (0x5F, "streaming class 1"), (0x0F, "0x0f"), (0xCF, "0xcf")],
)
def test_foreign_first_bytes_are_named(quicklz: ModuleType, first: int, word: str) -> None:
    encoded = quicklz.compress(b"firmware" * 50)
    with pytest.raises(CodecError, match=word):
        quicklz.decompress(bytes((first,)) + encoded[1:], 4096)


@pytest.mark.parametrize(
    ("items", "word"),
    [
        ([*literals(b"abcdef"), (bytes((7 << 2,)), 3), *literals(TAIL)], "reaches 7 bytes back"),
        ([*literals(b"abcdef"), (bytes((2 << 2,)), 3), *literals(TAIL)], "reaches 2 bytes back"),
        ([*literals(b"abcdef"), (bytes((0,)), 3), *literals(TAIL)], "reaches 0 bytes back"),
        (
            [*literals(b"abcdef"), ((5 << 6 | 9 << 2 | 2).to_bytes(2, "little"), 12), *literals(b"xyz")],
            "past the end",
        ),
        (
            [*literals(b"abcdef"), ((5 << 15 | 100 << 7 | 3).to_bytes(4, "little"), 40), *literals(TAIL)],
            "past the end",
        ),
    ],
)
def test_impossible_matches_are_refused(
    quicklz: ModuleType, items: list[bytes | tuple[bytes, int]], word: str
) -> None:
    with pytest.raises(CodecError, match=word):
        quicklz.decompress(block(items), 4096)


def test_declared_size_is_checked_before_anything_is_made(quicklz: ModuleType) -> None:
    encoded = struct.pack("<BII", LONG_COMPRESSED, 20, 0xFFFFFFFF) + bytes(11)
    with pytest.raises(CodecError, match="4294967295 raw bytes"):
        quicklz.decompress(encoded, 4096)


def test_control_word_without_sentinel_is_refused(quicklz: ModuleType) -> None:
    encoded = bytearray(block(literals(b"abcdef" + TAIL)))
    encoded[12] = 0
    with pytest.raises(CodecError, match="sentinel"):
        quicklz.decompress(bytes(encoded), 4096)


def test_stored_block_with_two_sizes_is_refused(quicklz: ModuleType) -> None:
    with pytest.raises(CodecError, match="holds 4"):
        quicklz.decompress(bytes((0x4C, 7, 5)) + b"abcde", 4096)


def test_every_truncation_is_refused(quicklz: ModuleType) -> None:
    encoded = quicklz.compress(
        b"The quick brown fox jumps over the lazy dog, the quick brown dog rests. " * 4
    )
    for size in range(len(encoded)):
        with pytest.raises(CodecError):
            quicklz.decompress(encoded[:size], 4096)
        # The same with a header that agrees, so that the decoder itself has to notice.
        if size >= 9:
            shortened = encoded[:1] + size.to_bytes(4, "little") + encoded[5:size]
            with pytest.raises(CodecError):
                quicklz.decompress(shortened, 4096)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_escapes_as_anything_but_a_codec_error(quicklz: ModuleType, data: st.DataObject) -> None:
    encoded = bytearray(quicklz.compress((b"mov r0, r1; bx lr; " * 30)[: data.draw(st.integers(1, 500))]))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = quicklz.decompress(bytes(encoded), 4096)
    except CodecError:
        return
    assert len(decoded) <= 4096


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 600))
def test_noise_behind_a_good_header_is_bounded(quicklz: ModuleType, noise: bytes, raw_size: int) -> None:
    encoded = struct.pack("<BII", LONG_COMPRESSED, 9 + len(noise), raw_size) + noise
    try:
        decoded = quicklz.decompress(encoded, 600)
    except CodecError:
        return
    assert len(decoded) == raw_size
