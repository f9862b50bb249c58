import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import EDGE, IV, KEY, RAW_16, VECTORS, Vector, rebuild, vector, with_header

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.errors import (
    BodyCrcError,
    HashError,
    HeaderCrcError,
    HeaderShortError,
    LengthError,
    MagicError,
    PackageError,
    PackageKeyError,
    RawSizeError,
)
from cloudsdk.ota.header import HEADER_SIZE, Compression
from cloudsdk.ota.package import Package, failures, read_package

CHECKS = ["magic", "header-crc", "length", "algorithm", "body-crc", "decode", "raw-size", "raw-hash"]
PLAIN = vector("official-h_16byte__none__plain").package
AES = vector("official-i_100byte_text__fastlz__aes").package
QUICKLZ = vector("official-i_100byte_text__quicklz__plain").package
TEXT = vector("official-i_100byte_text__quicklz__plain").raw


def opened(package: bytes) -> Package:
    return read_package(io.BytesIO(package))


def failed(package: bytes) -> list[str]:
    return [check.name for check in failures(opened(package).verify())]


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
def test_recorded_packages_verify_and_extract(v: Vector) -> None:
    package = read_package(v.path)
    checks = package.verify(KEY, IV)
    assert [check.name for check in checks] == CHECKS
    assert failures(checks) == []
    assert b"".join(package.extract(KEY, IV)) == v.raw


@pytest.mark.parametrize(
    ("file", "raw"),
    [
        ("edge_empty", b""),
        ("edge_empty_aes", b""),
        ("edge_empty_qlz_aes", b""),
        ("edge_longname", RAW_16),
        ("edge_name16", RAW_16),
        ("edge_nonascii", RAW_16),
    ],
)
def test_corner_cases_verify_and_extract(file: str, raw: bytes) -> None:
    package = read_package(EDGE / f"{file}.rbl")
    assert failures(package.verify()) == []
    assert b"".join(package.extract()) == raw


def test_non_ascii_key_became_question_marks() -> None:
    package = read_package(EDGE / "edge_key_nonascii.rbl")
    assert [check.name for check in failures(package.verify())] == ["raw-hash"]
    assert b"".join(package.extract(b"?" + KEY[1:], IV)) == RAW_16


def test_every_check_can_fail() -> None:
    assert failed(with_header(PLAIN, magic=b"RBL1")) == ["magic"]
    assert failed(PLAIN[:0x5C] + bytes(4) + PLAIN[HEADER_SIZE:]) == ["header-crc"]
    assert failed(PLAIN + b"\n") == ["length"]
    assert failed(with_header(PLAIN, body_crc32=1)) == ["body-crc"]
    assert failed(with_header(PLAIN, raw_hash=1)) == ["raw-hash"]
    assert failed(with_header(PLAIN, raw_size=17)) == ["raw-size", "raw-hash"]
    assert failed(with_header(PLAIN, algo=0x0500)) == ["algorithm", "decode", "raw-size", "raw-hash"]
    assert failed(with_header(QUICKLZ, algo=Compression.GZIP)) == ["decode", "raw-size", "raw-hash"]
    assert failed(PLAIN[:-1]) == ["length", "body-crc", "raw-size", "raw-hash"]


def test_raw_size_too_small_is_found_by_the_hash() -> None:
    assert failed(with_header(PLAIN, raw_size=15)) == ["raw-hash"]


def test_qboot_keeps_a_crc_where_official_packages_keep_fnv() -> None:
    assert failed(with_header(PLAIN, algo2=1)) == ["raw-hash"]
    detail = opened(vector("qboot-h_16byte__none__plain").package).verify()[-1].detail
    assert detail == "CRC-32 0xcecee288"


def test_hpatchlite_is_recognised() -> None:
    check = next(c for c in opened(with_header(PLAIN, algo=0x0400)).verify() if c.name == "algorithm")
    assert "HPatchLite" in check.detail


