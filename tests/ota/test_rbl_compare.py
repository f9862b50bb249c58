import io

import pytest
from rbl_vectors import KEY, rebuild, vector, with_header

from cloudsdk.ota.compare import Comparison, ContentDifference, compare
from cloudsdk.ota.errors import IncomparableError
from cloudsdk.ota.header import Compression
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import read_package

RAW = bytes(range(256)) * 64  # four blocks


def packed(raw: bytes, **options: object) -> bytes:
    return pack(raw, **({"name": "app", "version": "1.0", "timestamp": 0} | options))  # type: ignore[arg-type]


def compared(first: bytes, second: bytes) -> Comparison:
    return compare(read_package(io.BytesIO(first)), read_package(io.BytesIO(second)))


def test_package_is_the_same_as_itself() -> None:
    assert compared(packed(RAW), packed(RAW)).same


def test_the_same_firmware_in_another_wrapping() -> None:
    result = compared(packed(RAW), packed(RAW, version="2.0", compression=Compression.QUICKLZ))
    assert not result.same
    assert result.content == ContentDifference(len(RAW), len(RAW), None, 0, 4)
    changed = [difference.field for difference in result.fields]
    assert changed == ["algo", "version", "body_crc32", "body_size", "header_crc32"]
    assert result.fields[1].first == b"1.0".ljust(24, b"\0")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (RAW[:5000] + b"!" + RAW[5001:], ContentDifference(16384, 16384, 5000, 1, 4)),
        (RAW[:5000], ContentDifference(16384, 5000, 5000, 3, 4)),
        (RAW + b"!", ContentDifference(16384, 16385, 16384, 1, 5)),
        (b"!" + RAW[1:-1] + b"!", ContentDifference(16384, 16384, 0, 2, 4)),
        (b"", ContentDifference(16384, 0, 0, 4, 4)),
    ],
)
def test_content_that_differs(other: bytes, expected: ContentDifference) -> None:
    assert compared(packed(RAW), packed(other)).content == expected


def test_bodies_of_patches_are_compared_as_they_are() -> None:
    patch = with_header(packed(RAW), algo=Compression.HPATCHLITE)
    result = compared(patch, rebuild(patch, RAW[:-1] + b"!"))
    assert (result.content_kind, result.content.first_difference) == ("body", 16383)


def test_damaged_or_locked_packages_cannot_be_compared() -> None:
    good = vector("official-d_100k_fw__none__aes")
    with pytest.raises(IncomparableError, match="CRC"):
        compared(packed(RAW), packed(RAW)[:-1] + b"!")
    first, second = read_package(good.path), read_package(good.path)
    with pytest.raises(IncomparableError, match="key or IV") as caught:
        compare(first, second, KEY[::-1])
    assert caught.value.exit_status == 2
