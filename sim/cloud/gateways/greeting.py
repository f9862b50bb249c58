"""Who connects: the first 48 bytes of a console connection (cloudsdk-protocol 4, 5). Pure."""

from dataclasses import dataclass, field
from typing import Final

DEVICE_ID_SIZE: Final = 16  # bytes
KEY_SIZE: Final = 48  # bytes: DeviceId and MQTT password, nothing between or after


@dataclass(frozen=True, slots=True)
class Key:
    device_id: str
    password: bytes = field(repr=False)


def parse_key(data: bytes) -> Key | None:
    """None if `data` cannot be a key."""
    if len(data) != KEY_SIZE or not data.isascii() or not data.isalnum():
        return None
    return Key(data[:DEVICE_ID_SIZE].decode("ascii"), data[DEVICE_ID_SIZE:])
