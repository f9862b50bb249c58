"""The cipher a package is sent in: AES-256-CBC per device, whatever it uses itself (protocol 3.4)."""

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cloudsdk.ota.padding import CIPHER_BLOCK_SIZE

KEY_LENGTH: Final = 32  # bytes
IV_LENGTH: Final = 16  # bytes


def rounded(size: int) -> int:
    """`size` in bytes rounded up to whole cipher blocks: what is sent, decrypted and written."""
    return -(-size // CIPHER_BLOCK_SIZE) * CIPHER_BLOCK_SIZE


def cipher(device_key: str, iv: bytes | None = None) -> Cipher[modes.CBC]:
    """Key = the 32 ASCII characters of DeviceKey, IV = its first 16 unless a chaining value is given.

    A device whose ENV lost its key goes on with an empty one (1.4): what is missing counts as zero bytes.
    """
    key = device_key.encode("ascii", "replace")[:KEY_LENGTH].ljust(KEY_LENGTH, b"\0")
    return Cipher(algorithms.AES(key), modes.CBC(iv if iv is not None else key[:IV_LENGTH]))
