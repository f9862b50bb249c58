"""Messages as JSON, for comparing and showing; a visitor says what becomes of identifiers. Pure."""

import hashlib
from typing import Any, Final

from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from sim.traffic.http1 import Head
from sim.traffic.identifiers import (
    Kind,
    Visit,
    parse_json,
    path_of,
    visit_fields,
    visit_json,
    visit_packet,
    visit_target,
)
from sim.traffic.messages import Frame, Greeting, Http, Message, Text, Unknown

Fields = dict[str, Any]

_SHOWN: Final = 64  # bytes of unknown data that are shown
_DIGEST: Final = 8  # digits that tell two secrets apart
_SECRET: Final = frozenset({Kind.DEVICE_KEY, Kind.PASSWORD, Kind.SIGN})
_NAMED_BY_END: Final = frozenset({Kind.URL, Kind.TARGET})


class Placeholders:
    """A visitor that numbers the identities it meets: two recordings agree if theirs play the same parts."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Kind, str], int] = {}
        self._counts: dict[Kind, int] = {}

    def __call__(self, kind: Kind, text: str) -> str:
        if kind in _NAMED_BY_END:
            return f"<{kind}>/{path_of(text).partition('?')[0].rpartition('/')[2]}"
        if kind not in (Kind.DEVICE_ID, Kind.PRODUCT_ID, Kind.SN):
            return f"<{kind}>"
        if (kind, text) not in self._numbers:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._numbers[kind, text] = self._counts[kind]
        return f"<{kind} {self._numbers[kind, text]}>"


def as_they_are(kind: Kind, text: str) -> str:
    """A visitor that leaves identifiers, and secrets only so far that equal ones are seen to be equal."""
    if kind not in _SECRET:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"<{kind} {digest[:_DIGEST]}>"


def kind_of(message: Message) -> str:
    """What kind of message it is, as users call it."""
    match message:
        case Http(head):
            return "request" if head.request is not None else "response"
        case Greeting() | Frame() | Text() | Unknown():
            return type(message).__name__.lower()
    return type(message).__name__.upper()


def fields_of(message: Message, visit: Visit, *, exact: bool = False) -> Fields:
    """The message as JSON. `exact` includes what only fits one device: packet ids, digests of bodies."""
    fields: Fields = {"message": kind_of(message)}
    match message:
        case Http(head, body, whole):
            fields |= _http(head, body, visit, exact=exact)
            if not whole:
                fields["cut"] = True
        case Greeting(device_id, password):
            fields |= {
                "device": visit(Kind.DEVICE_ID, device_id),
                "password": visit(Kind.PASSWORD, password),
            }
        case Frame(data) | Text(data):
            fields["text"] = data.decode(errors="backslashreplace")
        case Unknown(data):
            fields |= {"size": len(data), "hex": data[:_SHOWN].hex()}
        case _:
            fields |= _packet(visit_packet(message, visit), visit, exact=exact)
    return fields


def _packet(packet: Packet, visit: Visit, *, exact: bool) -> Fields:
    fields: Fields = {}
    match packet:
        case Connect():
            fields = {
                "client": packet.client_id,
                "user": packet.username,
                "password": packet.password.decode("latin-1") if packet.password is not None else None,
                "clean_session": packet.clean_session,
                "keepalive": packet.keepalive,
                "level": packet.protocol_level,
            }
            if (will := packet.will) is not None:
                payload = payload_fields(will.payload)
                fields["will"] = {
                    "topic": will.topic,
                    "qos": will.qos,
                    "retain": will.retain,
                    "payload": payload,
                }
        case ConnAck():
            fields = {"code": int(packet.return_code), "session_present": packet.session_present}
        case Publish():
            fields = {
                "topic": packet.topic,
                "qos": packet.qos,
                "retain": packet.retain,
                "dup": packet.dup,
                "payload": payload_fields(packet.payload),
            }
        case Subscribe():
            fields = {"filters": [list(each) for each in packet.filters]}
        case SubAck():
            fields = {"codes": list(packet.codes)}
        case Unsubscribe():
            fields = {"filters": list(packet.filters)}
    match packet:
        case (
            PubAck(number)
            | PubRec(number)
            | PubRel(number)
            | PubComp(number)
            | UnsubAck(number)
            | Subscribe(packet_id=number)
            | SubAck(packet_id=number)
            | Unsubscribe(packet_id=number)
        ) if exact:
            fields["packet_id"] = number
        case Publish(qos=1 | 2, packet_id=number) if exact:
            fields["packet_id"] = number
    return fields


def payload_fields(payload: bytes) -> Any:
    """JSON with lower-case names, as the device reads them; else text."""
    try:
        return _lower(parse_json(payload))
    except ValueError:
        return {"text": payload.decode(errors="backslashreplace")}


def _http(head: Head, body: bytes, visit: Visit, *, exact: bool) -> Fields:
    fields: Fields = {}
    if head.request is not None:
        method, target = head.request
        fields |= {"method": method, "target": visit_target(target, visit)}
    else:
        fields["status"] = head.status
    fields["fields"] = {name.lower(): value for name, value in visit_fields(head.fields, visit)}
    try:
        fields["body"] = _lower(visit_json(parse_json(body), visit))
    except ValueError:
        if body:
            fields["body"] = {"size": len(body)}
            if exact:
                fields["body"]["sha256"] = hashlib.sha256(body).hexdigest()
    else:
        if not exact:
            fields["fields"].pop("content-length", None)  # differs with the identifiers
    return fields


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.lower(): _lower(each) for name, each in value.items()}
    return [_lower(each) for each in value] if isinstance(value, list) else value
