"""What the reference cloud takes: a campaign to a whole fleet, activations, firmware, events of devices.

    .venv/bin/python benchmarks/cloud.py [--devices N] [--database URL] [--broker mosquitto] [--json]

The cloud is `cloudsim cloud serve` in a process of its own, the fleet (`cloud_fleet.py`) another one.
`online` is the time from the start of the fleet until all devices have reported their version, `campaign`
from the creation of the task until all have downloaded 64 KiB and reported its version. `lag` is how late the
event loop of the cloud woke up, the bound that 99 % kept. Activations and firmware are compared with bare
Starlette routes that answer with as many bytes. A database given by URL must be empty.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import uvicorn
from cloud_fleet import Device, download
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloudsdk.activation import Credentials, request_body
from cloudsdk.ota.pack import pack
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.rollout import Selection
from sim.cloud.service import Service
from sim.cloud.worker import Worker

PACKAGE: Final = 64 * 1024 - 96  # bytes of firmware; with its header the package has 64 KiB
TRANSFERS: Final = 400  # downloads for firmware MB/s
AT_ONCE: Final = 20  # requests under way for activations/s and firmware MB/s
EVENTS: Final = 4000  # events for events/s
HERE: Final = Path(__file__).parent


@contextlib.contextmanager
def cloud(data: DataDir, *options: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    command = [sys.executable, "-c", "from sim.cli.main import main; main()", "cloud", "serve", "--json"]
    ports = ["--http-port=0", "--mqtt-port=0", f"--data={data.root}"]
    with subprocess.Popen([*command, *ports, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()


def furnish(service: Service, count: int) -> tuple[str, str, list[Credentials]]:
    """ProductID, ProductKey and `count` activated devices, SN0 and so on."""
    product = service.create_product("fleet", device_limit=2 * count)
    found = []
    with service.core.store.batch():
        for number in range(count):
            service.add_device(product["product_id"], f"SN{number}")
            fields = request_fields(product["product_id"], product["product_key"], f"SN{number}")
            found.append(service.activate(fields["ProductId"], fields["SN"], fields["Sign"]))
    return product["product_id"], product["product_key"], found


def request_fields(product_id: str, product_key: str, sn: str) -> dict[str, str]:
    fields: dict[str, str] = json.loads(request_body(product_id=product_id, product_key=product_key, sn=sn))
    return fields


class FleetProcess:
    """`cloud_fleet.py`, told what to do; `wait` reads what it tells."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "cloud_fleet.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def wait(self, state: str, count: int) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if json.loads(line).get(state) == count:
                return
        raise RuntimeError("the fleet has failed")

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def campaign(data: DataDir, ids: list[Credentials], product_id: str, options: list[str]) -> dict[str, Any]:
    with cloud(data, *options) as (process, facts):
        endpoint = data.endpoint()
        assert endpoint is not None
        admin = AdminClient(endpoint.admin_url, endpoint.admin_token)
        parts = urlsplit(facts["mqtt_url"])
        started = time.perf_counter()
        fleet = FleetProcess(
            {
                "mqtt": [parts.hostname, parts.port],
                "product_id": product_id,
                "devices": [(one.device_id, one.device_key) for one in ids],
            }
        )
        fleet.wait("reported 0.0", len(ids))
        online = time.perf_counter() - started
        path = data.root / "new.rbl"
        path.write_bytes(
            pack(random.Random(1).randbytes(PACKAGE), name="app", version="2.0.0", timestamp=1529386280)
        )
        firmware = admin.upload_firmware(path, product_id)
        started = time.perf_counter()
        admin.create_task(
            product_id, firmware_ids=[firmware["id"]], selection=Selection(everyone=True), version="2.0"
        )
        created = time.perf_counter() - started
        fleet.wait("reported 2.0", len(ids))
        took = time.perf_counter() - started
        metrics = requests.get(facts["http_url"] + "/metrics", timeout=60).text
        fleet.end()
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return {
            "devices": len(ids),
            "online_s": round(online, 1),
            "task_created_s": round(created, 1),
            "campaign_s": round(took, 1),
            "updates_per_s": round(len(ids) / took, 1),
            "peak_memory_mib": round(int(peak[1]) / 1024, 1),
            "event_loop_lag_99_s": quantile(metrics, "cloudsim_event_loop_lag_seconds", 0.99),
        }


def quantile(metrics: str, name: str, share: float) -> float | str:
    """The upper bound of the bucket that `share` of the observations do not exceed."""
    buckets = re.findall(rf'{name}_bucket{{le="([^"]+)"}} (\S+)', metrics)
    total = float(buckets[-1][1])
    bound = next(bound for bound, count in buckets if float(count) >= share * total)
    return float(bound) if bound != "+Inf" else "more"


def in_flight(work: Callable[[int], Any], count: int) -> float:
    """Seconds for `count` coroutines `work(number)`, `AT_ONCE` of them at a time."""

    async def main() -> float:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with places:
                await work(number)

        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(count)))
        return time.perf_counter() - started

    return asyncio.run(main())


async def post(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.read(-1)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:80]
    return answer


