"""What stands for what in a replay: identifiers of the recording, and those of the live side. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from cloudsdk.activation import mqtt_password, sign
from cloudsdk.mqtt.packets import (
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    encode,
)
from cloudsdk.route import Address, Link
from sim.traffic.fields import Fields, fields_of, kind_of
from sim.traffic.http1 import make_head
from sim.traffic.identifiers import (
    Kind,
    compact,
    parse_json,
    path_of,
    visit_fields,
    visit_json,
    visit_packet,
    visit_target,
)
from sim.traffic.messages import Frame, Greeting, Http, Message, Text, Unknown

#: Header fields that change what a message means; others are the business of the servers.
_MEANT: Final = frozenset({"content-length", "content-range", "range", "location"})
_DEVICE_TOPIC: Final = re.compile(r"(/device/[^/]+/[^/]+).*", re.DOTALL)
_WORD_WITH_DIGIT: Final = re.compile(rb"[A-Za-z]*[0-9][A-Za-z0-9]*")
WORD: Final = b"[A-Za-z0-9]"
_FRAME: Final = b"\x01\x00"  # cloudsdk-protocol 5
_PASSING: Final = frozenset({Kind.TIME, Kind.TAG, Kind.HOST})  # nothing later refers to them
_IDENTIFIED: Final = (PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a replayed device is called, where that is not what was recorded."""

    sn: str | None = None
    product_id: str | None = None
    product_key: str | None = None


class Bindings:
    """Grows with every message of the live side. `lead` gives the address a replayed cloud names instead."""

    def __init__(
        self,
        identity: Identity | None = None,
        lead: Callable[[Link, str, int], Address | None] | None = None,
    ) -> None:
        self._identity = identity or Identity()
        self._lead = lead
        self._values: dict[tuple[Kind, str], str] = {}
        self._addresses: dict[tuple[Link, Address], Address] = {}
        self._packets: dict[tuple[int, int], int] = {}

    def address(self, link: Link, recorded: Address) -> Address | None:
        """Where the live cloud wants the connection that went to `recorded`; None if it has named nothing."""
        return self._addresses.get((link, recorded))

    def learn(self, connection: int, recorded: Message, live: Message) -> None:
        """Bind what is in the same place of two messages that say the same."""
        ours, theirs = _identifiers(recorded), _identifiers(live)
        for (kind, old), (_, new) in zip(ours, theirs, strict=False):
            self._bind(kind, old, new)
        old_packet, new_packet = _packet_id(recorded), _packet_id(live)
        if old_packet is not None and new_packet is not None:
            self._packets[connection, old_packet] = new_packet

    def outgoing(self, connection: int, message: Message, host: str) -> bytes:
        """The bytes to send for a recorded message. `host` is what requests name as theirs."""

        def visit(kind: Kind, text: str) -> str:
            return host if kind is Kind.HOST else self._value(kind, text)

        match message:
            case Http(head, body):
                return self._http(head.start, head.fields, body, visit)
            case Greeting(device_id, password):
                key = visit(Kind.DEVICE_ID, device_id) + visit(Kind.PASSWORD, password)
                return key.encode("latin-1", "replace")
            case Frame(payload):
                return framed(payload)
            case Text(data) | Unknown(data):
                return data
        packet = visit_packet(message, visit)
        if isinstance(packet, _IDENTIFIED):
            number = self._packets.get((connection, packet.packet_id), packet.packet_id)
            packet = replace(packet, packet_id=number)
        return encode(packet)

    def _http(
        self, start: str, fields: tuple[tuple[str, str], ...], body: bytes, visit: Callable[[Kind, str], str]
    ) -> bytes:
        method, space, rest = start.partition(" ")
        if not start.startswith("HTTP/"):
            target, _, version = rest.partition(" ")
            start = f"{method}{space}{visit_target(target, visit)} {version}"
        try:
            before = parse_json(body)
        except ValueError:
            before = None
        after = visit_json(before, visit)
        fields = visit_fields(fields, visit)
        if after != before:
            body = compact(after)
            fields = tuple(
                (name, str(len(body)) if name.lower() == "content-length" else value)
                for name, value in fields
            )
        return make_head(start, fields) + body

    def _value(self, kind: Kind, text: str) -> str:
        identity = self._identity
        match kind:
            case Kind.SN if identity.sn is not None:
                return identity.sn
            case Kind.PRODUCT_ID if identity.product_id is not None:
                return identity.product_id
            case Kind.SIGN if identity.product_key is not None and identity.sn is not None:
                return sign(identity.product_key, identity.sn)
        if self._lead is not None:
            if kind is Kind.URL:
                return self._led_url(text, self._lead)
            if kind in _SERVERS:
                host, _, port = text.rpartition(":")
                led = self._lead(_SERVERS[kind], host, int(port))
                return f"{led[0]}:{led[1]}" if led is not None else text
        return self._values.get((kind, text), text)

    @staticmethod
    def _led_url(url: str, lead: Callable[[Link, str, int], Address | None]) -> str:
        address = _url_address(url)
        led = lead(Link.HTTP, *address) if address is not None else None
        return urlsplit(url)._replace(netloc=f"{led[0]}:{led[1]}").geturl() if led is not None else url

    def _bind(self, kind: Kind, old: str, new: str) -> None:
        self._values[kind, old] = new
        if kind is Kind.DEVICE_KEY:
            self._values[Kind.PASSWORD, mqtt_password(old)] = mqtt_password(new)
        elif kind is Kind.URL:
            self._values[Kind.TARGET, path_of(old)] = path_of(new)
            addresses = _url_address(old), _url_address(new)
            if addresses[0] is not None and addresses[1] is not None:
                self._addresses[Link.HTTP, addresses[0]] = addresses[1]
        elif kind in _SERVERS:
            (old_host, _, old_port), (new_host, _, new_port) = old.rpartition(":"), new.rpartition(":")
            self._addresses[_SERVERS[kind], (old_host, int(old_port))] = new_host, int(new_port)


