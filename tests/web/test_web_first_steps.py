"""The command that the console shows, as it is pasted into a shell."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sim.cloud.web.pages.first_steps import run_command
from sim.cloud.web.visit import Addresses

ADDRESSES = Addresses(
    "http://127.0.0.1:8090/devices/active", "http://127.0.0.1:8090", "mqtt://127.0.0.1:1883"
)


def pasted(directory: Path, sn: str) -> list[list[str]]:
    """The arguments of every `cloudsim` that a shell starts."""
    tool = directory / "bin" / "cloudsim"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@" --end--\n')
    tool.chmod(0o755)
    visit = cast(Any, SimpleNamespace(cloud=SimpleNamespace(addresses=ADDRESSES)))
    product = cast(Any, {"product_id": "0123456789abcdef"})
    done = subprocess.run(
        ["/bin/sh"],
        input=run_command(visit, product, sn),
        env={**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stderr == ""
    return [call.split("\n")[:-1] for call in done.stdout.split("--end--\n")[:-1]]


@pytest.mark.parametrize(
    ("sn", "board"),
    [
        ("SN0001", "SN0001"),
        ("-rf", "board"),
        ("../up", "board"),
        ("two words", "board"),
        ("x'; touch done; '$(touch done)`touch done`", "board"),
    ],
)
def test_a_shell_takes_the_command_as_it_is_whatever_the_sn(tmp_path: Path, sn: str, board: str) -> None:
    new, run = pasted(tmp_path, sn)
    assert new == ["board", "new", board]
    assert run == [
        *("device", "run", board, f"--sn={sn}", "--product-id", "0123456789abcdef"),
        *("--activation-url", ADDRESSES.activation_url, "--mqtt-url", ADDRESSES.mqtt_url),
    ]
    assert not (tmp_path / "done").exists()
