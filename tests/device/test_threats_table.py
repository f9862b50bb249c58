"""docs/threats.md names tests that exist."""

import re
from fnmatch import fnmatch
from pathlib import Path

TESTS = Path(__file__).parent.parent
TABLE = TESTS.parent / "docs/threats.md"


def test_every_row_names_a_test_that_exists() -> None:
    known = {
        found[1]
        for path in TESTS.rglob("test_*.py")
        for found in re.finditer(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    } | {path.name for path in TESTS.rglob("test_*.py")}
    text = TABLE.read_text()
    rows = [
        line
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| fault or attack")
    ]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(?:[\w/]+/)?(test_[\w.*]+)`", row.rsplit("|", 2)[1])
        assert named, row
        for name in named:
            assert any(fnmatch(each, name) for each in known), name
