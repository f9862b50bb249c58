"""Data points: the codes, the envelope, and typed messages both ways (cloudsdk-protocol 0, 2.2, 2.4)."""

import json
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from cloudsdk.cjson import Json, integer, member, number, parse

VENDOR: Final = "rtt"


class DataPoint(IntEnum):
    """DP codes of CloudSDK 2.0.0; nothing else exists."""

    ONLINE = 1000
    VERSION_QUERY = 1010
    VERSION = 1011
    OTA_TASK = 1012
    LOG_SWITCH = 1020
    LOG_STATE = 1021
    LOG_SERVER = 1022
    SHELL_SERVER = 1025


_SHORT: Final = 256  # bytes of a message that is worth to be remembered
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_CHANNEL: Final = {DataPoint.ONLINE: "system", DataPoint.VERSION: "ota", DataPoint.LOG_STATE: "log"}


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device."""

    product_id: str
    device_id: str

    def publish(self, dp: DataPoint) -> str:
        """`/cloud/<pid>/<did>/system|ota|log`, by the data point that is sent."""
        return f"/cloud/{self.product_id}/{self.device_id}/{_CHANNEL[dp]}"

    @property
    def subscription(self) -> str:
        return f"/device/{self.product_id}/{self.device_id}/#"


def envelope(device_id: str, dp: DataPoint, value: Json) -> bytes:
    """One published message: compact JSON, members in the original's order, exactly one data point."""
    device, content = _ENCODE(device_id), _ENCODE(value)
    return f'{{"device":{device},"vendor":"{VENDOR}","data":[{{"DP":{dp:d},"value":{content}}}]}}'.encode()


@dataclass(frozen=True, slots=True)
class Received:
    """One element of a received message; `value` is None when the element has none or JSON null."""

    dp: int
    value: Json
    has_value: bool


def received(payload: bytes) -> tuple[Received, ...]:
    """The elements of a message to the device, in order. Raises `JsonError` if it is not JSON.

    An element without a numeric DP inherits the one before it; with none before, it is skipped, as is
    everything when `data` is missing or is not an array (2.4).
    """
    return _recalled(payload) if len(payload) <= _SHORT else _elements(payload)


def _elements(payload: bytes) -> tuple[Received, ...]:
    data = member(parse(payload), "data")
    dp: int | None = None
    elements = []
    for element in data if isinstance(data, list) else ():
        code = integer(member(element, "DP"))
        if code is not None:
            dp = code
        if dp is not None:
            has_value = isinstance(element, dict) and "value" in element
            elements.append(Received(dp, member(element, "value"), has_value))
    return tuple(elements)


_recalled: Final = lru_cache(maxsize=64)(_elements)  # a cloud asks all its devices the same


def is_on(value: Json) -> bool:
    """The original's test of a switch: JSON true or the number 1 (5)."""
    return value is True or number(value) == 1
