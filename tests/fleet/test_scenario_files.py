"""Scenario files: what is accepted, and every refusal with its line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudsdk.errors import UsageError
from sim.cli.main import cli
from sim.scenario import models
from sim.scenario.errors import ScenarioError
from sim.scenario.explain import Needs, explain
from sim.scenario.source import MAX_FILE, find_scenario, load_scenario, parse_scenario, ready_names
from sim.scenario.units import duration, parse_duration, parse_share

ROOT = Path(__file__).parent.parent.parent
READY = ("badpackages", "flapping", "herd", "powercuts", "smoke", "soak", "staged", "storm")
GOOD = """\
schema_version: 1
name: good
cloud: {reference: {}}
populations:
  - name: lamps
    count: 3
    sn: "L###"
phases:
  - name: on
    duration: 10s
    behaviours:
      - {do: power_on, ramp: "linear:5/s"}
thresholds:
  - {metric: online, at_least: 99%}
"""


def problems(text: str, folder: Path = Path()) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text.encode(), "f.yaml", folder)
    assert caught.value.exit_status == 2
    return [str(each) for each in caught.value.problems]


def test_a_good_file_is_accepted() -> None:
    found = parse_scenario(GOOD.encode(), "f.yaml", Path())
    assert (found.count, found.longest, found.thresholds[0].bound) == (3, 10.0, 0.99)


@pytest.mark.parametrize("name", READY)
def test_ready_scenarios_are_valid_and_explained(name: str) -> None:
    assert ready_names() == list(READY)
    found = load_scenario(find_scenario(f"{name}.yaml"))
    text = "\n".join(explain(found))
    assert found.name == name
    assert all(phase.name in text for phase in found.phases)
    assert all(threshold.words in text for threshold in found.thresholds)
    assert f"{Needs.of(found).files} open files" in text


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("schema_version: 1", "schema_version: 2", 1, "schema_version"),
        ("name: good", "name: 5", 2, "put it in quotes"),
        ("name: good", "nme: good", 2, "no key here"),
        ("{reference: {}}", "{}", 3, "either reference"),
        ("{reference: {}}", "{reference: {broker: rabbit}}", 3, "broker"),
        ("count: 3", "count: three", 6, "count"),
        ("count: 3", "count: 0", 6, "count"),
        ("count: 3", "count: 5000", 5, "use more '#'"),
        ("count: 3", "count: 3\n    board: toaster", 7, "no board 'toaster'"),
        ("count: 3", "count: 3\n    profiles: {manual: 50%}", 5, "do not make 100%"),
        ("count: 3", "count: 3\n    profiles: {old: 100%}", 5, "no profile 'old'"),
        ('sn: "L###"', 'identities: "none.csv"', 7, "cannot read"),
        ('sn: "L###"', "version: 1.0.0", 5, "either sn or identities"),
        ("duration: 10s", "duration: 10", 10, "write 500ms"),
        ("duration: 10s", "duration: 0s", 10, "duration"),
        ("duration: 10s", "duration: 10s\n    duration: 5s", 11, "comes twice"),
        ("do: power_on", "do: power_up", 12, "no behaviour 'power_up'"),
        ("do: power_on, ", "", 12, "do is missing"),
        ("linear:5/s", "linear:0/s", 12, "is no ramp"),
        ("do: power_on, ", "do: power_on, populations: [cats], ", 12, "no population 'cats'"),
        ("do: power_on, ", "do: power_on, share: 0.5, ", 12, "write 0% to 100%"),
        ("at_least: 99%", "at_least: 101%", 14, "write 0% to 100%"),
        ("at_least: 99%", "at_least: 99%, at_most: 2%", 14, "either at_least or at_most"),
        ("metric: online", "metric: happiness", 14, "metric"),
        ("metric: online", "metric: activation", 14, "percentile"),
        ("at_least: 99%", "at_least: 99%, phase: off", 14, "no phase 'off'"),
        ("name: lamps", "name: &a lamps", 5, None),
        ("cloud: {reference: {}}", "cloud: &a {reference: *a}", 3, "anchors"),
        ("count: 3", "count: 2026-11-22", 6, "put it in quotes"),
        ("count: 3", f"count: {'9' * 5000}", 6, "no number"),
        ("count: 3", "count: .nan", 6, "no number"),
        ("phases:", "phases: [", 9, "not YAML"),
        ("name: good", "name: good\n? [a]\n: 1", 3, "a key must be text"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(old: str, new: str, line: int, words: str | None) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    if words is None:
        parse_scenario(text.encode(), "f.yaml", Path())
        return
    found = problems(text)
    assert all("\n" not in each and each.startswith("f.yaml") for each in found)
    assert any(each.startswith(f"f.yaml, line {line}: ") and words in each for each in found), found


def test_all_problems_are_told_and_nothing_that_only_follows() -> None:
    found = problems(GOOD.replace("count: 3", "count: x").replace("10s", "10").replace("99%", "x"))
    assert [re.findall(r"line (\d+)", each) for each in found] == [["6"], ["10"], ["14"]]


def test_one_serial_number_belongs_to_one_device() -> None:
    again = "  - {name: others, count: 9, sn: 'L00#'}\nphases:"
    assert problems(GOOD.replace("phases:", again)) == [
        "f.yaml, line 8: serial number 'L001' is also of population lamps: use another pattern"
    ]


def test_identities_come_from_a_file_beside_the_scenario(tmp_path: Path) -> None:
    text = GOOD.replace('sn: "L###"', "identities: sns.csv")
    (tmp_path / "sns.csv").write_text("sn\nA\nB\nB\n")
    assert "'B' comes twice" in problems(text, tmp_path)[0]
    (tmp_path / "sns.csv").write_text("sn\nA\nB\nC\n")
    assert parse_scenario(text.encode(), "f.yaml", tmp_path).count == 3


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"- 1", b"[" * 5000, b"a: " * 100, b"x" * (MAX_FILE + 1)]
)
def test_garbage_is_refused_in_a_line(content: bytes) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(content, "f.yaml", Path())
    assert "\n" not in str(caught.value)


def test_upgrades_need_a_cloud_that_can_be_told() -> None:
    foreign = "{foreign: {activation_url: 'http://h', mqtt_url: 'mqtt://h', product_id: p}}"
    text = GOOD.replace("{reference: {}}", foreign)
    parse_scenario(text.encode(), "f.yaml", Path())
    upgrade = text.replace("{do: power_on", "{do: upgrade, version: 2.0.0}\n      - {do: power_on")
    assert "upgrade needs a reference cloud" in problems(upgrade)[0]


def test_an_unknown_name_lists_the_ready_ones() -> None:
    with pytest.raises(UsageError, match="badpackages, flapping"):
        find_scenario("nosuch")


def test_the_published_schema_is_that_of_the_models() -> None:
    published = json.loads((ROOT / "docs/scenario.schema.json").read_text())
    assert published == models.json_schema(), "cloudsim scenario schema > docs/scenario.schema.json"


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs/fleet-scenarios.md").read_text()
    _, _, rest = text.partition("<!-- keys -->\n")
    assert rest.partition("<!-- end of keys -->")[0] == models.key_tables()


def test_units() -> None:
    assert [parse_duration(text) for text in ("250ms", "1.5s", "2m", "1h")] == [0.25, 1.5, 120.0, 3600.0]
    assert parse_share("12.5%") == 0.125
    assert [duration(seconds) for seconds in (0.0123, 12.5, 60, 3900)] == [
        "12.3 ms",
        "12.5 s",
        "1 min",
        "1 h 5 min",
    ]


def test_commands(tmp_path: Path) -> None:
    runner = CliRunner()
    bad = tmp_path / "bad.yaml"
    bad.write_text(GOOD.replace("count: 3", "count: x").replace("99%", "x"))
    refused = runner.invoke(cli, ["scenario", "validate", str(bad)])
    assert (refused.exit_code, len(refused.stdout.splitlines())) == (2, 2)
    as_json = json.loads(runner.invoke(cli, ["scenario", "validate", str(bad), "--json"]).stdout)
    assert (as_json["ok"], [each["line"] for each in as_json["problems"]]) == (False, [6, 14])
    for command in (["validate", "smoke"], ["explain", "storm"], ["show", "herd"], ["list"], ["schema"]):
        assert runner.invoke(cli, ["scenario", *command]).exit_code == 0, command
    shown = runner.invoke(cli, ["scenario", "show", "herd"]).stdout
    assert parse_scenario(shown.encode(), "herd", Path()).name == "herd"


def test_a_scenario_and_the_options_of_a_plain_run_exclude_each_other() -> None:
    result = CliRunner().invoke(cli, ["fleet", "run", "smoke", "--count", "5", "--board", "art-pi"])
    assert isinstance(result.exception, UsageError)
    assert "--count, --board" in str(result.exception)
