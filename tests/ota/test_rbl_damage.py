"""Damage at every place of whole small packages."""

import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import IV, KEY, VECTORS, Vector, rebuild

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.body import decode
from cloudsdk.ota.errors import (
    BodyCrcError,
    CodecError,
    HashError,
    HeaderCrcError,
    HeaderShortError,
    LengthError,
    MagicError,
    RawSizeError,
)
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.package import failures, read_package

SMALL = [v for v in VECTORS if v.facts["case"].startswith("i_100byte")]
#: What a byte is changed by: every single bit, all bits, and enough to make another digit.
CHANGES = (*(1 << bit for bit in range(8)), 0xFF, 0x55)


def extracted(package: bytes) -> bytes:
    return b"".join(read_package(io.BytesIO(package)).extract(KEY, IV))


def verified(package: bytes) -> bool:
    return not failures(read_package(io.BytesIO(package)).verify(KEY, IV))


@pytest.mark.parametrize("v", SMALL, ids=lambda v: v.id)
def test_every_truncation_is_refused(v: Vector) -> None:
    package = v.package
    for size in range(len(package)):
        with pytest.raises(HeaderShortError if size < HEADER_SIZE else LengthError):
            extracted(package[:size])


@pytest.mark.parametrize("v", SMALL, ids=lambda v: v.id)
def test_every_changed_byte_is_refused_with_the_right_error(v: Vector) -> None:
    package = v.package
    for at in range(len(package)):
        for change in CHANGES:
            damaged = bytearray(package)
            damaged[at] ^= change
            if at < 4:
                expected: tuple[type[CloudSdkError], ...] = (MagicError,)
            elif at < HEADER_SIZE:
                expected = (HeaderCrcError,)
            else:  # the decoder can notice before the CRC is complete
                expected = (BodyCrcError, CodecError, RawSizeError)
            with pytest.raises(expected):
                extracted(bytes(damaged))


@pytest.mark.parametrize("v", SMALL, ids=lambda v: v.id)
def test_changed_bytes_behind_right_crcs_are_refused_or_harmless(v: Vector) -> None:
    package, raw = v.package, v.raw
    for at in range(HEADER_SIZE, len(package)):
        for change in CHANGES:
            body = bytearray(package[HEADER_SIZE:])
            body[at - HEADER_SIZE] ^= change
            forged = rebuild(package, bytes(body))
            try:
                decoded = extracted(forged)
            except (CodecError, RawSizeError, HashError):
                assert not verified(forged)
            else:
                assert decoded == raw
                assert verified(forged)


@pytest.mark.parametrize("v", SMALL, ids=lambda v: v.id)
def test_truncated_bodies_behind_right_crcs_are_refused_or_harmless(v: Vector) -> None:
    package, raw = v.package, v.raw
    for size in range(len(package) - HEADER_SIZE):
        forged = rebuild(package, package[HEADER_SIZE : HEADER_SIZE + size])
        try:
            decoded = extracted(forged)
        except (CodecError, RawSizeError):
            assert not verified(forged)
        else:  # only padding or the trailer of gzip was lost
            assert decoded == raw
            assert size > len(package) - HEADER_SIZE - 24


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=HEADER_SIZE, max_size=HEADER_SIZE))
def test_every_header_packs_to_what_it_was(data: bytes) -> None:
    header = RblHeader.unpack(data)
    assert header.pack() == data
    assert header.with_crc().crc_ok
    assert header.crc_ok is (zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 2, 0x100, 0x102, 0x200, 0x202, 0x300, 0x302]),
    st.integers(0, 100_000),
    st.lists(st.binary(max_size=60), max_size=8),
)
def test_any_body_decodes_to_the_raw_size_or_is_refused(
    algo: int, raw_size: int, pieces: list[bytes]
) -> None:
    header = RblHeader(b"RBL\0", algo, 0, 0, bytes(16), bytes(24), bytes(24), 0, 0, raw_size, 0, 0)
    try:
        size = sum(map(len, decode(header, pieces, KEY, IV)))
    except (CodecError, RawSizeError):
        return
    assert size == raw_size
