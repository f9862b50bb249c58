"""The order of versions (platform 8.1), as docs/cloud-tasks.md states it."""

import itertools

import pytest

from sim.cloud.versions import is_higher

RISING = (
    ("1.9", "1.10"),
    ("0.0", "0.1", "1", "1.0.1", "1.1", "2"),
    ("2.0-dev", "2.0-snapshot", "2.0-alpha1", "2.0-beta2", "2.0-beta10", "2.0-rc1", "2.0"),
    ("1.0.2", "1.0.2a", "1.0.2b", "1.0.3"),
    ("1.0", "1.0-hotfix1", "1.0-hotfix2", "1.1-rc1"),
    ("", "1"),
    ("20260101", "20260102"),
    ("1.0-3", "1.0-12"),
)
EQUAL = (
    ("1.2", "1.2.0"),
    ("v1.2", "1.2"),
    ("V1.2", "v1.2"),
    ("1.0-RC1", "1.0_rc1"),
    ("1.0-pre", "1.0-preview"),
)


@pytest.mark.parametrize("rising", RISING)
def test_versions_rise(rising: tuple[str, ...]) -> None:
    for lower, higher in itertools.combinations(rising, 2):
        assert is_higher(higher, lower), (lower, higher)
        assert not is_higher(lower, higher), (lower, higher)


@pytest.mark.parametrize("pair", EQUAL)
def test_same_version_written_differently(pair: tuple[str, str]) -> None:
    assert not is_higher(*pair)
    assert not is_higher(*reversed(pair))


def test_any_text_can_be_compared() -> None:
    texts = ("", "v", "...", "abc", "1.", ".1", "?", "9" * 24, "-1", "1..2", "rc")
    for one, other in itertools.product(texts, repeat=2):
        assert not (is_higher(one, other) and is_higher(other, one))
