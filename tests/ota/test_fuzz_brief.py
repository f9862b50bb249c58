"""A few seconds of scripts/fuzz.sh, and the proof that it would find something."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from codec_implementations import compiler
from rbl_vectors import DATA

ROOT = Path(__file__).parent.parent.parent
CORE = ROOT / "cloudsdk/ota/codecs/core.c"


def fuzz(*arguments: str, core: Path = CORE) -> subprocess.CompletedProcess[str]:
    if not compiler() and not os.environ.get("CI"):
        pytest.skip("no C compiler here")
    return subprocess.run(
        ["scripts/fuzz.sh", "--core-only", "--seed", "1", *arguments],
        cwd=ROOT,
        env=os.environ | {"FUZZ_CORE": str(core), "FUZZ_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_is_found_in_the_core() -> None:
    result = fuzz("--seconds", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "mutations" in result.stdout


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("if (raw_capacity - done < run)", "if (0)"),  # FastLZ: literals past the output
        ("uint8_t last[2 * QLZ_READ_AHEAD];", "uint8_t last[QLZ_READ_AHEAD + 1];"),  # QuickLZ: past the input
    ],
)
def test_a_missing_check_is_found(check: str, without: str, tmp_path: Path) -> None:
    source = CORE.read_text(encoding="utf-8")
    assert source.count(check) == 1
    planted = tmp_path / "core.c"
    planted.write_text(source.replace(check, without), encoding="utf-8")
    result = fuzz("--seconds", "1", core=planted)
    assert result.returncode != 0
    assert "AddressSanitizer" in result.stderr or "runtime error" in result.stderr


def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_packages", ROOT / "tests/fuzz/fuzz_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_atheris_target_survives_recorded_and_damaged_packages() -> None:
    if not compiler() and not os.environ.get("CI"):
        pytest.skip("no C compiler here")
    module = harness()
    rng = random.Random(2)
    packages = [path.read_bytes()[:3000] for path in sorted(DATA.rglob("*.rbl"))]
    targets = module.load()
    assert tuple(targets) == module.TARGET_NAMES
    for package in packages:
        damaged = bytearray(package)
        damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
        for data in (package, bytes(damaged), package[100:], package[: rng.randrange(len(package))]):
            for target in targets.values():
                target(data)
