"""Where identifiers, keys, addresses and times are in what device and cloud say. Pure.

One walk for everyone who needs them: a visitor gets the kind and the text of each and gives the text that
takes its place. So recordings are compared without them, replayed with others, and led through the recorder.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from cloudsdk.cjson import integer
from cloudsdk.datapoints import DataPoint
from cloudsdk.mqtt.packets import Connect, Packet, Publish, Subscribe, Unsubscribe
from sim.traffic.http1 import Head


class Kind(StrEnum):
    """What an identifier identifies."""

    DEVICE_ID = "device-id"
    PRODUCT_ID = "product-id"
    SN = "sn"
    DEVICE_KEY = "device-key"
    SIGN = "sign"
    PASSWORD = "password"  # noqa: S105 - a kind of value, not one
    URL = "url"  # of a firmware, or of a redirect
    TARGET = "target"  # of a request
    HOST = "host"  # of a request
    SHELL_SERVER = "shell-server"  # host:port
    LOG_SERVER = "log-server"
    TIME = "time"
    TAG = "etag"
    PACKET = "packet"  # identifier of an MQTT packet


Visit = Callable[[Kind, str], str]

#: Members that hold an identifier, lower-case, at the top of a message (cloudsdk-protocol 1.2, 1.3, 2.2, 8).
_MEMBERS: Final = {
    "device": Kind.DEVICE_ID,
    "deviceid": Kind.DEVICE_ID,
    "devicekey": Kind.DEVICE_KEY,
    "productid": Kind.PRODUCT_ID,
    "sign": Kind.SIGN,
    "sn": Kind.SN,
}
_SERVERS: Final = {DataPoint.SHELL_SERVER: Kind.SHELL_SERVER, DataPoint.LOG_SERVER: Kind.LOG_SERVER}
_TOPIC: Final = re.compile(r"/(cloud|device)/([^/]+)/([^/]+)(/.*)?", re.DOTALL)
_SN_QUERY: Final = re.compile(r"([?&]sn=)([^&]*)")
_ACTIVATION: Final = ("POST", "/devices/active")  # cloudsdk-protocol 1.2
_KNOWN_PATHS: Final = (_ACTIVATION[1], "/devices")  # cloudsdk-protocol 1.2, 8
_WHITE: Final = " \t\r\n"


def parse_json(text: bytes) -> Any:
    """The first JSON value, as the device reads it, but with names as they are spelt. Raises `ValueError`."""
    try:
        return _DECODER.raw_decode(text.decode().lstrip(_WHITE))[0]
    except RecursionError:
        raise ValueError("nested too deep") from None


def compact(value: Any) -> bytes:
    """JSON as the device writes it (cloudsdk-protocol 2.2)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def visit_json(value: Any, visit: Visit) -> Any:
    """A message or an activation body with what `visit` gives in the place of its identifiers."""
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, each in value.items():
        kind = _MEMBERS.get(name.lower())
        if kind is not None and isinstance(each, str):
            found[name] = visit(kind, each)
        elif name.lower() == "data" and isinstance(each, list):
            found[name] = _visit_points(each, visit)
        else:
            found[name] = each
    return found


def visit_topic(topic: str, visit: Visit) -> str:
    """A topic or filter of a device: ProductID and DeviceID (cloudsdk-protocol 2.1, 2.2)."""
    found = _TOPIC.fullmatch(topic)
    if found is None:
        return topic
    side, product_id, device_id, rest = found.groups(default="")
    return f"/{side}/{visit(Kind.PRODUCT_ID, product_id)}/{visit(Kind.DEVICE_ID, device_id)}{rest}"


def visit_payload(payload: bytes, visit: Visit) -> bytes:
    """The payload of a message; one without identifiers, or that is not JSON, stays as it is."""
    try:
        before = parse_json(payload)
    except ValueError:
        return payload
    after = visit_json(before, visit)
    return payload if after == before else compact(after)


