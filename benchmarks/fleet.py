"""Fleets of devices against a cloud that costs little, and other MQTT clients at the same job.

    .venv/bin/python benchmarks/fleet.py [--json] [--only NAME] [--large] [--rivals PYTHON]

Every contestant has a process, the cloud another (benchmarks/fleet_sink.py). Memory is what the process
grows by between 5 % of its devices and all of them. Processor time is that of one exchange: a question of
the cloud, the version report at QoS 1, its PUBACK. Compare rows of one run: the machine counts in each.
"""

import argparse
import asyncio
import contextlib
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fleet_rivals import PRODUCT, start_measure

from cloudsdk.tls import TlsSettings
from sim.certs import CertificatePlan, MadeCertificates, make_certificates
from sim.fleet.events import Phase
from sim.fleet.fleet import Fleet, FleetConfig
from sim.fleet.identities import Population, numbered
from sim.fleet.ramps import Linear

HERE: Final = Path(__file__).parent
KEY: Final = "d1234567-89ab-4cde-9f01-23456789abcd"
PATIENCE: Final = 120  # seconds for one line of a process
EXCHANGES: Final = 10_000  # measured of each contestant
ROUNDS: Final = 2  # the better one counts


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    count: int
    rival: str = ""  # of fleet_rivals.py; else our fleet
    loop: str = "asyncio"
    tls: bool = False


CONTESTANTS: Final = (
    Contestant("bare protocol, canned bytes", 2000, "bare"),
    Contestant("cloudsim fleet", 2000),
    Contestant("cloudsim fleet, uvloop", 2000, loop="uvloop"),
    Contestant("cloudsim fleet, TLS", 1000, tls=True),
    Contestant("cloudsim fleet, TLS, uvloop", 1000, loop="uvloop", tls=True),
    Contestant("paho, one selectors loop", 2000, "paho-selectors"),
    Contestant("paho, a thread per client", 300, "paho-threads"),
    Contestant("aiomqtt", 1000, "aiomqtt"),
    Contestant("Locust MqttUser", 300, "locust"),
)
LARGE: Final = (
    Contestant("cloudsim fleet", 10_000),
    Contestant("cloudsim fleet", 18_000),
)


@contextlib.contextmanager
def sink(*more: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    with lines(sys.executable, str(HERE / "fleet_sink.py"), *more) as process:
        yield process, json.loads(answer(process))


@contextlib.contextmanager
def lines(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    return process.stdout.readline() if ready else ""


def ask(process: subprocess.Popen[str], line: str) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(answer(process))
    return found


def run(contestant: Contestant, python: str, tls: MadeCertificates) -> dict[str, Any]:
    row: dict[str, Any] = {"name": contestant.name, "devices": contestant.count}
    server = ("--certificate", str(tls.server.certificate), "--key", str(tls.server.key))
    with sink("--size", "1000", *(server if contestant.tls else ())) as (cloud, ports):
        if contestant.rival:
            command = [python, "-W", "ignore", str(HERE / "fleet_rivals.py"), contestant.rival]
        else:
            command = [sys.executable, __file__, "--fleet", "--loop", contestant.loop]
            command += ["--http", str(ports["http"])]
            command += ["--ca", str(tls.ca.certificate)] if contestant.tls else []
        command += ["--port", str(ports["mqtt"]), "--count", str(contestant.count)]
        with lines(*command) as process:
            line = answer(process)
            if not line:
                return {**row, "error": "did not come up"}
            facts = json.loads(line)
            row["kb_per_device"] = round(facts["memory"] / 1000, 2)
            row["ramp_us_per_device"] = round(facts["ramp_cpu"] * 1e6)
            rounds = max(1, EXCHANGES // contestant.count)
            found = []
            for _ in range(ROUNDS):
                before = ask(process, "")["cpu"]
                took = ask(cloud, f"query {rounds}")
                after = ask(process, "")["cpu"]
                found.append(((after - before) / took["answers"], took["cpu"] / took["answers"]))
            best = min(found)
            row["us_per_exchange"] = round(best[0] * 1e6, 1)
            row["cloud_us_per_exchange"] = round(best[1] * 1e6, 1)
    return row


def campaign(count: int, size: int) -> dict[str, Any]:
    """An upgrade of all devices: how much of the time the engine's process is busy."""
    with sink("--size", str(size)) as (cloud, ports):
        command = [sys.executable, __file__, "--fleet", "--http", str(ports["http"])]
        with lines(*command, "--port", str(ports["mqtt"]), "--count", str(count)) as process:
            answer(process)
            before = ask(process, "")["cpu"]
            took = ask(cloud, "task")
            cpu = ask(process, "")["cpu"] - before
    return {
        "devices": count,
        "package_bytes": size,
        "seconds": round(took["seconds"], 2),
        "mb_per_second": round(count * size / took["seconds"] / 1e6, 1),
        "engine_cpu_ms_per_device": round(cpu / count * 1000, 1),
        "engine_share_of_a_core": round(cpu / took["seconds"], 2),
        "cloud_share_of_a_core": round(took["cpu"] / took["seconds"], 2),
    }


async def our_fleet(http: int, mqtt: int, count: int, ca: str) -> None:
    config = FleetConfig(
        [Population(PRODUCT, numbered("LOAD######", count))],
        {PRODUCT: KEY},
        f"http://127.0.0.1:{http}",
        f"{'mqtts' if ca else 'mqtt'}://127.0.0.1:{mqtt}",
        tls=TlsSettings(ca=Path(ca) if ca else None),
        ramp=Linear(500),
        boot_time=0.1,
    )
    fleet = Fleet(config)
    start_measure(count, lambda: fleet.metrics.phases[Phase.ONLINE])
    await fleet.run()


def table(rows: list[dict[str, Any]]) -> None:
    names = ("devices", "kb_per_device", "ramp_us_per_device", "us_per_exchange", "cloud_us_per_exchange")
    print("| client | " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("|" + " --- |" * (len(names) + 1))
    for row in rows:
        print(
            f"| {row['name']} | " + " | ".join(str(row.get(name, row.get("error"))) for name in names) + " |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="contestants whose name has this in it")
    parser.add_argument("--large", action="store_true", help="10000 and 18000 devices, too")
    parser.add_argument("--rivals", default=sys.executable, help="interpreter that has aiomqtt and Locust")
    for hidden in ("--fleet",):
        parser.add_argument(hidden, action="store_true", help=argparse.SUPPRESS)
    for hidden in ("--http", "--port", "--count"):
        parser.add_argument(hidden, type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--loop", default="asyncio", help=argparse.SUPPRESS)
    parser.add_argument("--ca", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fleet:
        main_of_fleet = our_fleet(options.http, options.port, options.count, options.ca)
        if options.loop == "uvloop":
            import uvloop

            uvloop.run(main_of_fleet)
        else:
            asyncio.run(main_of_fleet)
        return
    wanted = [each for each in (*CONTESTANTS, *(LARGE if options.large else ())) if options.only in each.name]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        today = datetime.now(UTC).replace(tzinfo=None)
        tls = make_certificates(Path(folder), CertificatePlan(), today)
        for each in wanted:
            rows.append(run(each, options.rivals, tls))
            print(rows[-1], file=sys.stderr)
    upgrade = campaign(100, 1_000_000) if not options.only else {}
    if options.json:
        print(json.dumps({"clients": rows, "campaign": upgrade, "at": time.time()}, indent=2))
    else:
        table(rows)
        print(upgrade)


if __name__ == "__main__":
    main()
