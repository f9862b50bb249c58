import io
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbl_vectors import IV, KEY, VECTORS, Vector

from cloudsdk.ota.codecs import implementation
from cloudsdk.ota.errors import FieldError
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, Flavour
from cloudsdk.ota.pack import PackOptions, official_text, pack, pack_stream
from cloudsdk.ota.package import failures, read_package
from cloudsdk.ota.padding import Padding, padding_for, padding_kind

MIB = 1 << 20
CODED_SIZE = 16 * MIB if implementation() == "c" else MIB * 5 // 16  # bytes; the Python encoders are slow
CODECS = [c for c in Compression if c is not Compression.HPATCHLITE]


def options(**values: object) -> PackOptions:
    return PackOptions(**({"name": "app", "version": "1.0", "timestamp": 7, "key": KEY, "iv": IV} | values))  # type: ignore[arg-type]


def peak_of(job: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        job()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Sink(io.RawIOBase):
    """A target that keeps nothing but what is needed to seek back to the header."""

    position = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.position = offset
        return offset

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.position += len(data)
        return len(data)


@pytest.mark.parametrize(
    ("compression", "encryption", "flavour", "size"),
    [
        (Compression.NONE, Encryption.NONE, "qboot", 16 * MIB),
        (Compression.NONE, Encryption.AES256, "qboot", 16 * MIB),
        (Compression.GZIP, Encryption.AES256, "qboot", 16 * MIB),
        (Compression.QUICKLZ, Encryption.AES256, "official", CODED_SIZE),
        (Compression.FASTLZ, Encryption.NONE, "official", CODED_SIZE),
    ],
)
def test_packing_needs_a_few_blocks_of_memory(
    compression: Compression, encryption: Encryption, flavour: Flavour, size: int
) -> None:
    piece = bytes(range(256)) * 256
    settings = options(compression=compression, encryption=encryption, flavour=flavour)

    def job() -> None:
        header = pack_stream((piece for _ in range(size // len(piece))), Sink(), settings)  # type: ignore[arg-type]
        assert header.raw_size == size

    assert peak_of(job) < min(MIB // 2, size * 4 // 5)


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_reading_16_mib_needs_a_few_blocks_of_memory(tmp_path, compression: Compression) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "big.rbl"
    piece = zlib.compress(bytes(range(256))).ljust(65536, b"\xa5")
    with file.open("wb") as target:
        pack_stream(
            (piece for _ in range(256)),
            target,
            options(compression=compression, encryption=Encryption.AES256, flavour="qboot"),
        )

    def job() -> None:
        assert sum(map(len, read_package(file).extract(KEY, IV))) == 16 * MIB

    assert peak_of(job) < MIB


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_how_the_firmware_is_cut_does_not_show(data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=1, max_size=40).map(lambda seed: (seed * 3000)[:9001]))
    sizes = data.draw(st.lists(st.integers(0, 5000), max_size=6))
    setting = options(
        compression=data.draw(st.sampled_from(CODECS)),
        encryption=data.draw(st.sampled_from([Encryption.NONE, Encryption.AES256])),
    )

    def pieces() -> Iterator[bytes]:
        start = 0
        for size in sizes:
            yield raw[start : start + size]
            start += size
        yield raw[start:]

    cut, whole = io.BytesIO(), io.BytesIO()
    assert pack_stream(pieces(), cut, setting) == pack_stream([raw], whole, setting)
    assert cut.getvalue() == whole.getvalue()


def test_package_begins_where_the_target_stands() -> None:
    target = io.BytesIO()
    target.write(b"before")
    pack_stream([b"firmware" * 8], target, options())
    target.write(b"behind")
    expected = pack(b"firmware" * 8, name="app", version="1.0", timestamp=7)
    assert target.getvalue() == b"before" + expected + b"behind"


def test_package_without_its_end_is_no_package() -> None:
    def failing() -> Iterator[bytes]:
        yield b"firmware" * 1000
        raise OSError("disk gone")

    target = io.BytesIO()
    with pytest.raises(OSError, match="disk gone"):
        pack_stream(failing(), target, options())
    assert target.getvalue()[:HEADER_SIZE] == bytes(HEADER_SIZE)
    assert "magic" in [check.name for check in failures(read_package(target).header_checks())]


def test_firmware_beyond_32_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudsdk.ota.writer.U32_MAX", 1000)
    with pytest.raises(FieldError, match="more than 1000 bytes"):
        pack_stream([bytes(600), bytes(401)], io.BytesIO(), options())


def test_options_do_not_show_the_key() -> None:
    assert "0123456789ABCDEF" not in repr(options(encryption=Encryption.AES256))


def test_gzip_holds_no_time_and_no_name() -> None:
    body = pack(b"firmware", name="app", version="1", timestamp=9, compression=Compression.GZIP)[HEADER_SIZE:]
    assert body[:8] == bytes.fromhex("1f8b0800 00000000")


@pytest.mark.parametrize(
    ("text", "limit", "stored"),
    [("app", 16, "app"), ("固件", 16, "??"), ("a" * 17, 16, "a" * 16), ("é" * 30, 24, "?" * 24)],
)
def test_official_text(text: str, limit: int, stored: str) -> None:
    assert official_text(text, limit) == stored


@given(st.integers(0, 1 << 20), st.sampled_from(["official", "qboot"]))
def test_padding_fills_the_cipher_block_and_is_recognised(length: int, flavour: Flavour) -> None:
    padding = padding_for(length, flavour)
    assert (length + len(padding)) % 16 == 0
    expected = Padding.PKCS7 if flavour == "official" else Padding.ZEROS if padding else Padding.NONE
    assert padding_kind(padding) is expected


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        (b"\xff" * 15, Padding.ERASED),
        (b"\x02\x01", Padding.OTHER),
        (bytes(16), Padding.OTHER),
        (b"\x11" * 17, Padding.OTHER),
        (b"\x10" * 16, Padding.PKCS7),
    ],
)
def test_padding_kinds(rest: bytes, kind: Padding) -> None:
    assert padding_kind(rest) is kind


@pytest.mark.parametrize("v", [v for v in VECTORS if v.facts["compress"] == "none"], ids=lambda v: v.id)
def test_streamed_packages_are_byte_identical_to_recorded_ones(v: Vector) -> None:
    target = io.BytesIO()
    raw = v.raw
    pack_stream(
        (raw[at : at + 1000] for at in range(0, len(raw), 1000)),
        target,
        options(
            version=v.facts["version"],
            timestamp=v.facts["timestamp"],
            encryption=Encryption.NONE if v.facts["encrypt"] == "none" else Encryption.AES256,
            flavour=v.facts["flavour"],
        ),
    )
    assert target.getvalue() == v.package
