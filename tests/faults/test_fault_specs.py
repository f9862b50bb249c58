"""Faults as lines and as YAML."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.route import Link
from sim.faults.network import (
    Direction,
    Duplicates,
    FaultRule,
    FaultSet,
    Span,
    Stall,
    load_faults,
    parse_fault,
    parse_faults,
)
from sim.faults.network.errors import FaultSpecError
from sim.faults.network.rules import Ending, draw
from sim.faults.network.specs import format_fault

FAULTS = "latency, bandwidth, slice, reset, limit, half-open, timeout, slow-close, duplicate"
KEYS = (
    "link, direction, share, latency, jitter, bandwidth, slice, pause, reset, limit, half-open, timeout, "
    "slow-close, duplicate"
)
DOWN, UP = Direction.DOWN, Direction.UP


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("latency=200ms,jitter=50ms", FaultRule(latency=0.2, jitter=0.05)),
        ("http:bandwidth=16KB/s", FaultRule(link=Link.HTTP, bandwidth=16_000)),
        ("all:bandwidth=1MiB/s", FaultRule(bandwidth=1_048_576)),
        ("reset@50KB", FaultRule(reset=Span(50_000, 50_000))),
        ("reset", FaultRule(reset=Span(0, 0))),
        ("mqtt:reset@1KB..2KiB, share=0.3, down",
         FaultRule(link=Link.MQTT, reset=Span(1000, 2048), share=0.3, direction=DOWN)),
        ("limit=1MB", FaultRule(limit=Span(10**6, 10**6))),
        ("slice=7", FaultRule(slice=Span(7, 7))),
        ("slice=1..7,pause=1ms", FaultRule(slice=Span(1, 7), pause=0.001)),
        ("shell:half-open@10,up", FaultRule(link=Link.SHELL, half_open=Span(10, 10), direction=UP)),
        ("log:half-open", FaultRule(link=Link.LOG, half_open=Span(0, 0))),
        ("timeout=3s", FaultRule(timeout=Stall(3.0))),
        ("timeout=1.5s@10KB..20KB", FaultRule(timeout=Stall(1.5, Span(10_000, 20_000)))),
        ("slow-close=2s", FaultRule(slow_close=2.0)),
        ("duplicate", FaultRule(duplicate=Duplicates.QOS1)),
        ("duplicate=all", FaultRule(duplicate=Duplicates.ALL)),
        ("reset,share=0", FaultRule(reset=Span(0, 0), share=0.0)),
    ],
)  # fmt: skip
def test_line_becomes_a_rule(spec: str, rule: FaultRule) -> None:
    assert parse_fault(spec) == rule
    assert parse_fault(format_fault(rule)) == rule


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "fault '': '' is not KEY, KEY=VALUE or KEY@BYTES"),
        ("latency", "fault 'latency': latency needs a value"),
        ("latency=", "fault 'latency=': 'latency=' is not KEY, KEY=VALUE or KEY@BYTES"),
        ("latency=5", "fault 'latency=5': latency: '5' is not a time such as 200ms or 3s (us, ms, s, min)"),
        ("latency=1s,latency=2s", "fault 'latency=1s,latency=2s': latency is there twice"),
        ("ftp:reset", "fault 'ftp:reset': link: 'ftp' is not one of all, http, mqtt, shell, log"),
        ("up,down,reset", "fault 'up,down,reset': direction is there twice"),
        ("up=1,reset", "fault 'up=1,reset': up takes no value"),
        ("reset,share=2", "fault 'reset,share=2': share must be a number from 0 to 1"),
        ("reset,share=nan", "fault 'reset,share=nan': share: 'nan' is not a number from 0 to 1"),
        ("bandwidth=0B/s", "fault 'bandwidth=0B/s': bandwidth: nothing would ever pass: half-open does that"),
        ("bandwidth=16KB", "fault 'bandwidth=16KB': bandwidth: '16KB' is not a rate such as 16KB/s"),
        ("slice=0", "fault 'slice=0': a slice has at least 1 byte"),
        ("reset@9..1", "fault 'reset@9..1': reset: 9..1 is no range of 0 to 1099511627776 bytes"),
        ("pause=1s", "fault 'pause=1s': pause is between slices: give slice as well"),
        ("share=0.3", f"fault 'share=0.3': nothing happens: give one of {FAULTS}"),
        ("latency=999999s", "fault 'latency=999999s': a time must be from 0 to 86400 seconds"),
        ("duplicate=3", "fault 'duplicate=3': duplicate: '3' is not one of qos1, all"),
    ],
)  # fmt: skip
def test_wrong_line_is_told_exactly(spec: str, message: str) -> None:
    with pytest.raises(FaultSpecError) as error:
        parse_fault(spec)
    assert str(error.value) == message


def test_yaml_takes_lines_and_mappings() -> None:
    text = """
        seed: 7
        faults:
          - http:reset@1KB..50KB,share=0.3
          - link: mqtt
            direction: down
            duplicate: true
          - {slice: 7, share: 0.5, bandwidth: 64KB/s}
    """
    assert parse_faults(text) == FaultSet(
        (
            FaultRule(link=Link.HTTP, reset=Span(1000, 50_000), share=0.3),
            FaultRule(link=Link.MQTT, direction=Direction.DOWN, duplicate=Duplicates.QOS1),
            FaultRule(slice=Span(7, 7), share=0.5, bandwidth=64_000),
        ),
        seed=7,
    )
    assert parse_faults("faults: []") == FaultSet()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: must be a mapping with the key faults, and maybe seed"),
        ("faults: [", "f.yaml: not YAML: line 1: expected the node content, but found '<stream end>'"),
        ("faults: {}", "f.yaml: faults must be a list"),
        ("{faults: [], sed: 1}", "f.yaml: unknown key 'sed'; known: faults, seed"),
        ("{faults: [], seed: true}", "f.yaml: seed must be a whole number"),
        ("faults: [latency=1s, 5]", "f.yaml: faults[1]: must be a line or a mapping"),
        ("faults: [{latency: [1]}]", "f.yaml: faults[0]: latency: must be text or a number"),
        ("faults: [{latency: true}]", "f.yaml: faults[0]: latency: must be text or a number"),
        ("faults: [{share: .5}]", f"f.yaml: faults[0]: nothing happens: give one of {FAULTS}"),
        ("faults: [{reset: 1, at: 2}]", f"f.yaml: faults[0]: unknown key 'at'; known: {KEYS}"),
        ("faults:\n" + "- reset\n" * 1001, "f.yaml: faults has more than 1000 rules"),
        ("#" * 300_000, "f.yaml: more than 262144 characters"),
    ],
)  # fmt: skip
def test_wrong_yaml_is_told_exactly(text: str, message: str) -> None:
    with pytest.raises(FaultSpecError) as error:
        parse_faults(text, source="f.yaml")
    assert str(error.value) == message


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(), st.text("abcdehijlmnoprstuwy-=@,.:0123456789KMBs/", max_size=40)))
def test_no_text_makes_anything_but_a_coded_error(text: str) -> None:
    for parse in (parse_fault, parse_faults):
        with contextlib.suppress(FaultSpecError):
            parse(text)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.yaml", tmp_path, Path("/dev/zero"), binary):
        with pytest.raises(FaultSpecError):
            load_faults(path)


def test_rules_made_in_python_are_checked() -> None:
    for arguments in (
        {"share": -0.1},
        {"latency": -1.0},
        {"latency": float("nan")},
        {"bandwidth": -1},
        {"pause": 1.0},
        {"timeout": Stall(1e9)},
    ):
        with pytest.raises(FaultSpecError):
            FaultRule(**arguments)  # type: ignore[arg-type]


def test_draw_joins_rules_and_keeps_their_sources_apart() -> None:
    rules = tuple(
        map(
            parse_fault,
            ("latency=1s,slice=9", "down,latency=2s,slice=3,bandwidth=5KB/s", "up,bandwidth=4KB/s,reset@9",
             "reset@1..1000000,share=0.5", "shell:reset", "half-open@5,down"),
        )
    )  # fmt: skip
    drawn = draw(FaultSet(rules, seed=4), Link.HTTP, 1)
    assert (drawn.up.latency, drawn.down.latency) == (1.0, 3.0)
    assert (drawn.up.slice, drawn.down.slice) == (Span(9, 9), Span(3, 3))
    assert (drawn.up.bandwidth, drawn.down.bandwidth) == (4000, 5000)
    assert drawn.up.cuts[0].kind is Ending.RESET
    assert drawn.down.cuts[0].kind is Ending.HALF_OPEN
    assert drawn == draw(FaultSet(rules, seed=4), Link.HTTP, 1)
    many = [draw(FaultSet(rules, seed=4), Link.HTTP, number) for number in range(1, 200)]
    hit = [each for each in many if 3 in each.hits]
    assert 60 < len(hit) < 140
    assert len({cut.at for each in hit for cut in each.down.cuts}) > 50
    # Another rule in front of nothing: what the others draw stays the same.
    changed = (*rules[:4], parse_fault("reset"), *rules[5:])
    assert [3 in draw(FaultSet(changed, seed=4), Link.HTTP, n).hits for n in range(1, 200)] == [
        3 in each.hits for each in many
    ]
