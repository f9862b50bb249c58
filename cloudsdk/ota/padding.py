"""What packers put behind a body to fill its last cipher block (rbl-format 2.5 and 2.6)."""

from enum import StrEnum
from typing import Final

from cloudsdk.ota.header import Flavour

CIPHER_BLOCK_SIZE: Final = 16  # bytes


class Padding(StrEnum):
    """Kinds of padding by their producers (rbl-format 2.6)."""

    NONE = "none"
    PKCS7 = "PKCS#7"  # the official packer, a whole block when aligned
    ZEROS = "zeros"  # QBoot's packer, nothing when aligned
    ERASED = "0xFF"  # one build of the official command line
    OTHER = "other"  # more than a block, or bytes no packer writes


def padding_for(length: int, flavour: Flavour) -> bytes:
    """The padding of an encrypted body of `length` bytes as the packer of that flavour writes it."""
    count = CIPHER_BLOCK_SIZE - length % CIPHER_BLOCK_SIZE
    if flavour == "official":
        return bytes((count,)) * count
    return bytes(count % CIPHER_BLOCK_SIZE)


def padding_kind(rest: bytes) -> Padding:
    """What the bytes behind a body are; a block and one byte of them are enough to tell."""
    count = len(rest)
    if not count:
        return Padding.NONE
    if count <= CIPHER_BLOCK_SIZE and rest == bytes((count,)) * count:
        return Padding.PKCS7
    if count < CIPHER_BLOCK_SIZE and not any(rest):
        return Padding.ZEROS
    if count < CIPHER_BLOCK_SIZE and rest.count(0xFF) == count:
        return Padding.ERASED
    return Padding.OTHER
