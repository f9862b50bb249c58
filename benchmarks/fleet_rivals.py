"""MQTT clients that do a device's job, one library each: run by benchmarks/fleet.py, one in a process.

Each connects as a device does, subscribes, says that it is online, and answers every question for its
version. Nothing here imports cloudsim: a rival runs in the environment that has its library.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import selectors
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PRODUCT: Final = "8fa1b2c3d4e5f607"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
RATE: Final = 500  # connections per second
MEASURED_FROM: Final = 0.05  # of the devices are there when memory is looked at first

Ready = Callable[[], int]  # how many are online


def envelope(device: str, dp: int, value: str) -> bytes:
    return f'{{"device":"{device}","vendor":"rtt","data":[{{"DP":{dp},"value":{value}}}]}}'.encode()


def device_id(number: int) -> str:
    return f"{number:016x}"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Measure:
    """Memory per device while they come; processor time between two lines on standard input."""

    def __init__(self, count: int, online: Ready) -> None:
        self.count = count
        self.online = online
        self.cpu = time.process_time()

    def run(self) -> None:
        early = max(1, int(self.count * MEASURED_FROM))
        while self.online() < early:
            time.sleep(0.01)
        number, memory, cpu = self.online(), resident(), time.process_time()
        while self.online() < self.count:
            time.sleep(0.01)
        time.sleep(0.5)
        came = max(1, self.count - number)
        self.say(memory=(resident() - memory) / came, ramp_cpu=(time.process_time() - cpu) / came)
        for _ in sys.stdin:
            self.say(cpu=time.process_time())
        os._exit(0)

    def say(self, **facts: float) -> None:
        print(json.dumps(facts), flush=True)


def start_measure(count: int, online: Ready) -> None:
    threading.Thread(target=Measure(count, online).run, daemon=True).start()


# --- the bound: nothing but bytes -----------------------------------------------------------------------


def field(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text


def packet(header: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes((header, len(body))) + body
    return bytes((header, len(body) & 0x7F | 0x80, len(body) >> 7)) + body


class Bare(asyncio.Protocol):
    online = 0

    def __init__(self, number: int) -> None:
        did = device_id(number)
        cloud = f"/cloud/{PRODUCT}/{did}/".encode()
        will = field(cloud + b"system") + field(envelope(did, 1000, "false"))
        fixed = field(b"MQTT") + b"\x04\xce\x00\x1e"
        self.connect = packet(
            0x10, fixed + field(did.encode()) + will + field(did.encode()) + field(b"0" * 32)
        )
        self.subscribe = packet(0x82, b"\0\1" + field(f"/device/{PRODUCT}/{did}/#".encode()) + b"\0")
        self.hello = packet(0x32, field(cloud + b"system") + b"\0\2" + envelope(did, 1000, "true"))
        self.answer = packet(0x32, field(cloud + b"ota") + b"\0\3" + envelope(did, 1011, '{"version":"0.0"}'))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.connect)

    def data_received(self, data: bytes) -> None:
        start = 0
        while start < len(data):  # the cloud's packets are short, and come whole
            kind = data[start]
            if kind == 0x20:
                self.transport.write(self.subscribe)
            elif kind == 0x90:
                self.transport.write(self.hello)
                Bare.online += 1
            elif kind == 0x30:
                self.transport.write(self.answer)
            start += data[start + 1] + 2


async def bare(port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    start_measure(count, lambda: Bare.online)
    for number in range(count):
        await loop.create_connection(lambda number=number: Bare(number), "127.0.0.1", port)
        await asyncio.sleep(1 / RATE)
    await asyncio.Event().wait()


# --- paho -----------------------------------------------------------------------------------------------


class PahoDevice:
    online = 0

    def __init__(self, number: int) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.did = device_id(number)
        self.cloud = f"/cloud/{PRODUCT}/{self.did}/"
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.did)
        self.client.username_pw_set(self.did, "0" * 32)
        self.client.will_set(self.cloud + "system", envelope(self.did, 1000, "false"), qos=1)
        self.client.on_connect = lambda *_: self.client.subscribe(f"/device/{PRODUCT}/{self.did}/#")
        self.client.on_subscribe = self.subscribed
        self.client.on_message = self.asked

    def subscribed(self, *_: object) -> None:
        self.client.publish(self.cloud + "system", envelope(self.did, 1000, "true"), qos=1)
        PahoDevice.online += 1

    def asked(self, _client: object, _data: object, message: Any) -> None:
        for element in json.loads(message.payload)["data"]:
            if element["DP"] == 1010:
                payload = envelope(self.did, 1011, json.dumps({"version": "0.0"}))
                self.client.publish(self.cloud + "ota", payload, qos=1)


def paho_threads(port: int, count: int) -> None:
    start_measure(count, lambda: PahoDevice.online)
    devices = []
    for number in range(count):
        device = PahoDevice(number)
        devices.append(device)
        device.client.connect("127.0.0.1", port, keepalive=30)
        device.client.loop_start()
        time.sleep(1 / RATE)
    threading.Event().wait()


def paho_selectors(port: int, count: int) -> None:
    start_measure(count, lambda: PahoDevice.online)
    selector = selectors.DefaultSelector()
    waiting = list(range(count))
    due = time.monotonic()
    while True:
        if waiting and time.monotonic() >= due:
            due += 1 / RATE
            device = PahoDevice(waiting.pop())
            device.client.connect("127.0.0.1", port, keepalive=30)
            selector.register(device.client.socket(), selectors.EVENT_READ, device.client)
        for key, _ in selector.select(1 / RATE):
            key.data.loop_read()
            if key.data.want_write():
                key.data.loop_write()


# --- aiomqtt, Locust ------------------------------------------------------------------------------------


async def aiomqtt_clients(port: int, count: int) -> None:
    import aiomqtt

    online = [0]

    async def device(number: int) -> None:
        did = device_id(number)
        cloud = f"/cloud/{PRODUCT}/{did}/"
        will = aiomqtt.Will(cloud + "system", envelope(did, 1000, "false"), qos=1)
        options = {"username": did, "password": "0" * 32, "identifier": did, "will": will, "keepalive": 30}
        async with aiomqtt.Client("127.0.0.1", port, **options) as client:
            await client.subscribe(f"/device/{PRODUCT}/{did}/#")
            await client.publish(cloud + "system", envelope(did, 1000, "true"), qos=1)
            online[0] += 1
            async for message in client.messages:
                for element in json.loads(message.payload)["data"]:
                    if element["DP"] == 1010:
                        payload = envelope(did, 1011, json.dumps({"version": "0.0"}))
                        await client.publish(cloud + "ota", payload, qos=1)

    start_measure(count, lambda: online[0])
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(device(number)))
        await asyncio.sleep(1 / RATE)
    await asyncio.gather(*tasks)


def locust_users(port: int, count: int) -> None:
    import gevent.monkey

    gevent.monkey.patch_all()
    import gevent
    from locust import task
    from locust.contrib.mqtt import MqttUser
    from locust.env import Environment

    class Device(MqttUser):
        host = "127.0.0.1"
        transport = "tcp"
        online = 0

        def __init__(self, environment: Any) -> None:
            Device.port = port
            self.number = Device.made = getattr(Device, "made", 0) + 1
            self.did = device_id(self.number)
            self.client_id = self.did
            self.username, self.password = self.did, "0" * 32
            super().__init__(environment)
            self.client.on_message = self.asked

        def on_start(self) -> None:
            while not self.client.is_connected():
                gevent.sleep(0.05)
            self.cloud = f"/cloud/{PRODUCT}/{self.did}/"
            self.client.subscribe(f"/device/{PRODUCT}/{self.did}/#")
            self.client.publish(self.cloud + "system", envelope(self.did, 1000, "true"), qos=1)
            Device.online += 1

        @task
        def rest(self) -> None:
            gevent.sleep(1000)

        def asked(self, _client: object, _data: object, message: Any) -> None:
            for element in json.loads(message.payload)["data"]:
                if element["DP"] == 1010:
                    payload = envelope(self.did, 1011, json.dumps({"version": "0.0"}))
                    self.client.publish(self.cloud + "ota", payload, qos=1)

    import gevent.threadpool

    pool = gevent.threadpool.ThreadPool(1)
    pool.spawn(Measure(count, lambda: Device.online).run)
    environment = Environment(user_classes=[Device])
    environment.create_local_runner().start(count, spawn_rate=100)
    gevent.sleep(10_000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rival", choices=("bare", "paho-threads", "paho-selectors", "aiomqtt", "locust"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # for all alike
    with contextlib.suppress(KeyboardInterrupt):
        match options.rival:
            case "bare":
                asyncio.run(bare(options.port, options.count))
            case "paho-threads":
                paho_threads(options.port, options.count)
            case "paho-selectors":
                paho_selectors(options.port, options.count)
            case "aiomqtt":
                asyncio.run(aiomqtt_clients(options.port, options.count))
            case "locust":
                locust_users(options.port, options.count)


if __name__ == "__main__":
    main()
