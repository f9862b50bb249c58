"""What the fleet tests share: a scripted cloud that notes every byte, a relay that cuts, and waiting."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cloudsdk.ota.pack import pack
from cloudsdk.ota.transport import cipher, rounded
from flash_images import samples
from sim.fleet.fleet import Fleet, FleetConfig
from sim.fleet.identities import Population

PRODUCT_ID, DEVICE_ID = "8fa1b2c3d4e5f607", "9017444f3bec4453"
DEVICE_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PRODUCT_KEY = "d1234567-89ab-4cde-9f01-23456789abcd"
TIMEOUT = 20.0  # seconds
TASK_VERSION = "1.1"


def app_package(version: str = "2.0.0", size: int = 40_000) -> bytes:
    raw = samples.application(version, link_address=0x08010000, size=size)
    return pack(raw, name="app", version=version, timestamp=1546300800)


def fleet_of(
    serial_numbers: tuple[str, ...],
    activation_url: str,
    mqtt_url: str,
    *,
    boot_time: float = 0.05,
    **more: object,
) -> Fleet:
    return Fleet(
        FleetConfig(
            [Population(PRODUCT_ID, serial_numbers)],
            {PRODUCT_ID: PRODUCT_KEY},
            activation_url,
            mqtt_url,
            boot_time=boot_time,
            **more,  # type: ignore[arg-type]
        )
    )


async def until(fleet: Fleet, condition: Callable[[], bool]) -> dict[str, object]:
    """Run the fleet until `condition`; its summary."""
    running = asyncio.create_task(fleet.run(TIMEOUT))
    while not condition() and not running.done():  # noqa: ASYNC110 - nobody could set an event
        await asyncio.sleep(0.01)
    met = condition()
    fleet.stop()
    summary = await running
    assert met, summary
    return summary


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def listen(serve: Callable[[socket.socket], None]) -> socket.socket:
    """Serve every connection to a free loopback port in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def guarded(connection: socket.socket) -> None:
        try:
            serve(connection)
        except (OSError, EOFError):
            pass
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def publish(topic: str, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2) + topic.encode() + payload
    return b"\x30" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body


@dataclass
class ScriptedCloud:
    """Activates one device and upgrades its application once; the first body breaks off half-way.

    `http` holds the requests, `mqtt` the packets of each connection, both as they came.
    """

    package: bytes = field(default_factory=app_package)
    http: list[bytes] = field(default_factory=list)
    mqtt: list[list[bytes]] = field(default_factory=list)
    reports: int = 1  # of the task's version until the device has no more to say
    tasked: bool = False

    def __post_init__(self) -> None:
        size = rounded(len(self.package))
        self.body = cipher(DEVICE_KEY).encryptor().update(self.package.ljust(size, b"\0"))
        self.listeners = [listen(self._http), listen(self._mqtt)]
        ports = [listener.getsockname()[1] for listener in self.listeners]
        self.http_url, self.mqtt_url = f"http://127.0.0.1:{ports[0]}", f"mqtt://127.0.0.1:{ports[1]}"

    @property
    def done(self) -> bool:
        """Whether the device has reported the task's version, as often as it will."""
        version = TASK_VERSION.encode()
        return sum(version in each[-30:] for packets in self.mqtt for each in packets) == self.reports

    def forget(self) -> None:
        """Begin anew, at the same addresses."""
        self.http, self.mqtt, self.tasked = [], [], False

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()

    def _http(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"}" if request.startswith(b"POST") else b"\r\n\r\n"):
            request += connection.recv(4096) or exactly(connection, 1)
        self.http.append(request)
        head, body, length = "200 OK", self.body, len(self.body)
        if request.startswith(b"POST"):
            body = json.dumps({"DeviceId": DEVICE_ID, "DeviceKey": DEVICE_KEY}).encode()
            length = len(body)
        elif b"Range: bytes=" in request:
            start = int(request.partition(b"bytes=")[2].partition(b"-")[0])
            body = body[start:]
            length = len(body)
            head = (
                f"206 Partial Content\r\nContent-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            )
        else:
            body = body[: len(body) // 2]
        connection.sendall(
            f'HTTP/1.1 {head}\r\nETag: "1"\r\nContent-Length: {length}\r\n\r\n'.encode() + body
        )
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    def _mqtt(self, connection: socket.socket) -> None:
        packets: list[bytes] = []
        self.mqtt.append(packets)
        while True:
            packet = exactly(connection, 2)
            length = packet[1] & 0x7F
            if packet[1] & 0x80:
                packet += exactly(connection, 1)
                length |= packet[2] << 7
            body = exactly(connection, length)
            packets.append(packet + body)
            kind = packet[0] >> 4
            if kind == 1:
                connection.sendall(b"\x20\x02\x00\x00")
            elif kind == 8:
                connection.sendall(b"\x90\x03" + body[:2] + b"\x00")
            elif kind == 3:
                end = 2 + int.from_bytes(body[:2])
                connection.sendall(b"\x40\x02" + body[end : end + 2])
                self._answer(connection, body[:end].rpartition(b"/")[2])

    def _answer(self, connection: socket.socket, channel: bytes) -> None:
        topic = f"/device/{PRODUCT_ID}/{DEVICE_ID}/x"
        if channel == b"system":
            connection.sendall(publish(topic, b'{"data":[{"DP":1010}]}'))
        elif channel == b"ota" and not self.tasked:
            self.tasked = True
            firmware = {
                "type": "app",
                "file_version": "2.0.0",
                "file_url": f"{self.http_url}/fw/app%20a.rbl?t=1",
                "upgrade_mode": 1,
                "file_size": len(self.package),
                "index": 1,
            }
            value = {"createdTime": 1, "version": TASK_VERSION, "firmwares": [firmware]}
            connection.sendall(publish(topic, json.dumps({"data": [{"DP": 1012, "value": value}]}).encode()))


class CuttingRelay:
    """Passes connections on to `upstream`, and cuts every other one after `after` bytes of the response."""

    def __init__(self, after: int) -> None:
        self.upstream = ("", 0)
        self.cuts = 0
        self._after = after
        self._connections = 0
        self._lock = threading.Lock()
        self._listener = listen(self._serve)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections += 1
            cut = self._connections % 2 == 1
        with socket.create_connection(self.upstream) as upstream:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += connection.recv(4096) or exactly(connection, 1)
            upstream.sendall(request)
            passed = 0
            while piece := upstream.recv(8192):
                connection.sendall(piece)
                passed += len(piece)
                if cut and passed >= self._after:
                    self.cuts += 1
                    return
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
