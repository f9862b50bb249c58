"""The example in docs/console.md is run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/console.md"


def test_own_command_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(code, "console.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out == "msh />hello\nHello RT-Thread!\nmsh />\n"
