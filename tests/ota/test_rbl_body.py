import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from rbl_vectors import IV, KEY, VECTORS, Vector, vector

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.body import MAX_BLOCK_SIZE, decode
from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.errors import AlgorithmError, CodecError, PackageKeyError, RawSizeError
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, RblHeader

RAW = b"push {r4, lr}; mov r0, #0; pop {r4, pc}; " * 250  # three pieces
PIECES = [RAW[at : at + 4096] for at in range(0, len(RAW), 4096)]


def header(algo: int, raw_size: int = len(RAW), body_size: int = 0) -> RblHeader:
    return RblHeader(b"RBL\0", algo, 0, 0, bytes(16), bytes(24), bytes(24), 0, 0, raw_size, body_size, 0)


def frame(blocks: list[bytes]) -> bytes:
    return b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


def compressed(compression: Compression) -> bytes:
    match compression:
        case Compression.NONE:
            return RAW
        case Compression.GZIP:
            return gzip.compress(RAW)
        case Compression.QUICKLZ:
            return frame([quicklz.compress(piece) for piece in PIECES])
        case _:
            return frame([fastlz.compress(piece) for piece in PIECES])


def pkcs7(body: bytes) -> bytes:
    count = 16 - len(body) % 16
    return body + bytes((count,)) * count


def zeros(body: bytes) -> bytes:
    return body + bytes(-len(body) % 16)


def erased(body: bytes) -> bytes:
    return body + b"\xff" * (-len(body) % 16)


def encrypted(body: bytes) -> bytes:
    encryptor = Cipher(AES(KEY), CBC(IV)).encryptor()
    return encryptor.update(body) + encryptor.finalize()


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
@pytest.mark.parametrize("piece", [1 << 20, 7])
def test_recorded_packages_decode(v: Vector, piece: int) -> None:
    package = v.package
    if piece < 16 and len(package) > 10_000:
        piece = 1009
    pieces = (package[at : at + piece] for at in range(HEADER_SIZE, len(package), piece))
    assert b"".join(decode(RblHeader.unpack(package), pieces, KEY, IV)) == v.raw


@pytest.mark.parametrize("compression", [c for c in Compression if c is not Compression.HPATCHLITE])
@pytest.mark.parametrize("pad", [pkcs7, zeros, erased])
@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.AES256])
def test_padding_of_every_producer(compression: Compression, pad: object, encryption: Encryption) -> None:
    assert callable(pad)
    body = pad(compressed(compression))
    if encryption is Encryption.AES256:
        body = encrypted(body)
    assert b"".join(decode(header(compression | encryption), [body], KEY, IV)) == RAW


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize("value", [None, 0])
def test_padding_of_every_length_ends_the_blocks(count: int, value: int | None) -> None:
    # The header promises a byte more than there is, so the decoder has to recognise the padding itself.
    fill = bytes((count if value is None else value,)) * count
    body = compressed(Compression.FASTLZ) + fill
    with pytest.raises(RawSizeError, match=f"{len(RAW)} of {len(RAW) + 1} bytes"):
        list(decode(header(Compression.FASTLZ, len(RAW) + 1), [body], None, None))


def test_raw_size_zero_reads_nothing() -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for compression in (Compression.NONE, Compression.GZIP, Compression.QUICKLZ, Compression.FASTLZ):
        assert list(decode(header(compression, 0), never(), None, None)) == []


def test_zlib_wrapper_is_taken_for_gzip() -> None:
    assert b"".join(decode(header(Compression.GZIP), [zlib.compress(RAW)], None, None)) == RAW


@pytest.mark.parametrize("feed", [1 << 20, 100, 1])
def test_gzip_that_expands_far_beyond_one_piece(feed: int) -> None:
    raw = bytes(400_000)
    body = gzip.compress(raw)
    pieces = [body[at : at + feed] for at in range(0, len(body), feed)]
    assert b"".join(decode(header(Compression.GZIP, len(raw)), pieces, None, None)) == raw


