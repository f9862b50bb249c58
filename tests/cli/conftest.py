import os
import subprocess
from pathlib import Path

import pytest
from cli_process import COMMAND, Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `cloudsim` with arguments in a temporary directory."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run
