"""The embedded broker against Mosquitto: processor time per QoS 1 message, memory per idle connection.

    .venv/bin/python benchmarks/broker.py [--messages N] [--connections N] [--idle N] [--json]

Processor time is user and system time of the broker's process (/proc/PID/stat) while the messages of a run
are sent and acknowledged, so the kernel's part of its reads and writes counts. The load is another process,
on bare asyncio. The contestants take turns; each figure is the best of some runs.

publish   each connection sends a message of a device and waits for the PUBACK before it sends the next
burst     the same with 20 messages at a time
routed    each message also goes to a subscriber at QoS 1, who acknowledges it

`idle` is by how much resident memory grows with each connection that has logged in, subscribed and is silent.
The embedded broker hands messages to a policy of plain functions that do nothing, Mosquitto to nobody.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cloudsdk.mqtt.packets import Connect, Decoder, PubAck, Publish, SubAck, Subscribe, encode
from sim.cloud.broker import BrokerLimits, EmbeddedBroker
from sim.cloud.mosquitto import find_mosquitto

HOST: Final = "127.0.0.1"
WARM_UP: Final = 0.1  # of the messages, before the clock starts
PAYLOAD: Final = b'{"device":"9017444f3bec4453","vendor":"rtt","data":[{"DP":1000,"value":true}]}'
KEEPALIVE: Final = 600  # seconds
CONNECT_BATCH: Final = 100  # connections opened at once
BURST: Final = 20  # messages
RUN_TIMEOUT: Final = 120.0  # seconds
ROUNDS: Final = 5
TICKS: Final = os.sysconf("SC_CLK_TCK")
SCENARIOS: Final = {"publish": 1, "burst": BURST, "routed": 1}  # window in messages
CONTESTANTS: Final = ("embedded", "mosquitto")


Row = dict[str, Any]


class Policy:
    """Lets everybody do everything and does nothing."""

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        return True

    def may_publish(self, client_id: str, topic: str) -> bool:
        return True

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        return True

    def on_connect(self, client_id: str, address: str) -> None:
        pass

    def on_message(self, client_id: str, topic: str, payload: bytes, *, is_will: bool) -> None:
        pass

    def on_disconnect(self, client_id: str) -> None:
        pass


async def serve() -> None:
    broker = EmbeddedBroker(Policy(), limits=BrokerLimits())
    await broker.start(HOST, 0)
    print(broker.port, flush=True)
    await asyncio.Event().wait()


# The load


class Client(asyncio.Protocol):
    """Connects, subscribes, and then sends a message for each one that is acknowledged."""

    def __init__(self, load: "Load", number: int) -> None:
        self._load = load
        self._number = number
        self._decoder = Decoder(65536)
        self._message = encode(Publish(f"/cloud/p/{number}/system", PAYLOAD, 1, packet_id=1))
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        name = f"client-{self._number}"
        topic_filter = f"/{'cloud' if self._load.routed else 'device'}/p/{self._number ^ 1}/#"
        transport.write(encode(Connect(name, True, KEEPALIVE)) + encode(Subscribe(1, ((topic_filter, 1),))))

    def send(self, count: int) -> None:
        self.transport.write(self._message * count)

    def data_received(self, data: bytes) -> None:
        acknowledged = 0
        answers = []
        for packet in self._decoder.feed(data):
            if isinstance(packet, PubAck):
                acknowledged += 1
            elif isinstance(packet, Publish):
                answers.append(encode(PubAck(packet.packet_id)))
            elif isinstance(packet, SubAck):
                self.ready.set_result(None)
        if answers:
            self.transport.write(b"".join(answers))
        if acknowledged:
            self.send(self._load.granted(acknowledged))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the broker closed the connection"))


class Load:
    """Messages over all connections: how many are still to be sent and acknowledged."""

    def __init__(self, routed: bool) -> None:
        self.routed = routed
        self._unsent = 0
        self._unacknowledged = 0
        self._done = asyncio.Event()

    async def run(self, clients: list[Client], messages: int, window: int) -> None:
        """Have `messages` sent, `window` of a client at a time, until all are acknowledged."""
        self._unsent = self._unacknowledged = messages
        self._done.clear()
        for client in clients:
            client.send(self._take(window))
        await self._done.wait()

    def granted(self, acknowledged: int) -> int:
        """How many more a client may send."""
        self._unacknowledged -= acknowledged
        if not self._unacknowledged:
            self._done.set()
        return self._take(acknowledged)

    def _take(self, wanted: int) -> int:
        count = min(wanted, self._unsent)
        self._unsent -= count
        return count


async def opened(port: int, load: Load, connections: int) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for first in range(0, connections, CONNECT_BATCH):
        made = await asyncio.gather(
            *(
                loop.create_connection(partial(Client, load, number), HOST, port)
                for number in range(first, min(first + CONNECT_BATCH, connections))
            )
        )
        batch = [client for _, client in made]
        await asyncio.gather(*(client.ready for client in batch))
        clients += batch
    return clients


async def load(port: int, connections: int, messages: int, window: int, routed: bool) -> None:
    work = Load(routed)
    clients = await opened(port, work, connections)
    if not messages:
        await told("ready")
        return
    async with asyncio.timeout(RUN_TIMEOUT):
        await work.run(clients, max(1, int(messages * WARM_UP)), window)
    await told("ready")
    start = time.perf_counter()
    async with asyncio.timeout(RUN_TIMEOUT):
        await work.run(clients, messages, window)
    await told(f"{time.perf_counter() - start}")


async def told(line: str) -> None:
    """Print, and wait until the other side has read it and says so."""
    print(line, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


# The measurement


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one message: processor time in microseconds; and messages per second."""

    cpu_us: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Running:
    pid: int
    port: int

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_kib(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError(f"process {self.pid} has no resident memory")


@contextmanager
def running(contestant: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as directory:
        if contestant == "mosquitto":
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = probe.getsockname()[1]
            config = Path(directory) / "mosquitto.conf"
            config.write_text(
                f"listener {port} {HOST}\nallow_anonymous true\npersistence false\nsys_interval 0\n"
                "log_dest none\nset_tcp_nodelay true\n"
            )
            process = subprocess.Popen([find_mosquitto(), "-c", str(config)], text=True)
            until_listening(port)
        else:
            command = [sys.executable, __file__, "--role", "serve"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            port = int(process.stdout.readline())
        try:
            yield Running(process.pid, port)
        finally:
            process.terminate()
            process.wait()


def until_listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise


@contextmanager
def loading(port: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, __file__, "--role", "load", "--port", str(port), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the load ended early"
    return line


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def message_cost(contestant: str, scenario: str, connections: int, messages: int) -> Cost:
    options = ["--connections", str(connections), "--messages", str(messages)]
    options += ["--window", str(SCENARIOS[scenario])]
    if scenario == "routed":
        options.append("--routed")
    with running(contestant) as broker, loading(broker.port, *options) as process:
        heard(process)
        before = broker.processor_seconds()
        go_on(process)
        seconds = float(heard(process))
        used = broker.processor_seconds() - before
        go_on(process)
    return Cost(used / messages * 1e6, messages / seconds)


def idle_kib(contestant: str, connections: int) -> float:
    with running(contestant) as broker:
        before = broker.resident_kib()
        with loading(broker.port, "--connections", str(connections), "--messages", "0") as process:
            heard(process)
            return (broker.resident_kib() - before) / connections


def measure(connections: int, messages: int, idle: int) -> list[Row]:
    rows: list[Row] = []
    for scenario in SCENARIOS:
        runs: dict[str, list[Cost]] = {name: [] for name in CONTESTANTS}
        for _ in range(ROUNDS):
            for name in CONTESTANTS:
                runs[name].append(message_cost(name, scenario, connections, messages))
        rows += [
            {
                "scenario": scenario,
                "broker": name,
                "cpu_us": round(min(run.cpu_us for run in runs[name]), 1),
                "per_second": round(max(run.per_second for run in runs[name])),
            }
            for name in CONTESTANTS
        ]
    rows += [
        {"scenario": "idle", "broker": name, "kib": round(idle_kib(name, idle), 1)} for name in CONTESTANTS
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=40_000, help="of one run")
    parser.add_argument("--connections", type=int, default=200, help="that exchange messages; even")
    parser.add_argument("--idle", type=int, default=5000, help="connections that are silent")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--role", choices=("measure", "serve", "load"), default="measure", help=argparse.SUPPRESS
    )
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--window", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--routed", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "serve":
        asyncio.run(serve())
        return
    if arguments.role == "load":
        asyncio.run(
            load(
                arguments.port,
                arguments.connections,
                arguments.messages,
                arguments.window,
                arguments.routed,
            )
        )
        return
    rows = measure(arguments.connections, arguments.messages, arguments.idle)
    if arguments.json:
        json.dump(rows, sys.stdout)
        print()
        return
    columns = ("scenario", "broker", "cpu_us", "per_second", "kib")
    for row in ({column: column for column in columns}, *rows):
        print("".join(f"{row.get(column, '')!s:<12}" for column in columns).rstrip())


if __name__ == "__main__":
    main()
