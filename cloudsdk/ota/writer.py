"""Write one `.rbl` package as a stream: the body first, the header into its place at the end."""

import zlib
from typing import BinaryIO, Final

from cloudsdk.ota.body import aes_cipher
from cloudsdk.ota.errors import AlgorithmError, FieldError
from cloudsdk.ota.header import ALGO2_CRC, HEADER_SIZE, Compression, Encryption, Flavour, RblHeader
from cloudsdk.ota.package import raw_hash_of
from cloudsdk.ota.padding import padding_for

U32_MAX: Final = 0xFFFFFFFF


class PackageWriter:
    """Writes to the seekable `target` from where it stands.

    Without `finish` there are 96 zero bytes where the header belongs, which nothing takes for a package.
    Raises `AlgorithmError` for XOR and `PackageKeyError` for an unusable key or IV before it writes.
    """

    def __init__(
        self,
        target: BinaryIO,
        *,
        compression: Compression,
        encryption: Encryption,
        key: bytes | None,
        iv: bytes | None,
        flavour: Flavour,
    ) -> None:
        if encryption is Encryption.XOR:
            raise AlgorithmError("no bootloader takes XOR encryption: choose AES-256 or none")
        self._encryptor = aes_cipher(key, iv).encryptor() if encryption is Encryption.AES256 else None
        self._target = target
        self._algo = compression | encryption
        self._flavour: Flavour = flavour
        self._hash = raw_hash_of(flavour)
        self._raw_hash = self._hash.start
        self._raw_size = 0
        self._stored_size = 0  # bytes before padding
        self._body_crc32 = 0
        self._body_size = 0
        self._start = target.tell()
        target.write(bytes(HEADER_SIZE))

    def add_raw(self, piece: bytes) -> None:
        """Count and hash a piece of the firmware. Raises `FieldError` beyond the 32 bits of its size."""
        self._raw_size += len(piece)
        if self._raw_size > U32_MAX:
            raise FieldError(f"the firmware has more than {U32_MAX} bytes, which is all a package holds")
        self._raw_hash = self._hash.update(piece, self._raw_hash)

    def add_stored(self, piece: bytes) -> None:
        """Write a piece of the body, which is compressed already and gets encrypted here.

        Raises `FieldError` beyond the 32 bits of its size.
        """
        self._stored_size += len(piece)
        self._write(self._encryptor.update(piece) if self._encryptor is not None else piece)

    def finish(self, *, timestamp: int, name: bytes, version: bytes, product_code: bytes) -> RblHeader:
        """Pad the body, write the header, and leave `target` behind the package."""
        if self._encryptor is not None:
            padding = padding_for(self._stored_size, self._flavour)
            self._write(self._encryptor.update(padding) + self._encryptor.finalize())
        header = RblHeader.build(
            algo=self._algo,
            algo2=ALGO2_CRC if self._flavour == "qboot" else 0,
            timestamp=timestamp,
            name=name,
            version=version,
            product_code=product_code,
            body_crc32=self._body_crc32,
            raw_hash=self._raw_hash,
            raw_size=self._raw_size,
            body_size=self._body_size,
        )
        end = self._target.tell()
        self._target.seek(self._start)
        self._target.write(header.pack())
        self._target.seek(end)
        return header

    def _write(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size > U32_MAX:
            raise FieldError(f"the body has more than {U32_MAX} bytes, which is all a package holds")
        self._body_crc32 = zlib.crc32(piece, self._body_crc32)
        self._target.write(piece)
