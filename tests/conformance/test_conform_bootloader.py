"""The simulated bootloaders pass, and one with a mistake fails the cases that are for it."""

import functools
import shlex
import sys
from pathlib import Path

import pytest
from toy_bootloader import boot

from sim.board import open_board
from sim.bootloader.outcome import BootOutcome
from sim.conformance.bootloader import SUITE, BootBench, BootTarget, launcher
from sim.conformance.bootloader.bench import Boot, Launch
from sim.conformance.results import Report, Verdict
from sim.conformance.runner import Plan, run_cases
from sim.conformance.xfails import parse_xfails
from sim.flash.layout import load_board, with_bootloader

DATA = Path(__file__).parents[1] / "data/rbl"
XFAILS = Path(__file__).parents[2] / "docs/conformance/qboot.xfails"


def conform(launch: Launch, only: list[str], kind: str = "rt_ota", vectors: Path | None = None) -> Report:
    target = BootTarget(with_bootloader(load_board("iot-board"), kind), launch, vectors=vectors)
    plan = Plan("bootloader", "test", target.abilities)
    return run_cases(SUITE.selected(only), lambda scope: BootBench(scope, target), plan)


def broken(report: Report) -> dict[str, str]:
    return {
        result.id: result.detail
        for result in report.results
        if result.verdict not in (Verdict.PASS, Verdict.NOT_RUN)
    }


def in_process(_scope: object, directory: Path, _images: object) -> Boot:
    console: list[str] = []
    with open_board(directory) as board:
        result = board.boot(console.append)
    return Boot(result.outcome is BootOutcome.JUMP, "".join(console))


def expected(kind: str) -> set[str]:
    return set(parse_xfails(XFAILS.read_text(), SUITE.ids)) if kind == "qboot" else set()


@pytest.mark.parametrize("kind", ["rt_ota", "qboot"])
def test_simulated_bootloaders_pass(kind: str) -> None:
    only = ["install-[pq]*", "install-once", "power*", "refuse-[wt]*", "console-*", "boot-*"]
    report = conform(in_process, only, kind)
    assert set(broken(report)) == expected(kind)
    assert report.counts[Verdict.PASS] > 10


@pytest.mark.full
@pytest.mark.parametrize("kind", ["rt_ota", "qboot"])
def test_simulated_bootloaders_pass_everything(kind: str) -> None:
    report = conform(in_process, [], kind, DATA)
    assert set(broken(report)) == expected(kind)


def test_a_bootloader_is_a_command() -> None:
    command = f"{shlex.quote(sys.executable)} -m sim.conformance.bootloader.reference {{directory}}"
    report = conform(launcher(command), ["install-quicklz", "boot-no-application"])
    assert broken(report) == {}


RAW = """
import sys
from pathlib import Path
onchip, nor = (Path(name) for name in sys.argv[1:])
assert (onchip.stat().st_size, nor.stat().st_size) == (512 << 10, 16 << 20)
flash = bytearray(onchip.read_bytes())
package = nor.read_bytes()[0x80000:][:20096]
flash[0x10000:] = package[96:].ljust(0x70000 - 96, bytes([255])) + package[:96]
onchip.write_bytes(flash)
"""


def test_a_foreign_bootloader_gets_raw_images(tmp_path: Path) -> None:
    script = tmp_path / "bootloader.py"
    script.write_text(RAW)
    report = conform(launcher(f"{shlex.quote(sys.executable)} {script} {{images}}"), ["install-plain"])
    assert broken(report) == {}


FAULTS: dict[str, tuple[set[str], set[str]]] = {
    "": (set(), {case.id for case in SUITE.cases if not {"qboot", "vectors"} & set(case.needs)}),
    "header-crc": ({"refuse-header-crc"}, {"refuse-body-crc"}),
    "body-crc": ({"refuse-body-crc"}, {"refuse-flipped-bit"}),
    "body-crc+hash": ({"refuse-truncated", "refuse-flipped-bit"}, {"refuse-header-crc"}),
    "any-magic": ({"refuse-rubbish"}, {"install-plain"}),
    "any-partition": ({"refuse-unknown-partition"}, {"install-other-partition"}),
    "app-only": ({"install-other-partition"}, {"install-plain"}),
    "size": ({"refuse-too-large"}, {"install-plain"}),
    "no-fastlz": ({"install-fastlz", "install-fastlz-aes"}, {"install-quicklz"}),
    "no-aes": ({"install-aes", "install-quicklz-aes"}, {"install-plain"}),
    "stream": ({"refuse-corrupt-stream", "refuse-wrong-key", "refuse-algorithm"}, {"refuse-wrong-hash"}),
    "hash": ({"refuse-wrong-hash"}, {"refuse-body-crc"}),
    "reinstalls+keeps-download": ({"install-once"}, {"install-plain"}),
    "newer-only": ({"install-previous-version"}, {"install-back-to-back"}),
    "stops-half-way": ({"power-cut-reentry"}, {"install-plain"}),
    "keeps-download": ({"download-released"}, {"install-plain"}),
    "jumps-blindly": ({"boot-no-application"}, {"boot-application"}),
    "never-jumps": ({"boot-application"}, {"boot-no-application"}),
    "quiet": ({"console-rt-ota"}, {"install-plain"}),
    "whole-chunks": ({"install-odd-size"}, {"refuse-body-crc"}),
    "no-header": ({"install-plain"}, {"refuse-body-crc"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_mistake_fails_its_case(fault: str) -> None:
    fail, hold = FAULTS[fault]
    toy = functools.partial(_toy, fault)
    report = conform(toy, [*fail, *hold])
    failed = {result.id for result in report.results if result.verdict is Verdict.FAIL}
    assert failed == fail, broken(report)
    assert set(broken(report)) == fail


def _toy(fault: str, _scope: object, directory: Path, _images: object) -> Boot:
    return boot(directory, fault.split("+"))
