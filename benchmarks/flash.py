"""The flash model against a plain bytearray that knows no rules: what emulation costs.

    .venv/bin/python benchmarks/flash.py [--json]

Each cell is the best of many runs in processor time; the contestants take turns, so that a busy machine slows
all of them.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sim.flash.faults import FaultPlan
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages
from sim.flash.parts import part_named
from sim.flash.strict import Strict

PART: Final = part_named("w25q128").geometry("nor_flash")
SIZE: Final = 1024 * 1024  # bytes programmed, read or erased in one run
PAGE: Final = PART.page_size
BLOCK: Final = PART.block_size
ROUNDS: Final = 30
DATA: Final = random.Random(1).randbytes(SIZE)
PIECES: Final = [(at, DATA[at : at + PAGE]) for at in range(0, SIZE, PAGE)]

Row = dict[str, Any]
Contestants = dict[str, Callable[[], object]]


def best_times(contestants: Contestants) -> dict[str, float]:
    """The shortest processor time of each in seconds."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(ROUNDS):
        for name, call in contestants.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def program(flash: NorFlash) -> None:
    for offset, data in PIECES:
        flash.write(offset, data)


def program_new(**kind: Any) -> None:
    program(NorFlash(PART, **kind))


def read(flash: NorFlash) -> None:
    for offset in range(0, SIZE, PAGE):
        flash.read(offset, PAGE)


def erase(flash: NorFlash) -> None:
    for offset in range(0, SIZE, BLOCK):
        flash.erase(offset, BLOCK)


def plain_program() -> None:
    cells = bytearray(b"\xff") * SIZE
    for offset, data in PIECES:
        cells[offset : offset + PAGE] = data


def plain_and(cells: bytearray) -> None:
    for offset, data in PIECES:
        old = int.from_bytes(cells[offset : offset + PAGE])
        cells[offset : offset + PAGE] = (old & int.from_bytes(data)).to_bytes(PAGE)


def plain_read(cells: bytearray) -> None:
    for offset in range(0, SIZE, PAGE):
        bytes(cells[offset : offset + PAGE])


def plain_erase(cells: bytearray) -> None:
    for offset in range(0, SIZE, BLOCK):
        cells[offset : offset + BLOCK] = b"\xff" * BLOCK


def measure() -> tuple[list[Row], dict[str, float]]:
    """MB/s of each action, and what a copy of a device costs in microseconds."""
    flash, cells = NorFlash(PART), bytearray(b"\xf0") * SIZE
    flash.write(0, bytes(cells))
    actions: dict[str, Contestants] = {
        "program, blank": {
            "device": program_new,
            "faults": partial(program_new, faults=FaultPlan()),
            "strict": partial(program_new, strict=Strict.REPORT),
            "bytearray": plain_program,
        },
        "program, AND": {"device": partial(program, flash), "bytearray": partial(plain_and, cells)},
        "read": {"device": partial(read, flash), "bytearray": partial(plain_read, cells)},
        "erase": {"device": partial(erase, flash), "bytearray": partial(plain_erase, cells)},
    }
    rows = []
    for action, contestants in actions.items():
        times = best_times(contestants)
        speeds = {name: round(SIZE / taken / 1e6, 1) for name, taken in times.items()}
        share = round(times["bytearray"] / times["device"], 3)
        rows.append(
            {"action": action, "device": speeds["device"], "bytearray": speeds["bytearray"], "share": share}
            | {name: speeds.get(name, "") for name in ("faults", "strict")}
        )
    return rows, measure_copies()


def measure_copies() -> dict[str, float]:
    pages = MemoryPages(PART.size)
    pages.write(0, DATA)
    whole = bytearray(PART.size)
    calls: Contestants = {"fork": pages.fork, "snapshot": pages.snapshot, "bytearray": whole.copy}
    return {name: round(taken * 1e6, 1) for name, taken in best_times(calls).items()}


def table(rows: list[Row]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names)] + [[str(row[name]) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="The flash model against a bytearray")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    wants_json = parser.parse_args().json
    rows, copies = measure()
    if wants_json:
        print(json.dumps({"speeds": rows, "copies": copies}))
        return 0
    print(f"MB/s in {PAGE}-byte pages and {BLOCK}-byte blocks\n\n{table(rows)}\n")
    print("copies, us:", ", ".join(f"{name} {taken}" for name, taken in copies.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
