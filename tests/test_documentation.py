"""Every command the documentation shows is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PACKAGE = ROOT / "tests/data/rbl/official/d_100k_fw__quicklz__aes.rbl"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def bash(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_guide_runs_from_top_to_bottom(tmp_path: Path) -> None:
    shutil.copy(PACKAGE, tmp_path / "app.rbl")
    script = "".join(blocks("sh guide"))
    assert "cloud task create" in script
    result = bash("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "app.bin").read_bytes() == (ROOT / "tests/data/rbl/raw/d_100k_fw.bin").read_bytes()
    assert "fw ver: 1.0.3" in (tmp_path / "console.txt").read_text()


def test_main_job_command_runs(tmp_path: Path) -> None:
    (command,) = blocks("sh setup")
    result = bash(f"{command.strip()} --quiet", ROOT)
    assert result.returncode == 0, result.stderr
    assert "│ filesystem │" in result.stdout


def test_test_command_is_the_one_ci_runs() -> None:
    (command,) = blocks("sh")
    assert f"exec {command.strip()}" in (ROOT / ".ci/run").read_text()


def test_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.endswith("jump\n")


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
