"""A cloud that does what a case says: activation, firmware and broker on loopback, every byte its own
(cloudsdk-protocol 1 to 3)."""

import contextlib
import json
import re
import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cloudsdk.activation import Credentials, sign
from cloudsdk.cjson import Json, JsonError, member
from cloudsdk.datapoints import DataPoint, Topics, received
from cloudsdk.mqtt.errors import MqttError
from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Decoder,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    ReturnCode,
    SubAck,
    Subscribe,
    encode,
)
from cloudsdk.ota.transport import cipher, rounded
from sim.conformance.scope import Scope

MAX_REQUEST: Final = 64 * 1024  # bytes
MAX_NOTES: Final = 10_000  # requests, connections and messages that are kept, each
_LOCAL: Final = "127.0.0.1"
_ACTIVATION: Final = "/devices/active"
_SILENCE: Final = 60.0  # seconds until a connection that says nothing is closed
_RANGE: Final = re.compile(r"bytes=(\d+)-")


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; names of `fields` are lower-case, `at` is seconds of the monotonic clock."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def offset(self) -> int | None:
        """Where an open range begins; None without one."""
        found = _RANGE.fullmatch(self.fields.get("range", ""))
        return int(found.group(1)) if found else None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. `declared` is its Content-Length if that is not the truth; the connection ends after
    `cut` bytes of the body."""

    status: int
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()
    declared: int | None = None
    cut: int | None = None

    def wire(self) -> bytes:
        length = len(self.body) if self.declared is None else self.declared
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {length}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body[: self.cut]


Lie = Callable[[Request, Answer], Answer]


@dataclass(slots=True)
class Firmware:
    """One package on the server. Each request takes one of `lies`, which may change the honest answer."""

    name: str
    version: str
    plain: bytes
    url: str
    body: bytes
    lies: deque[Lie] = field(default_factory=deque)
    tag: str = field(default_factory=lambda: f'"{secrets.token_hex(8)}"')
    gone: bool = False

    def answer(self, request: Request) -> Answer:
        if self.gone:
            return Answer(404)
        offset, size = request.offset, len(self.body)
        common = (("ETag", self.tag), ("Accept-Ranges", "bytes"))
        if offset is None:
            honest = Answer(200, self.body, common)
        elif offset >= size:
            honest = Answer(416, b"", (("Content-Range", f"bytes */{size}"),))
        else:
            content = ("Content-Range", f"bytes {offset}-{size - 1}/{size}")
            honest = Answer(206, self.body[offset:], (*common, content))
        return self.lies.popleft()(request, honest) if self.lies else honest


@dataclass(frozen=True, slots=True)
class Message:
    """A data point of the device; `subscribed` if its connection had subscribed to something before."""

    publish: Publish
    dp: int
    value: Json
    subscribed: bool


class ScriptedCloud:
    """Notes what the device does. `activation` answers its activation, `admits` its CONNECT.

    The task in `task` is sent as clouds do it: 1010 after 1000 true, 1012 after a report of another version.
    """

    def __init__(self, scope: Scope) -> None:
        self.product_id = secrets.token_hex(8)
        self.product_key = "d1234567-89ab-4cde-9f01-" + secrets.token_hex(6)
        self.sn = "CONF" + secrets.token_hex(6).upper()
        self.credentials = Credentials(secrets.token_hex(8), secrets.token_hex(16))
        self.topics = Topics(self.product_id, self.credentials.device_id)
        self.requests: list[Request] = []
        self.connects: list[Connect] = []
        self.subscriptions: list[tuple[str, int]] = []
        self.messages: list[Message] = []
        self.pings = 0
        self.activations: deque[Answer] = deque()
        self.admits: deque[ReturnCode] = deque()
        self.task: dict[str, Json] | None = None
        self.asks = True
        self._sent: object = None
        self._scope = scope
        self._firmware: dict[str, Firmware] = {}
        self._broker: socket.socket | None = None
        self._http_port = self.listen(self._serve_http)
        self._mqtt_port = self.listen(self._serve_mqtt)
        self.activation_url = f"http://{_LOCAL}:{self._http_port}{_ACTIVATION}"
        self.mqtt_url = f"mqtt://{_LOCAL}:{self._mqtt_port}"

    # Servers

    def listen(self, serve: Callable[[socket.socket], None]) -> int:
        """Serve connections to a free port, each in a thread; returns the port."""
        listener = socket.create_server((_LOCAL, 0))
        self._scope.own(listener)

        def guard(connection: socket.socket) -> None:
            with contextlib.suppress(OSError, MqttError, ValueError):
                serve(connection)
            connection.close()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(_SILENCE)
                    self._scope.own(connection)
                    threading.Thread(target=guard, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    def _serve_http(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data and len(data) < MAX_REQUEST:
            piece = connection.recv(MAX_REQUEST)
            if not piece:
                return
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = [*first.split(" "), "", ""]
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        fields = {name.strip().lower(): value.strip() for name, value in pairs}
        length = int(fields.get("content-length", "0"))
        while len(body) < min(length, MAX_REQUEST):
            body += connection.recv(MAX_REQUEST)
        request = Request(method, path, fields, body)
        if len(self.requests) < MAX_NOTES:
            self.requests.append(request)
        connection.sendall(self._answer(request).wire())
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(MAX_REQUEST):
                pass

    def _answer(self, request: Request) -> Answer:
        if request.path == _ACTIVATION:
            return self.activations.popleft() if self.activations else self.identity()
        firmware = self._firmware.get(request.path)
        return firmware.answer(request) if firmware is not None else Answer(404)

    def identity(self) -> Answer:
        """The answer to a right activation (1.3)."""
        body = {"DeviceId": self.credentials.device_id, "DeviceKey": self.credentials.device_key}
        return Answer(200, json.dumps(body).encode(), (("Content-Type", "application/json"),))

    @property
    def sign(self) -> str:
        return sign(self.product_key, self.sn)

    # Broker

    def _serve_mqtt(self, connection: socket.socket) -> None:
        decoder = Decoder(MAX_REQUEST)
        subscribed = False
        while data := connection.recv(MAX_REQUEST):
            for packet in decoder.feed(data):
                if isinstance(packet, Connect):
                    self._broker, self._sent = connection, None
                    self.connects.append(packet)
                    code = self.admits.popleft() if self.admits else ReturnCode.ACCEPTED
                    self._send(connection, ConnAck(code))
                    if code is not ReturnCode.ACCEPTED:
                        return
                elif isinstance(packet, Subscribe):
                    subscribed = True
                    self.subscriptions += packet.filters
                    self._send(connection, SubAck(packet.packet_id, tuple(qos for _, qos in packet.filters)))
                elif isinstance(packet, PingReq):
                    self.pings += 1
                    self._send(connection, PingResp())
                elif isinstance(packet, Publish):
                    if packet.qos == 1:
                        self._send(connection, PubAck(packet.packet_id))
                    self._heard(packet, subscribed)

    @staticmethod
    def _send(connection: socket.socket, packet: Packet) -> None:
        connection.sendall(encode(packet))

    def _heard(self, publish: Publish, subscribed: bool) -> None:
        try:
            points = list(received(publish.payload))
        except JsonError:
            points = []
        for point in points[: MAX_NOTES - len(self.messages)]:
            self.messages.append(Message(publish, point.dp, point.value, subscribed))
            if not self.asks:
                continue
            if point.dp == DataPoint.ONLINE and point.value is True:
                self.say(DataPoint.VERSION_QUERY)
            elif point.dp == DataPoint.VERSION:
                self._offer(member(point.value, "version"))

    def _offer(self, version: Json) -> None:
        task = self.task
        if task is not None and version != task["version"] and self._sent is not task:
            self._sent = task
            self.say(DataPoint.OTA_TASK, task)
            self.say(DataPoint.VERSION_QUERY)

    def say(self, dp: DataPoint, value: Json = None) -> None:
        """One data point to the device, if it is connected."""
        point: dict[str, Any] = {"DP": int(dp)}
        if value is not None:
            point["value"] = value
        self.say_raw(json.dumps({"data": [point]}, separators=(",", ":")).encode())

    def say_raw(self, payload: bytes) -> None:
        topic = self.topics.subscription.replace("#", "x")
        broker = self._broker
        if broker is not None:
            with contextlib.suppress(OSError):
                self._send(broker, Publish(topic, payload))

    def drop(self) -> None:
        """End the MQTT connection as a restart of the broker does."""
        if self._broker is not None:
            with contextlib.suppress(OSError):
                self._broker.shutdown(socket.SHUT_RDWR)

    # Firmware and tasks

    def publish(self, name: str, version: str, plain: bytes, *lies: Lie, key: str = "") -> Firmware:
        """Put a package on the server, encrypted for the device or with `key`."""
        path = f"/fw/{secrets.token_hex(8)}/{name}.rbl"
        encryptor = cipher(key or self.credentials.device_key).encryptor()
        body = encryptor.update(plain.ljust(rounded(len(plain)), b"\0"))
        url = f"http://{_LOCAL}:{self._http_port}{path}"
        firmware = Firmware(name, version, plain, url, body, deque(lies))
        self._firmware[path] = firmware
        return firmware

    def make_task(self, version: str, *firmware: Firmware) -> None:
        """Offer a task: at once if the device is online, and at each report of another version."""
        items: list[Json] = [
            {
                "type": item.name,
                "file_version": item.version,
                "file_url": item.url,
                "upgrade_mode": 1,
                "file_size": len(item.plain),
                "index": index,
            }
            for index, item in enumerate(firmware, start=1)
        ]
        self.task = {"createdTime": 1539684200, "version": version, "firmwares": items}
        self.say(DataPoint.VERSION_QUERY)

    def offer_again(self) -> None:
        """Forget that the task was sent, and ask."""
        self._sent = None
        self.say(DataPoint.VERSION_QUERY)

    # What was seen

    def downloads(self, firmware: Firmware | None = None) -> list[Request]:
        return [
            request
            for request in list(self.requests)
            if request.method == "GET" and (firmware is None or firmware.url.endswith(request.path))
        ]

    def values(self, dp: DataPoint) -> list[Json]:
        return [message.value for message in list(self.messages) if message.dp == dp]

    def versions(self) -> list[Json]:
        """The versions that were reported, in order."""
        return [member(value, "version") for value in self.values(DataPoint.VERSION)]


def cut(at: int) -> Lie:
    """The connection ends after so many bytes of the body."""
    return lambda _request, honest: replace(honest, cut=at)


def status(code: int, fields: Sequence[tuple[str, str]] = ()) -> Lie:
    return lambda _request, _honest: Answer(code, b"", tuple(fields))


def reset(connection: socket.socket) -> None:
    """End a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)  # a thread that reads would keep the connection
    connection.close()
