"""Parts of a scenario run: verdicts, series, choices, reports."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from cloudsdk.errors import UsageError
from sim.fleet.events import FleetEvent, Kind, Phase
from sim.fleet.histogram import Histogram
from sim.fleet.metrics import Metrics
from sim.scenario import series as series_module
from sim.scenario.behaviour import load_behaviour
from sim.scenario.crew import by_profile, draw
from sim.scenario.dashboard import dashboard, plain_lines
from sim.scenario.errors import BehaviourError
from sim.scenario.html_report import html_report
from sim.scenario.junit import junit
from sim.scenario.measure import Observer, SlowDevice, Verdict
from sim.scenario.models import PopulationModel, Threshold
from sim.scenario.prometheus import metrics_endpoint
from sim.scenario.reports import Reports, series_csv
from sim.scenario.results import PhaseSpan, Result
from sim.scenario.series import Sample, Series
from sim.scenario.shell import PlainShell

SNS = [f"SN{number:03}" for number in range(100)]


def threshold(**fields: Any) -> Threshold:
    return Threshold.model_validate_json(json.dumps(fields))


def observer(devices: int = 10) -> Observer:
    return Observer(devices, Metrics())


# --- measuring ------------------------------------------------------------------------------------------


def test_shares_are_of_all_devices_and_upgrades_of_those_that_have_one() -> None:
    found = observer()
    found.metrics.phases[Phase.ONLINE] = 9
    found.want(["A", "B"], "2.0.0")
    found.want(["C"], "6.6.6", bad=True)
    for sn, version in (("A", "2.0.0"), ("B", "1.0.0"), ("C", "1.0.0")):
        found.take(FleetEvent(1.0, sn, Kind.REPORTED, version))
    assert found.value(threshold(metric="online", at_least="90%")) == 0.9
    assert found.value(threshold(metric="upgraded", at_least="90%")) == 0.5
    assert found.value(threshold(metric="bad_installed", at_most="0%")) == 0.0
    found.take(FleetEvent(2.0, "B", Kind.REPORTED, "2.0.0"))
    found.take(FleetEvent(2.0, "C", Kind.REPORTED, "6.6.6"))
    assert found.value(threshold(metric="upgraded", at_least="90%")) == 1.0
    assert found.value(threshold(metric="bad_installed", at_most="0%")) == 1.0
    assert found.versions == {"2.0.0": 2, "6.6.6": 1}


def test_bounds_hold_on_the_edge_and_never_for_what_was_not_measured() -> None:
    found = observer()
    found.metrics.phases[Phase.ONLINE] = 9
    assert found.holds(threshold(metric="online", at_least="90%"))
    assert not found.holds(threshold(metric="online", at_least="90.1%"))
    assert found.holds(threshold(metric="online", at_most="90%"))
    latency = threshold(metric="activation", percentile=99, at_most="2s")
    assert not found.holds(latency)
    assert found.judge(latency, 5.0).shown == "nothing was measured"
    found.metrics.activation.add(1.0)
    assert found.holds(latency)
    found.metrics.activation.add(3.0)
    assert not found.holds(latency)
    assert not found.holds(threshold(metric="upgraded", at_least="0%"))
    assert not found.judge(threshold(metric="online", at_least="1%"), 5.0, late=True).passed


def test_the_slowest_devices_are_named() -> None:
    found = observer()
    for number, sn in enumerate(SNS):
        found.switched_on(sn, 1.0)
        found.take(FleetEvent(1.0 + number, sn, Kind.ONLINE))
    assert (found.slowest[0].sn, found.slowest[0].seconds, len(found.slowest)) == ("SN099", 99.0, 20)


def test_recent_durations_are_those_since_a_copy() -> None:
    histogram = Histogram()
    histogram.add(5.0)
    earlier = histogram.copy()
    histogram.add(0.1)
    recent = histogram.since(earlier)
    assert (recent.count, earlier.count) == (1, 1)
    assert recent.longest == pytest.approx(0.1, rel=0.05)


# --- series ---------------------------------------------------------------------------------------------


def test_long_runs_are_thinned_and_lose_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "MAX_SAMPLES", 10)
    found, watched = Series(), observer()
    for second in range(1, 31):
        watched.metrics.published += 2
        watched.metrics.activation.add(0.1)
        found.take(float(second), "p", watched, 0.0)
    assert len(found.samples) <= 10
    assert found.period > 1
    assert sum(sample.published for sample in found.samples) == 60
    assert [sample.at for sample in found.samples] == sorted(sample.at for sample in found.samples)


def test_a_generator_that_does_not_keep_up_says_so() -> None:
    late, busy, well = Series(), Series(), Series()
    for second in range(1, 101):
        late.lagged(1.0 if second % 20 == 0 else 0.0, 0.1)
        busy.take(float(second), "p", observer(), float(second))
        well.take(float(second), "p", observer(), 0.5 * second)
        well.lagged(0.01, 0.1)
    assert "event loop" in late.limits()[0]
    assert late.dropped == 50
    assert "processor" in busy.limits()[0]
    assert well.limits() == []


# --- choices --------------------------------------------------------------------------------------------


def test_a_larger_share_holds_the_smaller_one_and_a_seed_decides() -> None:
    assert draw(SNS, 0.05, "s") < draw(SNS, 0.25, "s") < draw(SNS, 1, "s") == set(SNS)
    assert len(draw(SNS, 0.25, "s")) == 25
    assert draw(SNS, 0.25, "s") != draw(SNS, 0.25, "t")


def test_profiles_get_their_shares() -> None:
    fields = {"name": "p", "count": 100, "sn": "SN###", "profiles": {"manual": "67%", "v2.0.0": "33%"}}
    found = by_profile(PopulationModel.model_validate_json(json.dumps(fields)), SNS, 1)
    assert {name: len(sns) for name, sns in found.items()} == {"manual": 67, "v2.0.0": 33}
    assert Counter(sn for sns in found.values() for sn in sns) == Counter(SNS)


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("no.such.module:Thing", {}),
        ("sim.scenario.behaviour:Nothing", {}),
        ("sim.scenario.behaviour:Stage", {}),
        ("sim.scenario.behaviour:Behaviour", {"speed": 1}),
    ],
)
def test_a_behaviour_that_cannot_be_loaded_is_refused(place: str, options: Mapping[str, Any]) -> None:
    with pytest.raises(BehaviourError):
        load_behaviour(place, options)


def test_the_plain_shell_answers_lines_and_bounds_them() -> None:
    shell = PlainShell()
    assert list(shell.switched(remote=True)) == [b"msh />"]
    assert list(shell.feed(b"he")) == []
    assert list(shell.feed(b"llo\r\n")) == [b"hello: command not found.\nmsh />"]
    assert sum(map(len, shell.feed(b"x" * 100_000 + b"\n"))) < 400


# --- reports --------------------------------------------------------------------------------------------


def sample(at: float, **more: Any) -> Sample:
    fields: dict[str, Any] = dict.fromkeys(
        ("online", "activated", "upgraded", "failed", "published", "acknowledged", "received"), 7
    )
    latencies = {"activation": (0.1, 0.2), "connect": None, "acknowledgement": None, "upgrade": None}
    fields |= {"downloaded_bytes": 1000, "errors": 1, "offline": 0, "latencies": latencies}
    fields |= {"versions": {"1.0.0": 3, "<2>": 4}, "lag": 0.01, "cpu": 0.5, "phase": "on", "at": at}
    return Sample(**(fields | more))


def result(**more: Any) -> Result:
    metrics = Metrics()
    metrics.activation.add(0.1)
    metrics.causes["<script>alert(1)</script>\x00"] = 3
    fields: dict[str, Any] = {
        "scenario": "s",
        "description": "a & b",
        "seed": 3,
        "began": "2026-01-01T00:00:00+00:00",
        "seconds": 2.0,
        "interrupted": False,
        "problems": (),
        "limited": (),
        "verdicts": (
            Verdict("online >= 99%", True, 1.0, "100%", 2.0),
            Verdict("p99(activation) <= 2s", False, 3.0, "3 s", 2.0),
        ),
        "phases": (PhaseSpan("on", 0.0, 1.0), PhaseSpan("<off>", 1.0, 2.0)),
        "samples": (sample(1.0), sample(2.0)),
        "slowest": (SlowDevice("SN<1>", 1.5, "to upgrade"),),
        "summary": {"devices": 7, **metrics.summary()},
    }
    return Result(**(fields | more))


def test_a_run_passes_only_if_all_holds_and_nothing_went_wrong() -> None:
    good = (Verdict("online >= 99%", True, 1.0, "100%", 2.0),)
    assert result(verdicts=good).passed
    assert not result().passed
    assert not result(verdicts=good, problems=("the cloud ended",)).passed
    assert not result(verdicts=good, interrupted=True).passed
    assert "limited by the generator" in result(limited=("slow",)).headline


def test_the_page_needs_nothing_else_and_escapes_what_a_cloud_says() -> None:
    page = html_report(result(limited=("the processor was full",), problems=("oh <b>",)))
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    for piece in (
        "p99(activation)",
        "fails",
        "&lt;2&gt;",
        "SN&lt;1&gt;",
        "the processor was full",
        "<polyline",
    ):
        assert piece in page, piece
    for number in range(page.count("<svg")):
        start = [index for index in range(len(page)) if page.startswith("<svg", index)][number]
        ET.fromstring(page[start : page.index("</svg>", start) + 6])  # noqa: S314 - our own


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_that_ended_at_once_has_a_page(count: int) -> None:
    page = html_report(
        result(samples=(sample(0.0),) * count, seconds=0.0, slowest=(), verdicts=(), phases=())
    )
    assert page.endswith("</html>\n")


def test_junit_has_a_case_for_each_threshold_and_one_for_the_run() -> None:
    suite = ET.fromstring(junit(result(problems=("the cloud \x01 ended",)))).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["p99(activation) <= 2s"]


def test_csv_and_files(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(series_csv(result().samples))))
    assert (rows[0]["online"], rows[0]["activation_p99"], rows[0]["connect_p50"]) == ("7", "0.2", "")
    with Reports.into(tmp_path / "new") as reports:
        reports.event(FleetEvent(1.0, "SN1", Kind.ONLINE))
        reports.write(result())
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"report.html", "result.json", "series.csv", "junit.xml", "events.jsonl"}
    assert json.loads((tmp_path / "new/result.json").read_text())["passed"] is False
    event = json.loads((tmp_path / "new/events.jsonl").read_text())
    assert event == {"at": 1.0, "sn": "SN1", "event": "online", "detail": ""}


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError), Reports.into(tmp_path / "file"):
        pass


def fake_run(samples: list[Sample]) -> Any:
    """What a dashboard looks at."""
    series = Series(samples=samples)
    metrics = Metrics()
    metrics.causes["MQTT lost: reset"] = 4
    return SimpleNamespace(
        scenario=SimpleNamespace(count=7),
        series=series,
        metrics=metrics,
        verdicts={0: Verdict("online >= 99%", True, 1.0, "100%", 2.0)},
        problems=["the cloud ended"],
    )


def test_the_dashboard_shows_a_moment() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    moment = sample(2.0)
    console.print(dashboard("smoke", fake_run([sample(1.0, online=0), moment]), moment))
    text = console.export_text()
    for piece in ("smoke", "7/7", "MQTT lost: reset", "online >= 99%", "the cloud ended", "p99 200 ms", "▁█"):
        assert piece in text, piece


def test_a_pipe_gets_a_line_for_each_phase_and_now_and_then() -> None:
    lines: list[str] = []
    show = plain_lines(lines.append)
    for at, phase in ((1, "on"), (2, "on"), (3, "off"), (4, "off"), (14, "off")):
        moment = sample(float(at), phase=phase)
        show(fake_run([moment]), moment)
    assert [line.split(":")[0] for line in lines] == ["1 s on", "3 s off", "14 s off"]


def test_metrics_are_served_on_loopback() -> None:
    with metrics_endpoint(0) as endpoint:
        endpoint.watch(fake_run([]), sample(1.0))
        endpoint.watch(fake_run([]), sample(2.0))
        text = urlopen(endpoint.url, timeout=5).read().decode()  # noqa: S310 - loopback
        assert endpoint.url.startswith("http://127.0.0.1:")
        with pytest.raises(UsageError), metrics_endpoint(int(endpoint.url.split(":")[2].split("/")[0])):
            pass
    assert "cloudsim_fleet_online 7.0" in text
    assert "cloudsim_fleet_published_total 14.0" in text
    assert 'cloudsim_fleet_version_devices{version="<2>"} 4.0' in text