def test_gzip_bomb_stops_at_the_raw_size() -> None:
    bomb = gzip.compress(bytes(50_000_000), 9)
    tracemalloc.start()
    pieces = list(decode(header(Compression.GZIP, 1000), [bomb], None, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(piece) for piece in pieces] == [1000]
    assert peak < 1_000_000


def test_fastlz_bomb_is_refused() -> None:
    bomb = b"\x00\x00" + b"\xe0\xff\x00" * 400  # 100 KiB out of 1.2
    with pytest.raises(CodecError, match="65536"):
        list(decode(header(Compression.FASTLZ, 1 << 30), [frame([bomb])], None, None))


def test_quicklz_bomb_is_refused() -> None:
    with pytest.raises(CodecError, match="1073741824"):
        list(
            decode(
                header(Compression.QUICKLZ, 1 << 30),
                [frame([b"\x4f\x0d\0\0\0\0\0\0\x40" + bytes(4)])],
                None,
                None,
            )
        )


def test_block_that_announces_too_much_is_refused_before_it_is_read() -> None:
    def body() -> Iterator[bytes]:
        yield (MAX_BLOCK_SIZE + 1).to_bytes(4, "big")
        raise AssertionError("more was read")

    with pytest.raises(CodecError, match=str(MAX_BLOCK_SIZE + 1)):
        list(decode(header(Compression.QUICKLZ), body(), None, None))


@pytest.mark.parametrize("compression", [c for c in Compression if c is not Compression.HPATCHLITE])
@pytest.mark.parametrize("encryption", [Encryption.NONE, Encryption.AES256])
def test_truncated_bodies_never_decode(compression: Compression, encryption: Encryption) -> None:
    body = compressed(compression)
    sizes = {0, 1, 3, 4, 5, 8, 12, 13, 14, len(body) // 2, len(body) - 17, len(body) - 1}
    if compression is Compression.GZIP:
        sizes = {size for size in sizes if size < len(body) - 8}  # the gzip trailer is not firmware
        sizes.add(len(body) - 9 if encryption is Encryption.NONE else len(body) - 17)
    for size in sizes:
        cut = body[:size] if encryption is Encryption.NONE else encrypted(pkcs7(body))[:size]
        with pytest.raises(CloudSdkError):
            list(decode(header(compression | encryption), [cut], KEY, IV))


@pytest.mark.parametrize("compression", [c for c in Compression if c is not Compression.HPATCHLITE])
def test_wrong_key_never_gives_the_firmware(compression: Compression) -> None:
    body = encrypted(pkcs7(compressed(compression)))
    try:
        decoded = b"".join(decode(header(compression | Encryption.AES256), [body], KEY[::-1], IV))
    except (CodecError, RawSizeError):
        return
    assert compression is Compression.NONE
    assert decoded != RAW


@pytest.mark.parametrize("v", [v for v in VECTORS if v.id.startswith("official-i_100")], ids=lambda v: v.id)
def test_every_flipped_byte_of_a_body_is_harmless(v: Vector) -> None:
    package = v.package
    recorded = RblHeader.unpack(package)
    for at in range(HEADER_SIZE, len(package)):
        damaged = bytearray(package)
        damaged[at] ^= 0xA5
        try:
            decoded = b"".join(decode(recorded, [bytes(damaged[HEADER_SIZE:])], KEY, IV))
        except CloudSdkError:
            continue
        assert len(decoded) == recorded.raw_size


@pytest.mark.parametrize(
    ("algo", "word"),
    [(0x0500, "0x0500"), (0x0003, "0x3"), (0x0001, "XOR"), (0x0400, "HPatchLite")],
)
def test_algorithms_that_cannot_be_decoded_are_named_at_once(algo: int, word: str) -> None:
    with pytest.raises(AlgorithmError, match=word):
        decode(header(algo), [], KEY, IV)


@pytest.mark.parametrize(
    ("key", "iv"), [(None, IV), (KEY, None), (KEY[:31], IV), (KEY + b"0", IV), (KEY, IV[:15]), (KEY, b"")]
)
def test_unusable_keys_are_refused_and_not_shown(key: bytes | None, iv: bytes | None) -> None:
    with pytest.raises(PackageKeyError) as caught:
        decode(header(Encryption.AES256), [], key, iv)
    assert "0123456789" not in str(caught.value)


def test_keys_do_not_matter_without_encryption() -> None:
    v = vector("official-h_16byte__none__plain")
    package = v.package
    assert b"".join(decode(RblHeader.unpack(package), [package[HEADER_SIZE:]], b"short", None)) == v.raw
