"""Which implementation a process takes."""

import os
import subprocess
import sys

import pytest
from codec_implementations import compiler

SHOW = """
from cloudsdk.ota.codecs import fastlz, fnv, implementation, quicklz
raw = b"firmware" * 50
assert quicklz.decompress(quicklz.compress(raw), 400) == fastlz.decompress(fastlz.compress(raw), 400) == raw
functions = (quicklz.compress_framed, fastlz.compress_framed, fnv.fnv1a32)
print(implementation(), *sorted({function.__module__.split(".")[-2] for function in functions}))
"""
WITHOUT = "import sys; sys.modules['cloudsdk.ota.codecs.{}'] = None\n"


def run(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "CLOUDSIM_PURE"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


@pytest.mark.parametrize("value", ["", "0"])
def test_the_core_is_taken_where_it_can_be_built(value: str) -> None:
    expected = "c native" if compiler() or os.environ.get("CI") else "python pure"
    assert run(SHOW) == run(SHOW, CLOUDSIM_PURE=value) == expected


def test_the_variable_forces_the_twin() -> None:
    assert run(SHOW, CLOUDSIM_PURE="1") == "python pure"


@pytest.mark.parametrize("part", ["_core", "_calls"])
def test_the_twin_is_taken_without_the_core(part: str) -> None:
    assert run(WITHOUT.format(part) + SHOW) == "python pure"


def test_importing_the_codecs_loads_no_compiler_tools() -> None:
    code = "import sys, cloudsdk.ota.codecs.quicklz; print({'cffi', 'setuptools'} & set(sys.modules))"
    assert run(code) == "set()"
