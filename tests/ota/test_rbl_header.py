import zlib

import pytest
from rbl_vectors import EDGE, RAW_16, VECTORS, Vector, vector, with_header

from cloudsdk.ota.errors import HeaderShortError
from cloudsdk.ota.header import (
    HEADER_SIZE,
    NAME_OFFSET,
    PRODUCT_CODE_OFFSET,
    VERSION_OFFSET,
    Compression,
    Encryption,
    RblHeader,
)


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
def test_fields_of_recorded_packages(v: Vector) -> None:
    header = RblHeader.unpack(v.package)
    facts = v.facts
    assert header.algo == facts["algo" if v.official else "algo16"]
    assert header.algo2 == facts.get("algo2", 0)
    assert header.flavour == facts["flavour"]
    assert header.compression is Compression[facts["compress"].upper()]
    assert header.encryption is (Encryption.NONE if facts["encrypt"] == "none" else Encryption.AES256)
    assert header.timestamp == facts["timestamp"]
    assert (header.name_text, header.version_text) == (facts["partition"], facts["version"])
    assert header.product_code_text == v.product_code
    assert header.body_crc32 == int(facts["body_crc32" if v.official else "pkg_crc32"], 16)
    assert header.raw_hash == int(facts["raw_fnv1a" if v.official else "raw_crc32"], 16)
    assert (header.raw_size, header.body_size) == (facts["size_raw"], facts["size_package"])
    assert header.header_crc32 == int(facts["hdr_crc32"], 16)
    assert header.crc_ok
    assert header.pack() == v.package[:HEADER_SIZE]


def test_build_computes_the_crc_of_a_recorded_package() -> None:
    package = (EDGE / "edge_longname.rbl").read_bytes()
    recorded = RblHeader.unpack(package)
    built = RblHeader.build(
        algo=0,
        algo2=0,
        timestamp=recorded.timestamp,
        name=b"averyveryverylongname",  # cut to 16
        version=b"123456789012345678901234567890",  # cut to 24
        product_code=b"00010203040506070809",
        body_crc32=zlib.crc32(RAW_16),
        raw_hash=0xC8FFF215,
        raw_size=16,
        body_size=16,
    )
    assert built == recorded


def test_too_short() -> None:
    with pytest.raises(HeaderShortError) as caught:
        RblHeader.unpack(bytes(HEADER_SIZE - 1))
    assert caught.value.code == "rbl.header-short"


def test_content_is_not_judged() -> None:
    header = RblHeader.unpack(b"\xff" * HEADER_SIZE)
    assert not header.crc_ok
    assert (
        header.computed_crc32() == 0x7B93C5C8
    )  # what the bootloader prints for erased flash (rbl-format 3.2)
    assert header.compression is None
    assert header.encryption is None
    assert (header.compression_bits, header.encryption_bits) == (0x0F00, 0x0F)
    assert header.pack() == b"\xff" * HEADER_SIZE


@pytest.mark.parametrize(
    ("algo", "compression", "encryption"),
    [
        (0x0102, Compression.GZIP, Encryption.AES256),
        (0x0400, Compression.HPATCHLITE, Encryption.NONE),
        (0x0501, None, Encryption.XOR),
        (0x0303, Compression.FASTLZ, None),
        (0x10F2, Compression.NONE, Encryption.AES256),  # other bits have no meaning
    ],
)
def test_algorithm_bits(algo: int, compression: Compression | None, encryption: Encryption | None) -> None:
    header = RblHeader.unpack(with_header(vector("official-h_16byte__none__plain").package, algo=algo))
    assert header.compression is compression
    assert header.encryption is encryption


def test_any_byte_is_covered_by_the_header_crc() -> None:
    package = vector("official-h_16byte__none__plain").package[:HEADER_SIZE]
    for at in range(HEADER_SIZE):
        damaged = bytearray(package)
        damaged[at] ^= 1
        assert not RblHeader.unpack(bytes(damaged)).crc_ok


def test_with_crc_follows_a_changed_field() -> None:
    package = vector("official-h_16byte__none__plain").package
    changed = RblHeader.unpack(with_header(package, timestamp=1))
    assert changed.crc_ok
    assert changed.header_crc32 == zlib.crc32(changed.pack()[:92])


def test_text_stops_at_its_field_and_c_strings_run_on() -> None:
    header = RblHeader.unpack((EDGE / "edge_name16.rbl").read_bytes())
    assert header.name_text == "0123456789abcdef"
    assert header.version_text == "123456789012345678901234"
    assert header.c_string(NAME_OFFSET) == b"0123456789abcdef12345678901234567890123400010203040506070809"
    assert header.c_string(VERSION_OFFSET) == b"12345678901234567890123400010203040506070809"
    assert header.c_string(PRODUCT_CODE_OFFSET) == b"00010203040506070809"


def test_text_is_safe_to_print() -> None:
    package = vector("official-h_16byte__none__plain").package
    header = RblHeader.unpack(with_header(package, name=b"\x1b[2Ja\xe5\n".ljust(16, b"\0")))
    assert header.name_text == r"\x1b[2Ja\xe5\x0a"
    assert RblHeader.unpack((EDGE / "edge_nonascii.rbl").read_bytes()).name_text == "??"
