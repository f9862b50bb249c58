"""How fast the power-cut laboratory cuts: an upgrade of a 448 KiB application, AES and QuickLZ.

    .venv/bin/python benchmarks/powercut.py [--cuts N] [--json]

`sweep` judges N cuts at page programs and block erases, drawn from all of them, in one process. `from the
start` runs some of the same cuts the simple way: power on, arm the cut, run up to it, recover. `memory` is
the peak of the process after a tenth of the cuts and after all of them.
"""

import argparse
import json
import resource
import sys
import time
from typing import Any, Final

from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from flash_images import samples
from sim.board import furnish, make_board
from sim.faults.powercut.model import Point
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.upgrade import Upgrade
from sim.flash.layout import load_board
from sim.flash.pages import MemoryPages

RAW_SIZE: Final = 448 * 1024 - 2048  # bytes: what the partition takes beside the header's block
SIMPLE: Final = 40  # cuts that are run from the start


def subject() -> Upgrade:
    layout = load_board("iot-board")
    pages = {device.name: MemoryPages(device.size) for device in layout.devices}
    furnish(make_board(layout, dict(pages)), app_version="1.0.0")
    raw = samples.application("2.0.0", link_address=layout.app.link_address, size=RAW_SIZE)
    package = pack(
        raw,
        name="app",
        version="2.0.0",
        timestamp=1600000000,
        compression=Compression.QUICKLZ,
        encryption=Encryption.AES256,
        key=DEFAULT_KEY,
        iv=DEFAULT_IV,
    )
    return Upgrade(layout, pages, [package])


def peak() -> int:
    """Peak resident memory of the process in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(cuts: int) -> dict[str, Any]:
    laboratory = Laboratory(subject(), SweepOptions(fine=True, points=cuts))
    sites, _ = laboratory.dry_run()
    plan = laboratory.plan(sites)
    points: list[Point] = []
    peaks: list[int] = []

    def report(point: Point) -> None:
        points.append(point)
        if len(points) == plan.armed // 10:
            peaks.append(peak())

    start = time.perf_counter()
    laboratory.sweep(plan, report)
    seconds = time.perf_counter() - start
    peaks.append(peak())
    start = time.perf_counter()
    some = points[:: max(1, len(points) // SIMPLE)][:SIMPLE]
    for point in some:
        laboratory.replay(point.schedule, lambda _text: None)
    simple = (time.perf_counter() - start) / len(some)
    return {
        "operations": len(sites),
        "cuts": len(points),
        "bad": sum(not point.judgement.verdict.good for point in points),
        "seconds": round(seconds, 1),
        "cuts_per_second": round(len(points) / seconds),
        "from_the_start_per_second": round(1 / simple, 1),
        "ratio": round(simple * len(points) / seconds, 1),
        "memory_kib_after_a_tenth": peaks[0],
        "memory_kib": peaks[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.cuts)
    if arguments.json:
        json.dump(result, sys.stdout)
        print()
        return
    for name, value in result.items():
        print(f"{name.replace('_', ' '):<28}{value:>10}")


if __name__ == "__main__":
    main()