_SERVERS: Final = {Kind.SHELL_SERVER: Link.SHELL, Kind.LOG_SERVER: Link.LOG}


def framed(payload: bytes) -> bytes:
    """A Web Log frame (cloudsdk-protocol 5)."""
    return _FRAME + len(payload).to_bytes(2) + payload


def meaning(message: Message, visit: Callable[[Kind, str], str]) -> Fields:
    """What of a message the other side acts on."""
    if isinstance(message, Frame):
        return {"message": kind_of(message), "text": pattern(message.payload).decode("latin-1")}
    fields = fields_of(message, visit)
    if isinstance(message, Http):
        kept: dict[str, Any] = fields["fields"]
        fields["fields"] = {name: value for name, value in kept.items() if name in _MEANT}
    if isinstance(message, Publish):
        # The device does not look at the rest of the topic (cloudsdk-protocol 2.4).
        fields["topic"] = _DEVICE_TOPIC.sub(r"\1", fields["topic"])
    return fields


def pattern(text: bytes) -> bytes:
    """A regular expression for console text in which words with digits may be others, at the start none.

    It never goes back over a word, so that no text makes it slow.
    """
    parts: list[bytes] = []
    at = 0
    for found in _WORD_WITH_DIGIT.finditer(text):
        parts += [re.escape(text[at : found.start()]), WORD, b"++" if found.start() else b"*+"]
        at = found.end()
    return b"".join([*parts, re.escape(text[at:])])


def ends_in_word(text: bytes) -> bool:
    """Whether the pattern of `text` may match only the beginning of a word."""
    return bool(re.search(rb"[A-Za-z]*[0-9][A-Za-z0-9]*\Z", text))


def _identifiers(message: Message) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []

    def visit(kind: Kind, text: str) -> str:
        if kind not in _PASSING:
            found.append((kind, text))
        return text

    fields_of(message, visit)
    return found


def _packet_id(message: Message) -> int | None:
    match message:
        case Publish(packet_id=number) | Subscribe(packet_id=number) | Unsubscribe(packet_id=number):
            return number
    return None


def _url_address(url: str) -> Address | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        return None
    return (host, port) if host else None
