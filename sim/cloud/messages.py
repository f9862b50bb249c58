"""What the cloud and a device say to each other over MQTT (cloudsdk-protocol 2.2, 2.4, 3.1). Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from cloudsdk.cjson import JsonError
from cloudsdk.datapoints import DataPoint, Received, Topics, received
from sim.cloud.errors import BadMessageError

MAX_PAYLOAD: Final = 4096  # bytes of a device's message that are looked at; it sends a few dozen
MAX_POINTS: Final = 16  # data points of one message that are looked at; the device sends one
MAX_PACKET: Final = (
    2047  # bytes of a whole packet to the device; its receive path has no check of its own (2.1)
)

# The device does not look at the topic below /device/<pid>/<did>/ (2.4); these mirror its own.
_CHANNEL: Final = {
    DataPoint.VERSION_QUERY: "system",
    DataPoint.OTA_TASK: "ota",
    DataPoint.LOG_SWITCH: "log",
    DataPoint.LOG_SERVER: "log",
    DataPoint.SHELL_SERVER: "shell",
}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to a device."""

    topic: str
    payload: bytes

    @property
    def packet_size(self) -> int:
        """Length in bytes of the QoS 0 PUBLISH packet that carries it (MQTT 3.1.1 section 3.3)."""
        remaining = 2 + len(self.topic.encode()) + len(self.payload)
        length_field = max(1, -(-remaining.bit_length() // 7))
        return 1 + length_field + remaining


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a device connects its console to. `host` is dotted IPv4: the device asks no DNS (2.4)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TaskItem:
    """One firmware of a task message; `file_size` is the package in bytes."""

    type: str
    file_version: str
    file_url: str
    upgrade_mode: int
    file_size: int


def publish_prefix(topics: Topics) -> str:
    """Everything a device may publish to starts with this."""
    return f"/cloud/{topics.product_id}/{topics.device_id}/"


def subscribe_prefix(topics: Topics) -> str:
    """Everything a device may subscribe to starts with this."""
    return f"/device/{topics.product_id}/{topics.device_id}/"


def parse_points(payload: bytes) -> list[Received]:
    """The data points of a device's message. Raises `BadMessageError`; a device's input is hostile."""
    if len(payload) > MAX_PAYLOAD:
        raise BadMessageError(f"a message of {len(payload)} bytes is too long")
    try:
        points = list(received(payload))
    except (JsonError, OverflowError) as exc:
        raise BadMessageError("a message that is not JSON") from exc
    if len(points) > MAX_POINTS:
        raise BadMessageError(f"a message of {len(points)} data points is too long")
    return points


def version_query(topics: Topics) -> Outgoing:
    return _outgoing(topics, DataPoint.VERSION_QUERY, {})


def task_message(topics: Topics, created: int, version: str, items: Sequence[TaskItem]) -> Outgoing:
    """The 1012 message. `created` is seconds since 1970; the original's unit is unknown and unused (3.1)."""
    firmwares = [
        {
            "type": item.type,
            "file_version": item.file_version,
            "file_url": item.file_url,
            "upgrade_mode": item.upgrade_mode,
            "file_size": item.file_size,
            "index": index,
        }
        for index, item in enumerate(items, start=1)
    ]
    value = {"createdTime": created, "version": version, "firmwares": firmwares}
    return _outgoing(topics, DataPoint.OTA_TASK, {"value": value})


def log_switch(topics: Topics, *, on: bool) -> Outgoing:
    """The 1020 message; the device answers it with 1021 (5)."""
    return _outgoing(topics, DataPoint.LOG_SWITCH, {"value": on})


def log_server(topics: Topics, address: ServerAddress) -> Outgoing:
    """The 1022 message. The server has to listen: a log connection that fails is final in 2.0.0 (5)."""
    return _outgoing(topics, DataPoint.LOG_SERVER, {"value": asdict(address)})


def shell_server(topics: Topics, address: ServerAddress) -> Outgoing:
    """The 1025 message. Never send it while a shell of the device is open (4)."""
    return _outgoing(topics, DataPoint.SHELL_SERVER, {"value": asdict(address)})


def _outgoing(topics: Topics, dp: DataPoint, members: Mapping[str, object]) -> Outgoing:
    # One data point per message: the device answers only the first of several (2.3).
    payload = json.dumps({"data": [{"DP": int(dp), **members}]}, separators=(",", ":")).encode()
    return Outgoing(subscribe_prefix(topics) + _CHANNEL[dp], payload)
