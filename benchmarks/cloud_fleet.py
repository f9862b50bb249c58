"""Many devices on one event loop, on bare sockets: what a campaign looks like from their side.

    echo '{"mqtt": ["127.0.0.1", 1883], "product_id": "...", "devices": [["<DeviceID>", "<DeviceKey>"]]}' |
        python benchmarks/cloud_fleet.py

A device connects, says that it is online, answers 1010 with its version, downloads on 1012 and resumes broken
downloads, then leaves without a word, connects again and reports the version of the task. It tries again for
ever when the cloud is gone. Progress goes to standard output, one JSON object per change; the fleet ends when
standard input does.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from cloudsdk.activation import mqtt_password
from cloudsdk.datapoints import DataPoint, Topics
from cloudsdk.mqtt.packets import (
    ConnAck,
    Connect,
    Decoder,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Will,
    encode,
)
from cloudsdk.ota.transport import cipher, rounded

KEEPALIVE: Final = 30  # seconds
PING: Final = 20.0  # seconds of silence before a PINGREQ
RETRY: Final = 0.5  # seconds after which a device tries again
PATIENCE: Final = 60.0  # seconds for an answer to CONNECT, and for the next bytes of a download
BLOCK: Final = 1024  # bytes; a broken download resumes at a multiple (cloudsdk-protocol 3.5)
SLOW: Final = 0.2  # seconds a slow device takes for a block


@dataclass(slots=True)
class Device:
    """`manner` is "" for a good device, "silent" for one that answers nothing, or "slow" in its downloads."""

    product_id: str
    device_id: str
    device_key: str = field(repr=False)
    manner: str = ""
    version: str = "0.0"
    state: str = "off"
    digest: str = ""  # SHA-256 of the package it has downloaded
    reports: list[str] = field(default_factory=list)  # acknowledged, without repetitions

    def point(self, dp: DataPoint, value: object) -> bytes:
        point = {"device": self.device_id, "vendor": "rtt", "data": [{"DP": int(dp), "value": value}]}
        return json.dumps(point, separators=(",", ":")).encode()


class Fleet:
    """Devices at the broker `mqtt`, host and port. `changed` is told every new state of a device."""

    def __init__(
        self,
        mqtt: tuple[str, int],
        devices: list[Device],
        changed: Callable[[Device], None] = lambda _device: None,
    ) -> None:
        self.devices = devices
        self._mqtt = mqtt
        self._changed = changed

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.gather(*(self._live(device) for device in self.devices))

    async def _live(self, device: Device) -> None:
        while True:
            try:
                async with _connection(*self._mqtt) as (reader, writer):
                    await _Session(self, device, reader, writer).run()
            except (OSError, EOFError, TimeoutError):
                self.enter(device, "off")
                await asyncio.sleep(RETRY)

    def enter(self, device: Device, state: str) -> None:
        if device.state != state:
            device.state = state
            self._changed(device)


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> Any:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # as a board that is reset


class _Session:
    """One connection of a device to the broker. `run` returns when the device resets itself."""

    def __init__(
        self, fleet: Fleet, device: Device, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._fleet = fleet
        self._device = device
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(65_536)
        self._received: list[Packet] = []
        self._topics = Topics(device.product_id, device.device_id)

    async def run(self) -> None:
        device = self._device
        will = Will(self._topics.publish(DataPoint.ONLINE), device.point(DataPoint.ONLINE, False), 1)
        password = mqtt_password(device.device_key).encode()
        self._send(Connect(device.device_id, True, KEEPALIVE, will, device.device_id, password))
        await self._expect(ConnAck)
        self._send(Subscribe(1, ((self._topics.subscription, 0),)))
        await self._expect(SubAck)
        self._publish(DataPoint.ONLINE, True)
        await self._expect(PubAck)
        self._fleet.enter(device, "online")
        while True:
            packet = await self._next()
            if isinstance(packet, Publish) and device.manner != "silent":
                for point in json.loads(packet.payload)["data"]:
                    if point["DP"] == DataPoint.VERSION_QUERY:
                        self._publish(DataPoint.VERSION, {"version": device.version})
                    elif point["DP"] == DataPoint.OTA_TASK and point["value"]["version"] != device.version:
                        await self._install(point["value"])
                        return
            elif isinstance(packet, PubAck) and device.version not in device.reports:
                device.reports.append(device.version)
                self._fleet.enter(device, f"reported {device.version}")

    async def _install(self, task: dict[str, Any]) -> None:
        self._fleet.enter(self._device, "downloading")
        for item in task["firmwares"]:
            self._device.digest = await download(self._device, item["file_url"], item["file_size"])
        self._device.version = task["version"]

    def _publish(self, dp: DataPoint, value: object) -> None:
        self._send(Publish(self._topics.publish(dp), self._device.point(dp, value), qos=1, packet_id=1))

    def _send(self, packet: Packet) -> None:
        self._writer.write(encode(packet))

    async def _expect(self, kind: type[Packet]) -> None:
        """Skip to the next packet of this kind; messages before it wait."""
        async with asyncio.timeout(PATIENCE):
            held = []
            while not isinstance(packet := await self._next(), kind):
                held.append(packet)
            self._received = held + self._received
        if isinstance(packet, ConnAck) and packet.return_code:
            raise EOFError("the broker refuses the device")

    async def _next(self) -> Packet:
        while not self._received:
            try:
                async with asyncio.timeout(PING):
                    data = await self._reader.read(4096)
            except TimeoutError:
                self._send(PingReq())
                continue
            if not data:
                raise EOFError("the broker has closed the connection")
            self._received += self._decoder.feed(data)
        return self._received.pop(0)


async def download(device: Device, url: str, size: int) -> str:
    """Fetch and decrypt a package of `size` bytes, however often it takes; returns its SHA-256."""
    body = bytearray()
    while len(body) < rounded(size):
        del body[len(body) // BLOCK * BLOCK :]
        try:
            await _fetch(url, body, slow=device.manner == "slow")
        except (OSError, EOFError, TimeoutError):
            await asyncio.sleep(RETRY)
    plain = cipher(device.device_key).decryptor().update(bytes(body))
    return hashlib.sha256(plain[:size]).hexdigest()


async def _fetch(url: str, body: bytearray, *, slow: bool) -> None:
    """Append to `body` what comes after it, up to the end of the response."""
    parts = urlsplit(url)
    field = f"Range: bytes={len(body)}-\r\n" if body else ""
    request = f"GET {parts.path} HTTP/1.1\r\n{field}Host: {parts.netloc}\r\nConnection: close\r\n\r\n"
    async with _connection(str(parts.hostname), int(parts.port or 80)) as (reader, writer):
        writer.write(request.encode())
        async with asyncio.timeout(PATIENCE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if int(head.split()[1]) != (206 if body else 200):
            raise EOFError(f"the cloud answers {head.splitlines()[0]}")
        while True:
            async with asyncio.timeout(PATIENCE):
                piece = await reader.read(BLOCK if slow else 65_536)
            if not piece:
                return
            body += piece
            if slow:
                await asyncio.sleep(SLOW)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    order = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    devices = [
        Device(order["product_id"], device_id, key, *manner) for device_id, key, *manner in order["devices"]
    ]
    states: Counter[str] = Counter(device.state for device in devices)
    before = {device.device_id: device.state for device in devices}

    def changed(device: Device) -> None:
        states[before[device.device_id]] -= 1
        states[device.state] += 1
        before[device.device_id] = device.state

    async def tell() -> None:
        told = ""
        while True:
            line = json.dumps(+states, sort_keys=True)
            if line != told:
                print(line, flush=True)
                told = line
            await asyncio.sleep(0.05)

    fleet = asyncio.create_task(Fleet(tuple(order["mqtt"]), devices, changed).run())
    teller = asyncio.create_task(tell())
    ended = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait({fleet, teller, ended}, return_when=asyncio.FIRST_COMPLETED)
    fleet.cancel()
    teller.cancel()
    await asyncio.gather(fleet, teller, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_main())
