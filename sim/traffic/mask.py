"""Secrets in a recording replaced by others of the same length: the same secret by the same one. Pure.

What is made of a secret is made of its mask, too: the password is the MD5 of the DeviceKey, the Sign that of
ProductKey and SN (cloudsdk-protocol 1.2, 2.1), so a masked recording still fits together.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from cloudsdk.activation import DEVICE_ID_LENGTH, DEVICE_KEY_LENGTH, mqtt_password, sign
from cloudsdk.mqtt.packets import Connect, Packet
from cloudsdk.route import Link
from cloudsdk.shell.remote import KEY_SIZE
from sim.faults.network.rules import Direction
from sim.traffic.filters import Filter, HttpFilter, MqttFilter, Unchanged
from sim.traffic.identifiers import Kind, parse_json, visit_json

MASKED_PRODUCT_KEY: Final = "00000000-0000-0000-0000-000000000000"
MAX_SECRETS: Final = 256  # of one recording; further ones are masked where they are found, and not elsewhere
_CONSOLES: Final = frozenset({Link.SHELL, Link.LOG})
_FRAME_HEADER: Final = 4  # bytes before the payload of a Web Log frame (cloudsdk-protocol 5)
_PASSWORD_LENGTH: Final = KEY_SIZE - DEVICE_ID_LENGTH


class Mask:
    """What was masked so far, in all connections of a recording. `product_key` is masked wherever it is."""

    def __init__(self, product_key: str | None = None) -> None:
        self._numbers: dict[str, int] = {}  # password -> number of its device
        self._known: dict[bytes, bytes] = {}
        if product_key:
            self._know(product_key, MASKED_PRODUCT_KEY[: len(product_key)].ljust(len(product_key), "0"))

    def device_key(self, key: str) -> str:
        """What stands for a DeviceKey."""
        password = mqtt_password(key)
        masked = masked_key(self._number(password), len(key))
        self._know(key, masked)
        self.password(password)
        return masked

    def password(self, password: str) -> str:
        """What stands for an MQTT password: the one that goes with the masked DeviceKey."""
        masked = mqtt_password(masked_key(self._number(password)))
        masked = masked[: len(password)].ljust(len(password), "0")
        self._know(password, masked)
        return masked

    def filter(self, link: Link, direction: Direction) -> Filter:
        """For one direction of a connection: what is known, and what its place shows to be a secret."""
        return _Chain(self._found(link, direction), _Known(self._known, holds=link in _CONSOLES))

    def _found(self, link: Link, direction: Direction) -> Filter:
        if link is Link.HTTP:
            return HttpFilter(lambda head: head.raw, self._mask_body)
        if direction is Direction.DOWN:
            return Unchanged()
        if link is Link.MQTT:
            return MqttFilter(self._mask_packet)
        return _Greeting(self, _FRAME_HEADER if link is Link.LOG else 0)

    def _mask_packet(self, packet: Packet) -> Packet:
        if not isinstance(packet, Connect) or packet.password is None:
            return packet
        text = packet.password.decode("latin-1")
        return replace(packet, password=self.password(text).encode("latin-1"))

    def _mask_body(self, body: bytes) -> bytes:
        try:
            message = parse_json(body)
        except ValueError:
            return body
        sn = _serial_number(message)

        def visit(kind: Kind, text: str) -> str:
            nonlocal body
            if kind is Kind.DEVICE_KEY and text:
                body = body.replace(text.encode(), self.device_key(text).encode())
            elif kind is Kind.SIGN and text:
                masked = sign(MASKED_PRODUCT_KEY, sn)[: len(text)].ljust(len(text), "0")
                self._know(text, masked)
                body = body.replace(text.encode(), masked.encode())
            return text

        visit_json(message, visit)
        return body

    def _number(self, password: str) -> int:
        if password not in self._numbers and len(self._numbers) < MAX_SECRETS:
            self._numbers[password] = len(self._numbers) + 1
        return self._numbers.get(password, 0)

    def _know(self, secret: str, masked: str) -> None:
        if len(self._known) < MAX_SECRETS and len(secret) >= DEVICE_ID_LENGTH:
            self._known[secret.encode()] = masked.encode()


def masked_key(number: int, length: int = DEVICE_KEY_LENGTH) -> str:
    """The masked DeviceKey of the `number`th device of a recording."""
    return f"masked{number:0{DEVICE_KEY_LENGTH - 6}d}"[:length].ljust(length, "0")


class _Greeting:
    """Masks the password in what a device says first to a shell or log server (cloudsdk-protocol 4, 5)."""

    def __init__(self, mask: Mask, skip: int) -> None:
        self._mask = mask
        self._first: bytearray | None = bytearray()
        self._start = skip + DEVICE_ID_LENGTH

    def feed(self, data: bytes) -> bytes:
        if self._first is None:
            return data
        self._first += data
        end = self._start + _PASSWORD_LENGTH
        if len(self._first) < end:
            return b""
        first, self._first = bytes(self._first), None
        masked = self._mask.password(first[self._start : end].decode("latin-1")).encode("latin-1")
        return first[: self._start] + masked + first[end:]

    def rest(self) -> bytes:
        """A greeting that is cut: what there is of the password is left out."""
        rest, self._first = bytes(self._first or b""), None
        return rest[: self._start]


class _Known:
    """Replaces known secrets wherever they are, also across pieces if it `holds` what one may begin with.

    Consoles come in any pieces; what else holds a secret comes whole, and must not come after its answer.
    """

    def __init__(self, known: dict[bytes, bytes], *, holds: bool) -> None:
        self._known = known
        self._holds = holds
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        for secret, masked in self._known.items():
            data = data.replace(secret, masked)
        held = max(_begun(data, self._known), default=0) if self._holds else 0
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def rest(self) -> bytes:
        rest, self._held = self._held, b""
        return rest


def _begun(data: bytes, secrets: dict[bytes, bytes]) -> Iterator[int]:
    """How many bytes at the end of `data` may be the beginning of each secret."""
    for secret in secrets:
        for size in range(min(len(secret) - 1, len(data)), 0, -1):
            if data.endswith(secret[:size]):
                yield size
                break


class _Chain:
    def __init__(self, first: Filter, second: Filter) -> None:
        self._first = first
        self._second = second

    def feed(self, data: bytes) -> bytes:
        return self._second.feed(self._first.feed(data))

    def rest(self) -> bytes:
        return self._second.feed(self._first.rest()) + self._second.rest()


def _serial_number(message: Any) -> str:
    found = ""

    def visit(kind: Kind, text: str) -> str:
        nonlocal found
        if kind is Kind.SN:
            found = text
        return text

    visit_json(message, visit)
    return found
