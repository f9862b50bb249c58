"""Running `cloudsim` as a user does: a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Cli = Callable[..., subprocess.CompletedProcess[str]]

#: `cloudsim` of the environment the tests run in.
COMMAND = str(Path(sys.executable).parent / "cloudsim")


def one_line_error(result: subprocess.CompletedProcess[str], status: int, code: str) -> str:
    """The one line on standard error; checks that it is one, and its code and the exit status."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("cloudsim: error: ")
    assert lines[0].endswith(f"[{code}]"), lines[0]
    assert result.returncode == status
    return lines[0]
