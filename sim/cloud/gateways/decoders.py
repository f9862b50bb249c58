"""What a device's bytes are on either kind of connection: first the key, then its console. Pure."""

import struct
from typing import ClassVar, Final, Protocol

from sim.cloud.gateways.greeting import KEY_SIZE

MAX_FRAME: Final = 0xFFFF  # bytes of a payload, all that the length can say
_FRAME: Final = struct.Struct(">HH")
_FRAME_START: Final = 0x0100  # the bytes 01 00


class GarbageError(ValueError):
    """Bytes that no device sends."""


class Decoder(Protocol):
    #: Whether what a device sends between the server's FIN and its own is of use.
    heeds_rest: ClassVar[bool]

    def feed(self, data: bytes) -> list[bytes]:
        """The whole items in what has come so far; the first ever is the key. Raises `GarbageError`."""
        ...


class ShellDecoder:
    """Web Shell: `KEY_SIZE` raw bytes, then an unframed stream (4)."""

    heeds_rest: ClassVar[bool] = False

    def __init__(self) -> None:
        self._key = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        missing = KEY_SIZE - len(self._key)
        if not missing:
            return [data]
        self._key += data[:missing]
        if len(self._key) < KEY_SIZE:
            return []
        rest = data[missing:]
        return [bytes(self._key), *([rest] if rest else [])]


class LogDecoder:
    """Web Log: frames of `01 00`, length (2 bytes, big-endian) and payload; each holds one line (5).

    Keeps less than one frame, and of a stranger no more than the key's.
    """

    heeds_rest: ClassVar[bool] = True

    def __init__(self) -> None:
        self._pending = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> list[bytes]:
        self._pending += data
        payloads = []
        position = 0
        while len(self._pending) - position >= _FRAME.size:
            start, length = _FRAME.unpack_from(self._pending, position)
            if start != _FRAME_START or (not self._greeted and length != KEY_SIZE):
                raise GarbageError("not a frame of a log")
            end = position + _FRAME.size + length
            if end > len(self._pending):
                break
            payloads.append(bytes(self._pending[position + _FRAME.size : end]))
            self._greeted = True
            position = end
        del self._pending[:position]
        return payloads


def text_lines(payload: bytes, limit: int) -> list[str]:
    """A log payload as text of at most `limit` characters each.

    Bytes that are not UTF-8 are replaced, and so is NUL, which no PostgreSQL text can hold.
    """
    text = payload.decode("utf-8", "replace").replace("\0", "\ufffd")
    return [text[start : start + limit] for start in range(0, len(text), limit)]
