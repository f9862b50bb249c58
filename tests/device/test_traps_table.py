"""docs/traps.md names tests that exist, and every switch of a profile."""

import re
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

from cloudsdk.profile import Profile

TESTS = Path(__file__).parent.parent
TABLE = TESTS.parent / "docs/traps.md"


def test_every_trap_has_a_test_and_every_switch_a_trap() -> None:
    paths = list(TESTS.rglob("test_*.py"))
    known = {path.name for path in paths}
    for path in paths:
        known.update(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    table, _, _ = TABLE.read_text().partition("\n## ")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 40
    switches: set[str] = set()
    for _trap, section, switch, tests in rows:
        assert re.fullmatch(r"summary|[1-6](\.\d)?( item \d)?(, [1-6](\.\d)?)*", section), section
        switches.update(re.findall(r"`(\w+)`", switch))
        named = re.findall(r"`(test_[\w.*]+)`", tests)
        assert named, tests
        for name in named:
            assert any(fnmatch(each, name) for each in known), name
    assert switches == {field.name for field in fields(Profile)} - {"name"}
