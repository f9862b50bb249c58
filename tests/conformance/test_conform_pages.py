"""The pages of docs/conformance say what the cases say."""

from pathlib import Path
from typing import Any

import pytest

from sim.conformance import bootloader, cloud, device
from sim.conformance.case import Suite
from sim.conformance.reports import page
from sim.conformance.xfails import parse_xfails

PAGES = Path(__file__).parents[2] / "docs/conformance"
SUITES: list[Suite[Any]] = [cloud.SUITE, device.SUITE, bootloader.SUITE]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_case_has_its_page_text(suite: Suite[Any]) -> None:
    """After a change: `python -m sim.conformance.pages`."""
    assert (PAGES / f"{suite.name}.md").read_text() == page(suite)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_case_has_a_reason_and_a_source(suite: Suite[Any]) -> None:
    assert len(suite.cases) >= 25
    for case in suite.cases:
        assert case.reason.endswith("."), case.id
        assert case.source, case.id
        assert case.id == case.id.lower().replace("_", "-").replace(" ", "-")


@pytest.mark.parametrize(
    ("suite", "name"),
    [
        (cloud.SUITE, "mosquitto"),
        (bootloader.SUITE, "qboot"),
        (device.SUITE, "manual"),
        (device.SUITE, "v2.0.0"),
    ],
)
def test_files_of_expected_failures_can_be_read(suite: Suite[Any], name: str) -> None:
    assert parse_xfails((PAGES / f"{name}.xfails").read_text(), suite.ids)
