"""How long the first test of a project takes: a reference cloud, a device that is online in it, one command.

    .venv/bin/python benchmarks/first_test.py [--runs N] [--json]

Each run is a process of its own with an empty directory. `test` is what pytest reports, set-up (with every
import) and teardown included, `process` the whole of pytest; `upgrade` is the test of the README. The times
are the medians.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).parent.parent
TESTS: Final = {
    "first": 'def test_first(device):\n    assert "tshell" in device.run("ps")\n',
    "upgrade": "",  # filled from the README
    "virtual": (
        "import pytest\n\n"
        '@pytest.mark.cloudsim(clock="virtual")\n'
        "def test_virtual(cloud, device, rbl):\n"
        '    cloud.upgrade(device, app=rbl("app", "2.0.0"))\n'
    ),
}
PLUGIN: Final = () if entry_points(group="pytest11", name="cloudsim") else ("-p", "sim.pytest_plugin")


def readme_test() -> str:
    found = re.search(r"^```python test\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert found is not None
    return found[1]


def run(code: str, bytecode: Path) -> tuple[float, float]:
    """Seconds of the test and of the process. Bytecode is kept, as an installation keeps it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_it.py").write_text(code)
        begun = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                *PLUGIN,
                "--junit-xml=report.xml",
                "-p",
                "no:cacheprovider",
            ],
            cwd=directory,
            env={**environment, "PYTHONPYCACHEPREFIX": str(bytecode)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        process = time.perf_counter() - begun
        (case,) = ElementTree.parse(Path(directory, "report.xml")).iter("testcase")  # noqa: S314 - our own
        return float(case.attrib["time"]), process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, code in {**TESTS, "upgrade": readme_test()}.items():
            run(code, Path(directory))
            times = [run(code, Path(directory)) for _ in range(options.runs)]
            test, process = (statistics.median(column) for column in zip(*times, strict=True))
            found[name] = {"test": round(test, 3), "process": round(process, 3)}
    if options.json:
        print(json.dumps(found))
        return
    print("| test | test, s | process, s |\n| --- | --- | --- |")
    for name, seconds in found.items():
        print(f"| {name} | {seconds['test']:.2f} | {seconds['process']:.2f} |")


if __name__ == "__main__":
    main()
