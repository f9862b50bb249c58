"""Make an `.rbl` package from raw firmware (rbl-format 1 and 2).

Uncompressed packages are byte-identical to those of the official packer and of QBoot's; compressed ones are
not, but decode to the same firmware.
"""

import logging
import zlib
from typing import Final

from cloudsdk.ota.body import CIPHER_BLOCK_SIZE, PIECE_SIZE, aes_cipher
from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.errors import AlgorithmError, FieldError
from cloudsdk.ota.header import (
    ALGO2_CRC,
    NAME_SIZE,
    PRODUCT_CODE_SIZE,
    VERSION_SIZE,
    Compression,
    Encryption,
    Flavour,
    RblHeader,
)
from cloudsdk.ota.package import raw_hash_of

DEFAULT_PRODUCT_CODE: Final = "00010203040506070809"
SAFE_SIZE: Final = 32  # bytes; rt_ota V0.2.1 hangs on a smaller body or firmware (rbl-format 3.4)

_U32_MAX: Final = 0xFFFFFFFF
_GZIP_WRAPPER: Final = 16 + zlib.MAX_WBITS

_log = logging.getLogger(__name__)


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
    """The whole package for `raw`.

    `name` is the destination partition, `timestamp` seconds (rbl-format 1.2), `key` 32 and `iv` 16 bytes.
    Text is printable ASCII; an official name has at most 16 characters, version and product code 24, those of
    QBoot one less, for its NUL (rbl-format 1).

    Raises `FieldError` for a value the header cannot hold, `AlgorithmError` for HPatchLite and XOR, and
    `PackageKeyError` for a missing key or IV or one of a wrong length.
    """
    nul = 1 if flavour == "qboot" else 0
    fields = {
        "name": _text("name", name, 1, NAME_SIZE - nul),
        "version": _text("version", version, 1, VERSION_SIZE - nul),
        "product_code": _text("product code", product_code, 0, PRODUCT_CODE_SIZE - nul),
    }
    if not 0 <= timestamp <= _U32_MAX:
        raise FieldError(f"the timestamp {timestamp} does not fit: give seconds from 0 to {_U32_MAX}")
    if len(raw) > _U32_MAX:
        raise FieldError(f"the firmware has {len(raw)} bytes, a package holds at most {_U32_MAX}")

    body = _encrypt(_compress(raw, compression), encryption, key, iv, flavour)
    if min(len(raw), len(body)) < SAFE_SIZE:
        _log.warning("rt_ota V0.2.1 hangs on a firmware or body below %d bytes", SAFE_SIZE)
    raw_hash = raw_hash_of(flavour)
    header = RblHeader.build(
        algo=compression | encryption,
        algo2=ALGO2_CRC if flavour == "qboot" else 0,
        timestamp=timestamp,
        raw_hash=raw_hash.update(raw, raw_hash.start),
        raw_size=len(raw),
        body=body,
        **fields,
    )
    return header.pack() + body


def _text(what: str, text: str, shortest: int, longest: int) -> bytes:
    if not (text.isascii() and text.isprintable()):
        raise FieldError(f"the {what} {text!r} holds characters that are not printable ASCII")
    if not shortest <= len(text) <= longest:
        raise FieldError(f"the {what} {text!r} has {len(text)} characters: give {shortest} to {longest}")
    return text.encode("ascii")


def _compress(raw: bytes, compression: Compression) -> bytes:
    match compression:
        case Compression.NONE:
            return raw
        case Compression.GZIP:
            return zlib.compress(raw, wbits=_GZIP_WRAPPER)
        case Compression.QUICKLZ:
            return quicklz.compress_framed(raw, PIECE_SIZE)
        case Compression.FASTLZ:
            return fastlz.compress_framed(raw, PIECE_SIZE)
        case Compression.HPATCHLITE:
            raise AlgorithmError("an HPatchLite package holds a ready patch file: choose another compression")


def _encrypt(
    body: bytes, encryption: Encryption, key: bytes | None, iv: bytes | None, flavour: Flavour
) -> bytes:
    match encryption:
        case Encryption.NONE:
            return body
        case Encryption.XOR:
            raise AlgorithmError("no bootloader takes XOR encryption: choose AES-256 or none")
        case Encryption.AES256:
            encryptor = aes_cipher(key, iv).encryptor()
            return encryptor.update(body + _padding(len(body), flavour)) + encryptor.finalize()


def _padding(length: int, flavour: Flavour) -> bytes:
    """PKCS#7, a whole block when aligned; zeros and nothing when aligned for QBoot (rbl-format 2.5, 2.6)."""
    count = CIPHER_BLOCK_SIZE - length % CIPHER_BLOCK_SIZE
    if flavour == "official":
        return bytes((count,)) * count
    return bytes(count % CIPHER_BLOCK_SIZE)
