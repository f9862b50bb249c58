"""A cloud that costs little: it activates every device, answers every packet, and sends what it is told to.

Run by benchmarks/fleet.py in a process of its own. It prints its ports as JSON; each line of its standard
input is a command: `query ROUNDS` asks every client for its version so often, one message at a time in
flight for each; `task` sends every client the task of one package. A line comes back when all have answered.
"""

import argparse
import asyncio
import json
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Final

from cloudsdk.ota.pack import pack
from cloudsdk.ota.transport import cipher, rounded
from flash_images import samples

PRODUCT: Final = "8fa1b2c3d4e5f607"
DEVICE_KEY: Final = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PARTITION: Final = "filesystem"
VERSION: Final = "2.0.0"
TASK_VERSION: Final = "1.1"
QUERY: Final = b'{"data":[{"DP":1010}]}'
CONNACK: Final = b"\x20\x02\x00\x00"
PINGRESP: Final = b"\xd0\x00"


def publish(topic: bytes, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2) + topic + payload
    if len(body) < 128:
        return b"\x30" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) + body


class Sink:
    def __init__(self, size: int) -> None:
        raw = samples.filesystem(VERSION, size=size)
        package = pack(raw, name=PARTITION, version=VERSION, timestamp=1546300800)
        self.size = len(package)
        self.body = cipher(DEVICE_KEY).encryptor().update(package.ljust(rounded(len(package)), b"\0"))
        self.clients: set[Mqtt] = set()
        self.activated = 0
        self.versions: dict[bytes, int] = {}
        self.rounds = 0
        self.answers = 0
        self.wanted = 0
        self.all_answered = asyncio.Event()
        self.http_port = 0

    def task(self) -> bytes:
        firmware = {
            "type": PARTITION,
            "file_version": VERSION,
            "file_url": f"http://127.0.0.1:{self.http_port}/package.rbl",
            "upgrade_mode": 1,
            "file_size": self.size,
            "index": 1,
        }
        value = {"createdTime": 1, "version": TASK_VERSION, "firmwares": [firmware]}
        return json.dumps({"data": [{"DP": 1012, "value": value}]}).encode()

    def count(self) -> None:
        self.answers += 1
        if self.answers == self.wanted:
            self.all_answered.set()


class Mqtt(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.rest = b""
        self.left = 0
        self.upgrading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def connection_lost(self, _error: Exception | None) -> None:
        self.sink.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        start = 0
        while len(data) - start >= 2:
            length, at = data[start + 1], start + 2
            if length & 0x80:
                if len(data) - start < 3:
                    break
                length, at = length & 0x7F | data[start + 2] << 7, start + 3
            end = at + length
            if end > len(data):
                break
            self.packet(data[start], data[at:end])
            start = end
        self.rest = data[start:]

    def packet(self, header: int, body: bytes) -> None:
        kind = header >> 4
        if kind == 3:
            at = 2 + int.from_bytes(body[:2])
            self.transport.write(b"\x40\x02" + body[at : at + 2])
            if body.startswith(b"/ota", at - 4):
                self.reported(body)
        elif kind == 1:
            self.transport.write(CONNACK)
        elif kind == 8:
            topic = body[4:-2]
            self.query = publish(topic + b"q", QUERY)
            self.task = publish(topic + b"q", self.sink.task())
            self.transport.write(b"\x90\x03" + body[:2] + b"\x00")
            self.sink.clients.add(self)
        elif kind == 12:
            self.transport.write(PINGRESP)

    def reported(self, body: bytes) -> None:
        if self.left:
            self.left -= 1
            self.sink.count()
            if self.left:
                self.transport.write(self.query)
        elif TASK_VERSION.encode() in body[-20:]:
            self.sink.versions[body] = 1
            if len(self.sink.versions) == self.sink.wanted:
                self.sink.all_answered.set()


class Http(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.startswith(b"GET") and self.received.endswith(b"\r\n\r\n"):
            self.transport.write(self.head(len(self.sink.body)) + self.sink.body)
        elif self.received.endswith(b"}"):
            self.sink.activated += 1
            found = {"DeviceId": f"{self.sink.activated:016x}", "DeviceKey": DEVICE_KEY}
            body = json.dumps(found).encode()
            self.transport.write(self.head(len(body)) + body)

    def head(self, length: int) -> bytes:
        return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()


async def serve(size: int, certificate: Path | None, key: Path | None) -> None:
    loop = asyncio.get_running_loop()
    sink = Sink(size)
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mqtt = await loop.create_server(lambda: Mqtt(sink), "127.0.0.1", 0, backlog=4096, ssl=context)
    http = await loop.create_server(lambda: Http(sink), "127.0.0.1", 0, backlog=4096)
    sink.http_port = http.sockets[0].getsockname()[1]
    print(json.dumps({"http": sink.http_port, "mqtt": mqtt.sockets[0].getsockname()[1]}), flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)).split():
        began, cpu = time.perf_counter(), time.process_time()
        sink.answers, sink.versions = 0, {}
        sink.all_answered.clear()
        clients = list(sink.clients)
        if line[0] == "query":
            rounds = int(line[1])
            sink.wanted = rounds * len(clients)
            for client in clients:
                client.left = rounds
                client.transport.write(client.query)
        else:
            sink.wanted = len(clients)
            for client in clients:
                client.transport.write(client.task)
        await sink.all_answered.wait()
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({"clients": len(clients), "answers": sink.answers, **took}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.size, arguments.certificate, arguments.key))