@pytest.mark.parametrize(
    ("package", "error", "yielded"),
    [
        (with_header(PLAIN, magic=b"ZIP\0"), MagicError, False),
        (PLAIN[:0x10] + b"X" + PLAIN[0x11:], HeaderCrcError, False),
        (PLAIN[:-1], LengthError, False),
        (PLAIN[:-1] + b"\xff", BodyCrcError, True),
        (with_header(PLAIN, raw_hash=1), HashError, True),
        (with_header(PLAIN, raw_size=17), RawSizeError, True),
    ],
)
def test_extract_raises_before_or_after_the_firmware(
    package: bytes, error: type[CloudSdkError], yielded: bool
) -> None:
    pieces: list[bytes] = []
    with pytest.raises(error):
        pieces.extend(opened(package).extract())  # extend keeps what came before the error
    assert bool(pieces) is yielded


def test_extract_ignores_what_follows_the_package() -> None:
    assert b"".join(opened(QUICKLZ + b"\xff" * 100).extract()) == TEXT


def test_extract_checks_the_crc_of_padding_too() -> None:
    padded = rebuild(QUICKLZ, QUICKLZ[HEADER_SIZE:] + b"\x05" * 5)
    assert b"".join(opened(padded).extract()) == TEXT
    with pytest.raises(BodyCrcError):
        list(opened(padded[:-1] + b"\x06").extract())


def test_padding_without_encryption_is_accepted() -> None:
    # rbl-format 2.6: an older tool pads with PKCS#7 without encrypting.
    padded = rebuild(PLAIN, RAW_16 + b"\x10" * 16)
    assert failed(padded) == []
    assert b"".join(opened(padded).extract()) == RAW_16


def test_wrong_key_is_suspected() -> None:
    package = opened(vector("official-h_16byte__none__aes").package)
    with pytest.raises(HashError, match="key or IV is wrong"):
        list(package.extract(KEY[::-1], IV))
    with pytest.raises(PackageKeyError):
        package.verify(None, None)


@pytest.mark.parametrize("package", [PLAIN, AES, QUICKLZ], ids=["none", "fastlz-aes", "quicklz"])
def test_truncation_anywhere_is_noticed(package: bytes) -> None:
    for size in range(len(package)):
        if size < HEADER_SIZE:
            with pytest.raises(HeaderShortError):
                opened(package[:size])
        else:
            with pytest.raises(LengthError):
                list(opened(package[:size]).extract())
            assert "length" in failed(package[:size])


@pytest.mark.parametrize("package", [PLAIN, AES, QUICKLZ], ids=["none", "fastlz-aes", "quicklz"])
def test_any_changed_byte_is_noticed(package: bytes) -> None:
    for at in range(len(package)):
        damaged = bytearray(package)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(CloudSdkError):
            list(opened(bytes(damaged)).extract())
        assert failed(bytes(damaged)) != []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_behind_right_crcs_never_yields_another_firmware(data: st.DataObject) -> None:
    v = data.draw(st.sampled_from([v for v in VECTORS if v.facts["size_package"] < 300]))
    package = v.package
    body = bytearray(package[HEADER_SIZE:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    forged = opened(rebuild(package, bytes(body)))
    try:
        assert b"".join(forged.extract()) == v.raw
    except CloudSdkError:
        assert failures(forged.verify()) != []
    else:
        assert failures(forged.verify()) == []


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=HEADER_SIZE, max_size=HEADER_SIZE + 64))
def test_noise_is_judged_without_a_traceback(noise: bytes) -> None:
    assert "header-crc" in failed(noise)


def test_huge_promises_cost_nothing() -> None:
    assert failed(with_header(PLAIN, raw_size=0xFFFFFFFF, body_size=0xFFFFFFFF)) == [
        "length",
        "raw-size",
        "raw-hash",
    ]


def test_codes_of_package_errors_are_distinct() -> None:
    codes = [PackageError.code, *(error.code for error in PackageError.__subclasses__())]
    assert len(set(codes)) == len(codes) == 16
    assert all(code.startswith("rbl.") for code in codes)


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*absent\.rbl: No such file or directory"):
        read_package(tmp_path / "absent.rbl")
    with pytest.raises(UsageError, match="Is a directory"):
        read_package(str(tmp_path))


def test_unseekable_stream_is_a_usage_error() -> None:
    class Pipe(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            raise io.UnsupportedOperation("underlying stream is not seekable")

    with pytest.raises(UsageError, match="not seekable"):
        read_package(Pipe(PLAIN))


def test_file_that_vanishes_later_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "app.rbl"
    file.write_bytes(PLAIN)
    package = read_package(file)
    file.unlink()
    with pytest.raises(UsageError, match="cannot read"):
        list(package.extract())
