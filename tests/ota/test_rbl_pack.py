import io
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import EDGE, IV, KEY, RAW_16, VECTORS, Vector

from cloudsdk.ota.errors import AlgorithmError, FieldError, PackageKeyError
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, Flavour
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY, failures, read_package

UNCOMPRESSED = [v for v in VECTORS if v.facts["compress"] == "none"]
CODECS = [c for c in Compression if c is not Compression.HPATCHLITE]


def repack(v: Vector) -> bytes:
    return pack(
        v.raw,
        name=v.facts["partition"],
        version=v.facts["version"],
        timestamp=v.facts["timestamp"],
        compression=Compression[v.facts["compress"].upper()],
        encryption=Encryption.NONE if v.facts["encrypt"] == "none" else Encryption.AES256,
        key=KEY,
        iv=IV,
        flavour=v.facts["flavour"],
        product_code=v.product_code,
    )


@pytest.mark.parametrize("v", UNCOMPRESSED, ids=lambda v: v.id)
def test_uncompressed_packages_are_byte_identical(v: Vector) -> None:
    assert repack(v) == v.package


@pytest.mark.parametrize("v", [v for v in VECTORS if v not in UNCOMPRESSED], ids=lambda v: v.id)
def test_compressed_packages_verify_and_are_no_larger(v: Vector) -> None:
    ours = repack(v)
    package = read_package(io.BytesIO(ours))
    assert failures(package.verify(KEY, IV)) == []
    assert b"".join(package.extract(KEY, IV)) == v.raw
    # Padding to the cipher block can add up to 16 bytes to a body that is a byte longer.
    assert len(ours) <= HEADER_SIZE + 1.005 * v.facts["size_package"] + 16


@pytest.mark.parametrize(
    ("file", "raw", "name", "version", "options"),
    [
        ("edge_empty", b"", "app", "1", {}),
        ("edge_empty_aes", b"", "app", "1", {"encryption": Encryption.AES256}),
        (
            "edge_empty_qlz_aes",
            b"",
            "app",
            "1",
            {"encryption": Encryption.AES256, "compression": Compression.QUICKLZ},
        ),
        ("edge_name16", RAW_16, "0123456789abcdef", "123456789012345678901234", {}),
        ("edge_longname", RAW_16, "averyveryverylon", "123456789012345678901234", {}),
        ("edge_nonascii", RAW_16, "??", "??1", {}),
        (
            "edge_key_nonascii",
            RAW_16,
            "app",
            "1",
            {"encryption": Encryption.AES256, "key": b"?123456789ABCDEF0123456789ABCDEF"},
        ),
    ],
)
def test_corner_cases_are_byte_identical(
    file: str, raw: bytes, name: str, version: str, options: dict[str, object]
) -> None:
    recorded = (EDGE / f"{file}.rbl").read_bytes()
    timestamp = read_package(EDGE / f"{file}.rbl").header.timestamp
    keys = {"key": KEY, "iv": IV}
    assert pack(raw, name=name, version=version, timestamp=timestamp, **(keys | options)) == recorded  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.binary(min_size=1, max_size=5).map(lambda seed: (seed * 9000)[:9000])
    ),
    st.sampled_from(CODECS),
    st.sampled_from([Encryption.NONE, Encryption.AES256]),
    st.sampled_from(["official", "qboot"]),
)
def test_everything_packed_verifies(
    raw: bytes, compression: Compression, encryption: Encryption, flavour: Flavour
) -> None:
    made = pack(
        raw,
        name="app",
        version="v1",
        timestamp=0,
        compression=compression,
        encryption=encryption,
        key=DEFAULT_KEY,
        iv=DEFAULT_IV,
        flavour=flavour,
    )
    package = read_package(io.BytesIO(made))
    assert package.header.flavour == flavour
    assert failures(package.verify()) == []
    assert b"".join(package.extract()) == raw


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "a" * 17},
        {"name": "固件"},
        {"name": "a\0b"},
        {"name": "a\n"},
        {"version": ""},
        {"version": "1" * 25},
        {"version": "1.0\x7f"},
        {"product_code": "0" * 25},
        {"timestamp": -1},
        {"timestamp": 1 << 32},
        {"name": "a" * 16, "flavour": "qboot"},
        {"version": "1" * 24, "flavour": "qboot"},
        {"product_code": "0" * 24, "flavour": "qboot"},
    ],
)
def test_values_the_header_cannot_hold(values: dict[str, object]) -> None:
    options = {"name": "app", "version": "1.0", "timestamp": 0} | values
    with pytest.raises(FieldError) as caught:
        pack(b"firmware", **options)  # type: ignore[arg-type]
    assert caught.value.code == "rbl.field"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "iv"), [(None, None), (KEY[1:], IV), (KEY, IV + b"0")])
def test_encrypting_needs_a_whole_key(key: bytes | None, iv: bytes | None) -> None:
    with pytest.raises(PackageKeyError):
        pack(b"firmware", name="app", version="1", timestamp=0, encryption=Encryption.AES256, key=key, iv=iv)


@pytest.mark.parametrize("options", [{"compression": Compression.HPATCHLITE}, {"encryption": Encryption.XOR}])
def test_algorithms_nobody_can_pack(options: dict[str, object]) -> None:
    with pytest.raises(AlgorithmError):
        pack(b"firmware", name="app", version="1", timestamp=0, **options)  # type: ignore[arg-type]


def test_sizes_that_hang_a_bootloader_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cloudsdk.ota.pack"):
        pack(bytes(32), name="app", version="1", timestamp=0)
        assert caplog.records == []
        pack(bytes(31), name="app", version="1", timestamp=0)
    assert [record.getMessage().split(" has")[0] for record in caplog.records] == ["the firmware", "the body"]
