"""The body of an `.rbl` package, decoded as a stream: decryption, then decompression (rbl-format 2)."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.errors import AlgorithmError, CodecError, PackageKeyError, RawSizeError
from cloudsdk.ota.header import Compression, Encryption, RblHeader

KEY_SIZE: Final = 32  # bytes
IV_SIZE: Final = 16  # bytes
CIPHER_BLOCK_SIZE: Final = 16  # bytes
PIECE_SIZE: Final = 4096  # raw bytes per compressed block (rbl-format 2.1)
MAX_BLOCK_RAW_SIZE: Final = 64 * 1024  # bytes one block may decode to; packers write PIECE_SIZE
MAX_BLOCK_SIZE: Final = 2 * MAX_BLOCK_RAW_SIZE  # bytes as stored, ample for the growth of any codec

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # QBoot takes either wrapper (rbl-format 2.4)
_DECRYPT_PIECE: Final = 64 * 1024  # bytes decrypted at a time: the fastest (docs/benchmarks.md)
_INFLATE_PIECE: Final = 64 * 1024  # bytes inflated at a time, however far they would expand


def check_algorithm(header: RblHeader) -> tuple[Compression, Encryption]:
    """The algorithms of a body that can be decoded here. Raises `AlgorithmError` for all others."""
    compression, encryption = header.compression, header.encryption
    if compression is None:
        raise AlgorithmError(
            f"compression 0x{header.compression_bits:04x} is unknown: is this a firmware package?"
        )
    if encryption is None:
        raise AlgorithmError(
            f"encryption 0x{header.encryption_bits:x} is unknown: is this a firmware package?"
        )
    if compression is Compression.HPATCHLITE:
        raise AlgorithmError(
            "the body is an HPatchLite patch: it can be applied on a device that holds the old firmware, "
            "not decoded by itself"
        )
    if encryption is Encryption.XOR:
        raise AlgorithmError(
            "XOR encryption is reserved and has no defined key: pack again with AES-256 or none"
        )
    return compression, encryption


def aes_cipher(key: bytes | None, iv: bytes | None) -> Cipher[CBC]:
    """AES-256-CBC as the packers use it. Raises `PackageKeyError` for a key or IV of another length."""
    if key is None or iv is None:
        raise PackageKeyError("the package is encrypted: give a key and an IV")
    if len(key) != KEY_SIZE:
        raise PackageKeyError(f"the key has {len(key)} characters, AES-256 takes exactly {KEY_SIZE}")
    if len(iv) != IV_SIZE:
        raise PackageKeyError(f"the IV has {len(iv)} characters, AES takes exactly {IV_SIZE}")
    return Cipher(AES(key), CBC(iv))


def decode(header: RblHeader, body: Iterable[bytes], key: bytes | None, iv: bytes | None) -> Iterator[bytes]:
    """Decode `body` (its bytes in pieces of any length) to the raw firmware, piece by piece.

    `key` (32 bytes) and `iv` (16 bytes) are needed for an encrypted body only. Everything after `raw_size`
    bytes is padding and is not looked at, whatever its kind (rbl-format 2.6).

    Raises `AlgorithmError` and `PackageKeyError` before the first piece, `CodecError` for a damaged body or a
    wrong key, and `RawSizeError` when the body ends too early.
    """
    compression, encryption = check_algorithm(header)
    stream = iter(body)
    if encryption is Encryption.AES256:
        stream = _decrypt(stream, aes_cipher(key, iv))
    return _cut(_DECODERS[compression](stream), header.raw_size)


def _cut(pieces: Iterator[bytes], raw_size: int) -> Iterator[bytes]:
    missing = raw_size
    while missing:
        piece = next(pieces, None)
        if piece is None:
            raise RawSizeError(
                f"{raw_size - missing} of {raw_size} bytes decode: the body is cut short or the key is wrong"
            )
        if piece:
            yield piece[:missing]
            missing -= min(missing, len(piece))


def _decrypt(stream: Iterator[bytes], cipher: Cipher[CBC]) -> Iterator[bytes]:
    decryptor = cipher.decryptor()
    for piece in stream:
        for start in range(0, len(piece), _DECRYPT_PIECE):
            yield decryptor.update(memoryview(piece)[start : start + _DECRYPT_PIECE])
    try:
        yield decryptor.finalize()
    except ValueError:
        raise CodecError(
            f"the encrypted body is not a multiple of {CIPHER_BLOCK_SIZE} bytes: the package is cut short"
        ) from None


def _inflate(stream: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for waiting in stream:
            while waiting and not inflater.eof:
                yield inflater.decompress(waiting, _INFLATE_PIECE)
                waiting = inflater.unconsumed_tail
            if inflater.eof:
                return
    except zlib.error as error:
        raise CodecError(f"the gzip body is damaged or the key is wrong ({error})") from None


def _framed(codec: ModuleType) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """A decoder of blocks, each behind its big-endian length (rbl-format 2.1)."""

    def blocks(stream: Iterator[bytes]) -> Iterator[bytes]:
        reader = _Reader(stream)
        while reader.has(BLOCK_LENGTH.size):
            # Many good blocks at once, where that is possible. All rules and errors are below.
            raw, used = codec.decompress_front(reader.waiting, MAX_BLOCK_SIZE)
            if used:
                reader.drop(used)
                yield raw
                continue
            prefix = reader.take(BLOCK_LENGTH.size)
            # Here padding may begin: a zero fill reads as no length, PKCS#7 has a first byte that no length
            # has, and either can be shorter than a length (rbl-format 2.5).
            if prefix[0] or not any(prefix):
                return
            (length,) = BLOCK_LENGTH.unpack(prefix)
            if length > MAX_BLOCK_SIZE:
                raise CodecError(f"a block of {length} bytes is announced, the limit is {MAX_BLOCK_SIZE}")
            if not reader.has(length):
                raise CodecError(f"the body ends inside a block of {length} bytes: the package is cut short")
            yield codec.decompress(reader.take(length), MAX_BLOCK_RAW_SIZE)

    return blocks


class _Reader:
    """Takes exact lengths out of pieces of any length. `waiting` is what was read and not yet taken."""

    __slots__ = ("_stream", "waiting")

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self.waiting = bytearray()

    def has(self, count: int) -> bool:
        """Read until `count` bytes wait; whether there are so many."""
        while len(self.waiting) < count:
            piece = next(self._stream, None)
            if piece is None:
                return False
            self.waiting += piece
        return True

    def take(self, count: int) -> bytes:
        taken = bytes(self.waiting[:count])
        self.drop(count)
        return taken

    def drop(self, count: int) -> None:
        del self.waiting[:count]


_DECODERS: Final[dict[Compression, Callable[[Iterator[bytes]], Iterator[bytes]]]] = {
    Compression.NONE: iter,
    Compression.GZIP: _inflate,
    Compression.QUICKLZ: _framed(quicklz),
    Compression.FASTLZ: _framed(fastlz),
}
