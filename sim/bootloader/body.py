"""Decryption of a package body as bootloaders do it: piece after piece, none knows where the padding is."""

from typing import Final

from cloudsdk.ota.body import aes_cipher
from cloudsdk.ota.header import Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys

_AT_ONCE: Final = 64 * 1024  # bytes decrypted at a time: the fastest (docs/benchmarks.md)


def decrypted(header: RblHeader, stored: bytes, keys: PackageKeys) -> bytes:
    """`stored`, bytes of the body from the first on, decrypted; a last partial cipher block is left out.

    AES-256-CBC in one chain (rbl-format 2.5); anything else is taken as not encrypted.
    """
    if header.encryption_bits != Encryption.AES256:
        return stored
    decryptor = aes_cipher(keys.key, keys.iv).decryptor()
    view = memoryview(stored)
    return b"".join(
        [decryptor.update(view[start : start + _AT_ONCE]) for start in range(0, len(stored), _AT_ONCE)]
    )