def visit_packet(packet: Packet, visit: Visit) -> Packet:
    """An MQTT packet; packet identifiers are not visited."""
    match packet:
        case Connect():
            return _visit_connect(packet, visit)
        case Publish(topic=topic, payload=payload):
            return replace(packet, topic=visit_topic(topic, visit), payload=visit_payload(payload, visit))
        case Subscribe(filters=filters):
            return replace(packet, filters=tuple((visit_topic(name, visit), qos) for name, qos in filters))
        case Unsubscribe(filters=names):
            return replace(packet, filters=tuple(visit_topic(name, visit) for name in names))
    return packet


def visit_target(target: str, visit: Visit) -> str:
    """The target of a request: activation and binding are called the same everywhere, firmware is not."""
    if target.partition("?")[0] in _KNOWN_PATHS:
        return _SN_QUERY.sub(lambda found: found[1] + visit(Kind.SN, found[2]), target)
    return visit(Kind.TARGET, target)


def visit_fields(fields: tuple[tuple[str, str], ...], visit: Visit) -> tuple[tuple[str, str], ...]:
    """Header fields of HTTP."""
    return tuple(
        (name, visit(_FIELDS[name.lower()], value)) if name.lower() in _FIELDS else (name, value)
        for name, value in fields
    )


def is_activation(head: Head) -> bool:
    """Whether a head is that of an activation request."""
    return head.request == _ACTIVATION


def path_of(url: str) -> str:
    """What a request for `url` asks for: path and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


_FIELDS: Final = {
    "host": Kind.HOST,
    "location": Kind.URL,
    "date": Kind.TIME,
    "last-modified": Kind.TIME,
    "etag": Kind.TAG,
    "if-range": Kind.TAG,
}


def _visit_points(points: list[Any], visit: Visit) -> list[Any]:
    found = []
    dp: int | None = None
    for point in points:
        if not isinstance(point, dict):
            found.append(point)
            continue
        code = integer(_get(point, "dp"))
        dp = code if code is not None else dp  # inherited (cloudsdk-protocol 2.4)
        found.append(
            {
                name: _visit_value(dp, each, visit) if name.lower() == "value" else each
                for name, each in point.items()
            }
        )
    return found


def _visit_value(dp: int | None, value: Any, visit: Visit) -> Any:
    if not isinstance(value, dict):
        return value
    if dp in _SERVERS:
        return _visit_server(value, _SERVERS[DataPoint(dp)], visit)
    if dp != DataPoint.OTA_TASK:
        return value
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name.lower() == "createdtime":
            found[name] = _as_number(visit(Kind.TIME, str(each)))
        elif name.lower() == "firmwares" and isinstance(each, list):
            found[name] = [_visit_firmware(firmware, visit) for firmware in each]
        else:
            found[name] = each
    return found


def _visit_firmware(firmware: Any, visit: Visit) -> Any:
    if not isinstance(firmware, dict):
        return firmware
    return {
        name: visit(Kind.URL, each) if name.lower() == "file_url" and isinstance(each, str) else each
        for name, each in firmware.items()
    }


def _visit_server(value: dict[str, Any], kind: Kind, visit: Visit) -> dict[str, Any]:
    host, port = _get(value, "host"), integer(_get(value, "port"))
    if not isinstance(host, str) or port is None:
        return value
    text = visit(kind, f"{host}:{port}")
    new_host, colon, new_port = text.rpartition(":")
    new = {"host": new_host if colon else text, "port": _as_number(new_port)}
    return {name: new.get(name.lower(), each) for name, each in value.items()}


def _visit_connect(packet: Connect, visit: Visit) -> Connect:
    will, password = packet.will, packet.password
    return replace(
        packet,
        client_id=visit(Kind.DEVICE_ID, packet.client_id),
        username=visit(Kind.DEVICE_ID, packet.username) if packet.username is not None else None,
        password=visit(Kind.PASSWORD, password.decode("latin-1")).encode("latin-1", "replace")
        if password is not None
        else None,
        will=replace(will, topic=visit_topic(will.topic, visit), payload=visit_payload(will.payload, visit))
        if will is not None
        else None,
    )


def _first_of_each_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Names match in any case and the first wins, as in the original's cJSON."""
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for name, value in pairs:
        if name.lower() not in seen:
            seen.add(name.lower())
            found[name] = value
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_first_of_each_name)


def _get(value: dict[str, Any], name: str) -> Any:
    return next((each for key, each in value.items() if key.lower() == name), None)


def _as_number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