def bare(listener: socket.socket, body: bytes) -> None:
    """The baseline: routes that know nothing of a database or a cipher."""

    async def firmware(_request: Request) -> Response:
        return Response(body)

    async def active(request: Request) -> Response:
        await request.body()
        return Response(b"{}")

    app = Starlette(routes=[Route("/fw", firmware), Route("/active", active, methods=["POST"])])
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def requests_per_second(
    data: DataDir, ids: list[Credentials], product: tuple[str, str], options: list[str]
) -> dict[str, Any]:
    path = data.root / "plain.rbl"
    path.write_bytes(
        pack(random.Random(2).randbytes(PACKAGE), name="app", version="3.0.0", timestamp=1529386280)
    )
    size = path.stat().st_size
    with cloud(data, *options) as (_process, facts), socket.create_server(("127.0.0.1", 0)) as listener:
        baseline = multiprocessing.get_context("fork").Process(target=bare, args=(listener, bytes(size)))
        baseline.start()
        plain = f"http://127.0.0.1:{listener.getsockname()[1]}"
        bodies = [
            request_body(product_id=product[0], product_key=product[1], sn=f"SN{n}") for n in range(len(ids))
        ]
        activations = in_flight(lambda n: post(facts["activation_url"], bodies[n]), len(bodies))
        posts = in_flight(lambda n: post(plain + "/active", bodies[n]), len(bodies))
        urls = firmware_urls(data, ids, path, product[0])
        devices = [Device(product[0], one.device_id, one.device_key) for one in ids]
        total = TRANSFERS * size / 1e6

        def get(base: str | None) -> float:
            return in_flight(
                lambda n: download(
                    devices[n % len(urls)], urls[n % len(urls)] if base is None else base + "/fw", size
                ),
                TRANSFERS,
            )

        ours, theirs = get(None), get(plain)
        baseline.terminate()
        baseline.join()
    return {
        "activations_per_s": round(len(bodies) / activations),
        "activations_bare_per_s": round(len(bodies) / posts),
        "activations_ratio": round(posts / activations, 2),
        "firmware_mb_s": round(total / ours, 1),
        "firmware_bare_mb_s": round(total / theirs, 1),
        "firmware_ratio": round(theirs / ours, 2),
    }


def firmware_urls(data: DataDir, ids: list[Credentials], path: Path, product_id: str) -> list[str]:
    """Addresses of one package for some devices, from their task messages."""
    endpoint = data.endpoint()
    assert endpoint is not None
    service = Service(data)  # beside the server: both may write
    chosen = ids[:AT_ONCE]
    firmware = service.upload_firmware(path, product_id)
    service.create_task(
        product_id,
        firmware_ids=[firmware["id"]],
        selection=Selection(tuple(f"SN{n}" for n in range(len(chosen)))),
        version="3.0",
    )
    urls = []
    for one in chosen:
        topic = f"/cloud/{product_id}/{one.device_id}/ota"
        point = {
            "device": one.device_id,
            "vendor": "rtt",
            "data": [{"DP": 1011, "value": {"version": "2.9"}}],
        }
        message, *_ = service.device_message(one.device_id, topic, json.dumps(point).encode())
        urls.append(json.loads(message.payload)["data"][0]["value"]["firmwares"][0]["file_url"])
    service.close()
    return urls


def events_per_second(service: Service, ids: list[Credentials], product_id: str) -> dict[str, Any]:
    """Version reports of the devices, all at once and one by one: with and without group commit."""

    async def main(share: bool) -> float:
        worker = Worker(service.core.store)
        submit = worker.event if share else worker.run

        async def device(one: Credentials, count: int) -> None:
            topic = f"/cloud/{product_id}/{one.device_id}/ota"
            for number in range(count):
                point = {"DP": 1011, "value": {"version": f"0.{number}"}}
                payload = json.dumps({"data": [point]}).encode()
                await submit(service.device_message, one.device_id, topic, payload)

        chosen = ids[:200]
        each = EVENTS // len(chosen)
        started = time.perf_counter()
        await asyncio.gather(*(device(one, each) for one in chosen))
        took = time.perf_counter() - started
        worker.close()
        return each * len(chosen) / took

    grouped, single = asyncio.run(main(True)), asyncio.run(main(False))
    return {"events_per_s": round(grouped), "events_alone_per_s": round(single)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--database", default=None)
    parser.add_argument("--broker", default="embedded", choices=["embedded", "mosquitto"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        data = DataDir(Path(name) / "cloud")
        if arguments.database is not None:
            data.remember_database(arguments.database)
        service = Service(data)
        product_id, product_key, ids = furnish(service, arguments.devices)
        results = events_per_second(service, ids, product_id)
        # The versions that were only claimed.
        with service.core.store.transaction() as session:
            session.connection().exec_driver_sql("UPDATE devices SET version = NULL")
        service.close()
        options = [f"--broker={arguments.broker}"]
        results |= requests_per_second(data, ids[:1000], (product_id, product_key), options)
        data = DataDir(Path(name) / "campaign")
        if arguments.database is None:
            service = Service(data)
            product_id, _, ids = furnish(service, arguments.devices)
            service.close()
        else:
            data.remember_database(arguments.database)
        results |= campaign(data, ids, product_id, options)
    if arguments.json:
        print(json.dumps(results))
        return
    for label, value in results.items():
        print(f"| {label.replace('_', ' ')} | {value} |")


if __name__ == "__main__":
    main()
