"""The embedded broker against Mosquitto: processor time per QoS 1 message, memory per idle connection.

    .venv/bin/python benchmarks/broker.py [--messages N] [--connections N] [--idle N] [--json]

Processor time is user and system time of the broker's process (/proc/PID/stat) between the first and the
last message of a run, so it includes the kernel's part of its reads and writes; the load runs in a process of
its own on bare asyncio. Contestants take turns, each figure is the best of some rounds. Scenarios:

publish     each connection sends a message of a device and waits for the PUBACK before the next one
burst       the same with a window of 20 messages
routed      each message also goes to one subscriber at QoS 1, who acknowledges it

`idle` is the growth of the resident memory for that many connections, logged in, subscribed and silent. The
embedded broker hands each message to a policy that does nothing, Mosquitto to nobody.
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
from pathlib import Path
from typing import Any, Final

from cloudsdk.mqtt.packets import Connect, Decoder, Packet, PubAck, Publish, Subscribe, encode
from sim.cloud.broker import BrokerLimits, EmbeddedBroker
from sim.cloud.mosquitto import find_mosquitto

HOST: Final = "127.0.0.1"
WARM_UP: Final = 0.1  # of the messages, before the clock starts
PAYLOAD: Final = b'{"device":"9017444f3bec4453","vendor":"rtt","data":[{"DP":1000,"value":true}]}'
KEEPALIVE: Final = 600  # seconds
CONNECT_BATCH: Final = 100  # connections opened at once
BURST: Final = 20  # messages
ROUNDS: Final = 1
TICKS: Final = os.sysconf("SC_CLK_TCK")
SCENARIOS: Final = {"publish": 1, "burst": BURST, "routed": 1}  # window in messages
CONTESTANTS: Final = ("embedded", "mosquitto")


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
            else:
                self._answered(packet)
        if answers:
            self.transport.write(b"".join(answers))
        if acknowledged:
            self.send(self._load.granted(acknowledged))

    def _answered(self, packet: Packet) -> None:
        if type(packet).__name__ == "SubAck":
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the broker closed the connection"))


class Load:
    """`messages` over all connections, announced on standard output when they begin and end."""

    def __init__(self, messages: int, routed: bool) -> None:
        self.routed = routed
        self._left = messages
        self._unacknowledged = messages
        self.done = asyncio.Event()

    def granted(self, acknowledged: int) -> int:
        """How many more a client may send."""
        self._unacknowledged -= acknowledged
        if not self._unacknowledged:
            self.done.set()
        count = min(acknowledged, self._left)
        self._left -= count
        return count

    def start(self, clients: list[Client], window: int) -> None:
        for client in clients:
            count = min(window, self._left)
            self._left -= count
            client.send(count)

    def more(self, messages: int) -> None:
        self._left = self._unacknowledged = messages
        self.done.clear()


async def opened(port: int, load: Load, connections: int) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for first in range(0, connections, CONNECT_BATCH):
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda number=number: Client(load, number), HOST, port)
                for number in range(first, min(first + CONNECT_BATCH, connections))
            )
        )
        batch = [client for _, client in made]
        await asyncio.gather(*(client.ready for client in batch))
        clients += batch
    return clients


async def load(port: int, connections: int, messages: int, window: int, routed: bool) -> None:
    work = Load(int(messages * WARM_UP), routed)
    clients = await opened(port, work, connections)
    if messages:
        work.start(clients, window)
        await work.done.wait()
        work.more(messages)
    await told("ready")
    if messages:
        start = time.perf_counter()
        work.start(clients, window)
        await work.done.wait()
        await told(f"{time.perf_counter() - start}")


async def told(line: str) -> None:
    """Print, and wait until the other side has read it and says so."""
    print(line, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


# The measurement


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
                "log_dest none\nset_tcp_nodelay true\nmax_inflight_messages 20\n"
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


def message_cost(contestant: str, scenario: str, connections: int, messages: int) -> dict[str, float]:
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
    return {"us": used / messages * 1e6, "per_second": messages / seconds}


def idle_kib(contestant: str, connections: int) -> float:
    with running(contestant) as broker:
        before = broker.resident_kib()
        with loading(broker.port, "--connections", str(connections), "--messages", "0") as process:
            heard(process)
            return (broker.resident_kib() - before) / connections


def measure(connections: int, messages: int, idle: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for scenario in SCENARIOS:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
        for _ in range(ROUNDS):
            for name in CONTESTANTS:
                runs[name].append(message_cost(name, scenario, connections, messages))
        for name in CONTESTANTS:
            rows.append(
                {
                    "scenario": scenario,
                    "broker": name,
                    "cpu_us_per_message": round(min(run["us"] for run in runs[name]), 1),
                    "messages_per_second": round(max(run["per_second"] for run in runs[name])),
                }
            )
    for name in CONTESTANTS:
        rows.append(
            {"scenario": "idle", "broker": name, "kib_per_connection": round(idle_kib(name, idle), 1)}
        )
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
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
