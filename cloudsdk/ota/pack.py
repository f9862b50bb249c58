"""Make an `.rbl` package from raw firmware (rbl-format 1 and 2).

Uncompressed packages are byte-identical to those of the official packer and of QBoot's; compressed ones are
not, but decode to the same firmware. The same input and options give the same bytes.
"""

import io
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from cloudsdk.ota.body import PIECE_SIZE, aes_cipher
from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.errors import AlgorithmError, FieldError
from cloudsdk.ota.header import (
    NAME_SIZE,
    PRODUCT_CODE_SIZE,
    VERSION_SIZE,
    Compression,
    Encryption,
    Flavour,
    RblHeader,
)
from cloudsdk.ota.pieces import regrouped
from cloudsdk.ota.writer import U32_MAX, PackageWriter

DEFAULT_PRODUCT_CODE: Final = "00010203040506070809"
SAFE_SIZE: Final = 32  # bytes; rt_ota V0.2.1 hangs on a smaller body or firmware (rbl-format 3.4)

_GZIP_WRAPPER: Final = 16 + zlib.MAX_WBITS
_DEFLATE_PIECE: Final = 64 * 1024  # bytes deflated at a time
_BLOCKS_AT_ONCE: Final = 16  # blocks encoded in one call

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """Everything about a package but its firmware.

    `name` is the destination partition, `timestamp` seconds (rbl-format 1.2), `key` 32 and `iv` 16 bytes.
    Text is printable ASCII of at most `text_limits(flavour)` characters; `official_text` makes it so.

    Raises `FieldError` for a value the header cannot hold, `AlgorithmError` for HPatchLite and XOR, and
    `PackageKeyError` for a missing key or IV or one of a wrong length.
    """

    name: str
    version: str
    timestamp: int
    compression: Compression = Compression.NONE
    encryption: Encryption = Encryption.NONE
    key: bytes | None = field(default=None, repr=False)
    iv: bytes | None = field(default=None, repr=False)
    flavour: Flavour = "official"
    product_code: str = DEFAULT_PRODUCT_CODE

    def __post_init__(self) -> None:
        limits = text_limits(self.flavour)
        _check_text("name", self.name, 1, limits.name)
        _check_text("version", self.version, 1, limits.version)
        _check_text("product code", self.product_code, 0, limits.product_code)
        if not 0 <= self.timestamp <= U32_MAX:
            raise FieldError(f"the timestamp {self.timestamp} does not fit: give seconds from 0 to {U32_MAX}")
        if self.compression is Compression.HPATCHLITE:
            raise AlgorithmError("an HPatchLite package holds a ready patch file: choose another compression")
        if self.encryption is Encryption.XOR:
            raise AlgorithmError("no bootloader takes XOR encryption: choose AES-256 or none")
        if self.encryption is Encryption.AES256:
            aes_cipher(self.key, self.iv)


@dataclass(frozen=True, slots=True)
class TextLimits:
    """The longest text of each field, in characters."""

    name: int
    version: int
    product_code: int


def text_limits(flavour: Flavour) -> TextLimits:
    """The official packer fills whole fields; QBoot's keeps room for a NUL (rbl-format 1)."""
    nul = 1 if flavour == "qboot" else 0
    return TextLimits(NAME_SIZE - nul, VERSION_SIZE - nul, PRODUCT_CODE_SIZE - nul)


def official_text(text: str, limit: int) -> str:
    """`text` as the official packer stores it: "?" for what is not ASCII, cut to `limit` (rbl-format 1.3)."""
    return text.encode("ascii", "replace").decode("ascii")[:limit]


def pack_stream(pieces: Iterable[bytes], target: BinaryIO, options: PackOptions) -> RblHeader:
    """Write a package of the firmware in `pieces`, which may have any length, and return its header.

    `target` is seekable; the package begins where it stands, and its header is written last. No more than a
    few pieces are in memory at a time. Raises `FieldError` for more firmware than 32 bits can count; errors
    of `pieces` and `target` pass through.
    """
    writer = PackageWriter(
        target,
        compression=options.compression,
        encryption=options.encryption,
        key=options.key,
        iv=options.iv,
        flavour=options.flavour,
    )

    def hashed() -> Iterator[bytes]:
        for piece in pieces:
            writer.add_raw(piece)
            yield piece

    for stored in _compress(hashed(), options.compression):
        writer.add_stored(stored)
    return writer.finish(
        timestamp=options.timestamp,
        name=options.name.encode("ascii"),
        version=options.version.encode("ascii"),
        product_code=options.product_code.encode("ascii"),
    )


def pack(
    raw: bytes,
    *,
    name: str,
    version: str,
    timestamp: int,
    compression: Compression = Compression.NONE,
    encryption: Encryption = Encryption.NONE,
    key: bytes | None = None,
    iv: bytes | None = None,
    flavour: Flavour = "official",
    product_code: str = DEFAULT_PRODUCT_CODE,
) -> bytes:
    """The whole package for `raw`; the arguments are those of `PackOptions`, and so are the errors."""
    options = PackOptions(
        name=name,
        version=version,
        timestamp=timestamp,
        compression=compression,
        encryption=encryption,
        key=key,
        iv=iv,
        flavour=flavour,
        product_code=product_code,
    )
    target = io.BytesIO()
    for warning in size_warnings(pack_stream([raw], target, options)):
        _log.warning("%s", warning)
    return target.getvalue()


def size_warnings(header: RblHeader) -> list[str]:
    """What is dangerous about the sizes of a package, one line each; nothing for QBoot."""
    if header.flavour != "official":
        return []
    return [
        f"the {what} has {size} bytes: rt_ota V0.2.1 hangs below {SAFE_SIZE} (rbl-format 3.4)"
        for what, size in (("firmware", header.raw_size), ("body", header.body_size))
        if size < SAFE_SIZE
    ]


def _check_text(what: str, text: str, shortest: int, longest: int) -> None:
    if not (text.isascii() and text.isprintable()):
        raise FieldError(f"the {what} {text!r} holds characters that are not printable ASCII")
    if not shortest <= len(text) <= longest:
        raise FieldError(f"the {what} {text!r} has {len(text)} characters: give {shortest} to {longest}")


def _compress(pieces: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    match compression:
        case Compression.GZIP:
            return _deflated(pieces)
        case Compression.QUICKLZ:
            return _framed(pieces, quicklz.compress_framed)
        case Compression.FASTLZ:
            return _framed(pieces, fastlz.compress_framed)
        case _:
            return pieces


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """One gzip member without name and time, so that the same firmware gives the same bytes."""
    deflater = zlib.compressobj(wbits=_GZIP_WRAPPER)
    for piece in regrouped(pieces, _DEFLATE_PIECE):
        yield deflater.compress(piece)
    yield deflater.flush()


def _framed(pieces: Iterator[bytes], compress: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
    """Independent blocks of 4096 raw bytes, each behind its big-endian length (rbl-format 2.1)."""
    for piece in regrouped(pieces, _BLOCKS_AT_ONCE * PIECE_SIZE):
        yield compress(piece, PIECE_SIZE)
