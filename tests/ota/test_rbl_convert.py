import io

import pytest
from rbl_vectors import EDGE, IV, KEY, RAW_16, VECTORS, Vector, rebuild, vector, with_header

from cloudsdk.ota.convert import convert
from cloudsdk.ota.errors import AlgorithmError, BodyCrcError, CodecError, FieldError, HashError
from cloudsdk.ota.header import HEADER_SIZE, Compression, Flavour, RblHeader
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import failures, read_package

PAIRS = [
    (v, vector(f"official-{v.facts['case']}"))
    for v in VECTORS
    if not v.official and v.facts["compress"] != "gzip"
]


def converted(package: bytes, flavour: Flavour, key: bytes = KEY) -> bytes:
    target = io.BytesIO()
    header = convert(read_package(io.BytesIO(package)), target, flavour, key, IV)
    assert RblHeader.unpack(target.getvalue()) == header
    return target.getvalue()


def relabelled(package: bytes, like: Vector) -> bytes:
    """`package` with version and timestamp of another recording."""
    return with_header(
        package, version=like.facts["version"].encode().ljust(24, b"\0"), timestamp=like.facts["timestamp"]
    )


@pytest.mark.parametrize(("qboot", "official"), PAIRS, ids=lambda v: v.id)
def test_conversion_gives_what_the_other_packer_wrote(qboot: Vector, official: Vector) -> None:
    assert converted(relabelled(official.package, qboot), "qboot") == qboot.package
    assert converted(relabelled(qboot.package, official), "official") == official.package


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
def test_there_and_back_changes_nothing(v: Vector) -> None:
    there = converted(v.package, "qboot" if v.official else "official")
    assert failures(read_package(io.BytesIO(there)).verify(KEY, IV)) == []
    assert converted(there, v.facts["flavour"]) == v.package


def test_padding_of_older_tools_is_dropped() -> None:
    plain = vector("official-h_16byte__none__plain").package
    assert converted(rebuild(plain, RAW_16 + b"\x10" * 16), "official") == plain


def test_text_that_fills_its_field_does_not_fit_qboot() -> None:
    package = (EDGE / "edge_name16.rbl").read_bytes()
    with pytest.raises(FieldError, match="name has more than the 15"):
        converted(package, "qboot")
    assert converted(package, "official") == package


@pytest.mark.parametrize(
    ("package", "error"),
    [
        (vector("official-h_16byte__none__plain").package[:-1] + b"\0", BodyCrcError),
        (with_header(vector("official-h_16byte__none__plain").package, raw_hash=1), HashError),
        (with_header(vector("official-h_16byte__none__plain").package, algo=0x0400), AlgorithmError),
    ],
)
def test_damaged_packages_get_no_new_checksums(package: bytes, error: type[Exception]) -> None:
    target = io.BytesIO()
    with pytest.raises(error):
        convert(read_package(io.BytesIO(package)), target, "qboot", KEY, IV)
    assert target.getvalue() == b""


def test_wrong_key_is_refused() -> None:
    with pytest.raises((CodecError, HashError)):
        converted(vector("official-d_100k_fw__none__aes").package, "qboot", KEY[::-1])


def test_gzip_without_its_trailer_is_refused() -> None:
    package = pack(b"firmware" * 9, name="app", version="1", timestamp=0, compression=Compression.GZIP)
    with pytest.raises(CodecError, match="trailer"):
        converted(rebuild(package, package[HEADER_SIZE:-1]), "qboot")
