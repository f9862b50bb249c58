"""The body of an `.rbl` package, decoded as a stream: decryption, then decompression (rbl-format 2)."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.errors import AlgorithmError, CodecError, PackageKeyError, RawSizeError
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.padding import CIPHER_BLOCK_SIZE

KEY_SIZE: Final = 32  # bytes
IV_SIZE: Final = 16  # bytes
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


@dataclass(frozen=True, slots=True)
class Frame:
    """A stretch of the decrypted body, `stored`, and firmware found in it, `raw`; either may be empty.

    Put together, the `stored` of all frames are the body without its padding. The last `raw` can reach beyond
    the raw size of the header.
    """

    stored: bytes
    raw: bytes


class BodyReader:
    """A body after decryption: first its `frames`, behind them its padding.

    `body` comes in pieces of any length; `key` (32 bytes) and `iv` (16 bytes) are needed for an encrypted
    one only. Raises `AlgorithmError` and `PackageKeyError` at once.
    """

    def __init__(self, header: RblHeader, body: Iterable[bytes], key: bytes | None, iv: bytes | None) -> None:
        self._compression, encryption = check_algorithm(header)
        self._raw_size = header.raw_size
        stream = iter(body)
        if encryption is Encryption.AES256:
            stream = _decrypt(stream, aes_cipher(key, iv))
        self._stream = _ByteStream(stream)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes of the decrypted body, or what is left of them; they stay where they are."""
        return self._stream.peek(count)

    def frames(self, *, bulk: bool = False) -> Iterator[Frame]:
        """Decode up to the raw size of the header, or to the end of the body if that comes first.

        A frame is one block of a body that has blocks; with `bulk`, which is faster, it may be many, and the
        last may reach beyond the raw size.
        Raises `CodecError` for a damaged body or a wrong key.
        """
        match self._compression:
            case Compression.GZIP:
                return self._inflated()
            case Compression.QUICKLZ:
                return self._blocks(quicklz, bulk)
            case Compression.FASTLZ:
                return self._blocks(fastlz, bulk)
            case _:
                return self._plain()

    def _plain(self) -> Iterator[Frame]:
        missing = self._raw_size
        while missing and (piece := self._stream.some(missing)):
            missing -= len(piece)
            yield Frame(piece, piece)

    def _inflated(self) -> Iterator[Frame]:
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        missing = self._raw_size
        try:
            while not inflater.eof and (piece := self._stream.some(_INFLATE_PIECE)):
                waiting = piece
                while waiting and not inflater.eof:
                    # With everything there, the trailer is still to come, but no byte more.
                    raw = inflater.decompress(waiting, min(_INFLATE_PIECE, missing or 1))
                    if raw and not missing:
                        raise CodecError(f"the gzip body decodes to more than {self._raw_size} bytes")
                    waiting = inflater.unconsumed_tail
                    missing -= len(raw)
                    yield Frame(b"", raw)
                self._stream.put_back(inflater.unused_data)
                yield Frame(piece[: len(piece) - len(inflater.unused_data)], b"")
            if not (inflater.eof or missing):
                raise CodecError("the body ends before the gzip trailer: the package is cut short")
        except zlib.error as error:
            raise CodecError(f"the gzip body is damaged or the key is wrong ({error})") from None

    def _blocks(self, codec: ModuleType, bulk: bool) -> Iterator[Frame]:
        """Blocks, each behind its big-endian length (rbl-format 2.1)."""
        missing = self._raw_size
        while missing > 0:
            prefix = self._stream.peek(BLOCK_LENGTH.size)
            # Here padding may begin: a zero fill reads as no length, PKCS#7 has a first byte that no length
            # has, and either can be shorter than a length (rbl-format 2.5).
            if len(prefix) < BLOCK_LENGTH.size or prefix[0] or not any(prefix):
                return
            if bulk:
                raw, used = codec.decompress_front(self._stream.waiting, MAX_BLOCK_SIZE)
                if used:
                    missing -= len(raw)
                    yield Frame(self._stream.take(used), raw)
                    continue
            (length,) = BLOCK_LENGTH.unpack(prefix)
            if length > MAX_BLOCK_SIZE:
                raise CodecError(f"a block of {length} bytes is announced, the limit is {MAX_BLOCK_SIZE}")
            stored = self._stream.take(BLOCK_LENGTH.size + length)
            if len(stored) < BLOCK_LENGTH.size + length:
                raise CodecError(f"the body ends inside a block of {length} bytes: the package is cut short")
            raw = codec.decompress(stored[BLOCK_LENGTH.size :], MAX_BLOCK_RAW_SIZE)
            missing -= len(raw)
            yield Frame(stored, raw)


def decode(header: RblHeader, body: Iterable[bytes], key: bytes | None, iv: bytes | None) -> Iterator[bytes]:
    """Decode `body` (its bytes in pieces of any length) to the raw firmware, piece by piece.

    `key` (32 bytes) and `iv` (16 bytes) are needed for an encrypted body only. Everything after `raw_size`
    bytes is padding and is not looked at, whatever its kind (rbl-format 2.6).

    Raises `AlgorithmError` and `PackageKeyError` before the first piece, `CodecError` for a damaged body or a
    wrong key, and `RawSizeError` when the body ends too early.
    """
    frames = BodyReader(header, body, key, iv).frames(bulk=True)
    return _cut((frame.raw for frame in frames), header.raw_size)


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


class _ByteStream:
    """Takes exact lengths out of pieces of any length."""

    __slots__ = ("_pieces", "waiting")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.waiting = bytearray()  # read, and not yet taken

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or what is left of them at the end, without taking them."""
        buffer = self.waiting
        while len(buffer) < count and (piece := next(self._pieces, None)) is not None:
            buffer += piece
        return bytes(buffer[:count])

    def take(self, count: int) -> bytes:
        """The next `count` bytes, or what is left of them at the end."""
        taken = self.peek(count)
        del self.waiting[: len(taken)]
        return taken

    def some(self, limit: int) -> bytes:
        """The next bytes as they come, at most `limit`; none at the end."""
        while not self.waiting and (piece := next(self._pieces, None)) is not None:
            if len(piece) <= limit:
                if piece:
                    return piece
            else:
                self.waiting += piece
        return self.take(min(limit, len(self.waiting)))

    def put_back(self, data: bytes) -> None:
        """Make `data` the next bytes again."""
        self.waiting[:0] = data
