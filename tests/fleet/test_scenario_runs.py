"""Whole scenarios against the reference cloud, a dozen devices each."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scenario_hooks
from fleet_rig import ScriptedCloud

from cloudsdk.errors import UsageError
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.fleet.errors import FileLimitError
from sim.fleet.events import FleetEvent, Kind
from sim.scenario import behaviours, runner
from sim.scenario.errors import BehaviourError, ScenarioRunError
from sim.scenario.reference_cloud import ReferenceCloud, RunningCloud
from sim.scenario.results import Result
from sim.scenario.runner import Run, RunOptions
from sim.scenario.source import find_scenario, parse_scenario

ALL_ONLINE = [{"metric": "online", "at_least": "100%"}]
ALL_UPGRADED = [{"metric": "upgraded", "at_least": "100%"}]
POWER_ON = {
    "name": "on",
    "duration": "20s",
    "until": ALL_ONLINE,
    "behaviours": [{"do": "power_on", "ramp": "spike"}],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    folder = tmp_path_factory.mktemp("scenario-cloud")
    with CloudServer(CloudConfig(folder, http_port=0, mqtt_port=0)) as running:
        yield running


@pytest.fixture
def options(cloud: CloudServer) -> RunOptions:
    admin = AdminClient(cloud.http_url, cloud.admin_token)
    return RunOptions(cloud=RunningCloud(admin, cloud.activation_url, cloud.mqtt_url))


def scenario(name: str, more_phases: Sequence[Any], thresholds: Sequence[Any] = (), **more: Any) -> Any:
    """`name` is new in the module's cloud; ten devices."""
    fields = {
        "schema_version": 1,
        "name": name,
        "boot_time": "10ms",
        "retry_time": "100ms",
        "cloud": {"reference": {}},
        "populations": [{"name": name, "count": 10, "sn": f"{name}##"}],
        "phases": [POWER_ON, *more_phases],
        "thresholds": list(thresholds),
        **more,
    }
    return parse_scenario(json.dumps(fields).encode(), name, Path(__file__).parent)


def phase(name: str, *acts: Any, until: Any = (), seconds: str = "20s") -> dict[str, Any]:
    return {"name": name, "duration": seconds, "until": list(until), "behaviours": list(acts)}


def run(found: Any, options: RunOptions) -> Result:
    async def main() -> Result:
        return await Run(found, options).run()

    return asyncio.run(main())


def counts(events: Sequence[FleetEvent]) -> Counter[Kind]:
    return Counter(event.kind for event in events)


UPGRADE = {"do": "upgrade", "version": "2.0.0", "size": "64KiB"}


def test_a_staged_rollout_waits_for_each_stage(options: RunOptions) -> None:
    events: list[FleetEvent] = []
    staged = {**UPGRADE, "stages": ["20%", "100%"], "advance_at": "100%", "soak": "100ms"}
    found = scenario("STAGED", [phase("up", staged, until=ALL_UPGRADED)], ALL_UPGRADED)
    result = run(found, replace(options, tell=events.append))
    assert result.passed, result.headline
    reported = [event.at for event in events if event.kind is Kind.REPORTED and event.detail == "2.0.0"]
    began = [event.at for event in events if event.kind is Kind.TASK]
    assert (len(reported), len(began)) == (10, 10)
    assert reported[1] < began[2]
    assert result.samples[-1].versions == {"2.0.0": 10}
    assert [span.name for span in result.phases] == ["on", "up"]


def test_a_storm_takes_all_connections_and_they_come_back(options: RunOptions) -> None:
    events: list[FleetEvent] = []
    storm = phase("storm", {"do": "reconnect_storm", "down": "200ms"}, seconds="1s")
    calm = phase("calm", {"do": "stay_online"}, until=ALL_ONLINE)
    thresholds = [
        {"metric": "online", "at_least": "100%", "phase": "calm"},
        {"metric": "offline", "at_most": "100%"},
        {"metric": "online", "at_least": "100%", "phase": "on", "within": "20s"},
    ]
    result = run(scenario("STORM", [storm, calm], thresholds), replace(options, tell=events.append))
    assert result.passed, result.verdicts
    assert counts(events)[Kind.OFFLINE] == 10
    assert counts(events)[Kind.ONLINE] == 20
    assert "MQTT lost: the link is down" in result.summary["causes"]


@pytest.mark.parametrize("during", ["download", "release"])
def test_power_cuts_end_in_the_new_version(
    during: str, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behaviours, "CUT_CHANCE", 1.0)
    monkeypatch.setattr(behaviours, "RELEASE_OPERATIONS", 4)
    events: list[FleetEvent] = []
    cuts = {"do": "power_cuts", "during": during, "share": "50%", "off": "100ms"}
    found = scenario(f"CUT{during}", [phase("up", cuts, UPGRADE, until=ALL_UPGRADED)], ALL_UPGRADED)
    result = run(found, replace(options, tell=events.append))
    assert result.passed, result.verdicts
    assert counts(events)[Kind.CUT] == 5
    where = {"download": "download", "release": "bootloader"}[during]
    assert {event.detail for event in events if event.kind is Kind.CUT} == {where}


def test_bad_links_and_flash_do_not_keep_devices_from_the_upgrade(options: RunOptions) -> None:
    events: list[FleetEvent] = []
    acts = [
        {"do": "flapping", "share": "50%", "up": "400ms", "down": "50ms"},
        {"do": "network_faults", "share": "50%", "cut_downloads": "30%"},
        {"do": "flash_faults", "share": "30%"},
    ]
    phases = [
        phase("up", *acts, UPGRADE, until=ALL_UPGRADED),
        phase("calm", {"do": "stay_online"}, until=[*ALL_ONLINE, *ALL_UPGRADED]),
    ]
    found = scenario("FLAPPING", phases, [{**ALL_ONLINE[0], "phase": "calm"}, *ALL_UPGRADED])
    result = run(found, replace(options, tell=events.append))
    assert result.passed, result.verdicts
    assert counts(events)[Kind.DOWNLOADED] > 10  # those with a flipped bit download again


def test_bad_packages_are_installed_nowhere(options: RunOptions) -> None:
    events: list[FleetEvent] = []
    phases = [
        phase("hash", {**UPGRADE, "bad": "hash"}, until=[{"metric": "errors", "at_least": "100%"}]),
        phase("calm", {"do": "stay_online"}, until=ALL_ONLINE),
        phase("off", {"do": "power_off", "share": "50%"}, seconds="200ms"),
    ]
    thresholds = [
        {"metric": "bad_installed", "at_most": "0%"},
        {"metric": "online", "at_most": "50%"},
        {"metric": "online", "at_least": "100%", "phase": "calm"},
    ]
    result = run(scenario("BAD", phases, thresholds), replace(options, tell=events.append))
    assert result.passed, result.verdicts
    assert counts(events)[Kind.DOWNLOADED] >= 10


def test_shells_and_logs_are_served_by_the_generator(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Any] = []
    start = behaviours.ConsoleServer.start

    async def noted(lines: Sequence[bytes]) -> Any:
        servers.append(await start(lines))
        return servers[-1]

    monkeypatch.setattr(behaviours.ConsoleServer, "start", noted)
    acts = [
        {"do": "shell_sessions", "rate": 20.0, "lines": 2, "share": "50%"},
        {"do": "log_flood", "rate": 20.0, "web_log": True, "share": "20%"},
    ]
    result = run(scenario("CONSOLES", [phase("use", *acts, seconds="2s")]), options)
    assert result.passed, result.problems
    shells, logs = sorted(servers, key=lambda server: not server.lines_answered)
    assert shells.lines_answered >= 4
    assert logs.received > 1000


def test_a_behaviour_of_ones_own_sees_its_devices(options: RunOptions) -> None:
    scenario_hooks.Counting.seen.clear()
    custom = {
        "do": "custom",
        "behaviour": "scenario_hooks:Counting",
        "options": {"word": "hi"},
        "share": "50%",
    }
    on = {**POWER_ON, "behaviours": [*POWER_ON["behaviours"], custom]}  # type: ignore[misc]
    result = run(scenario("CUSTOM", [], phases=[on]), options)
    seen = scenario_hooks.Counting.seen
    assert result.passed
    assert (seen[0], seen[-1], len(seen)) == ("play hi 5", "end", 7)


def test_a_behaviour_that_fails_is_a_problem_and_no_traceback(options: RunOptions) -> None:
    failing = {"do": "custom", "behaviour": "scenario_hooks:Failing"}
    storm = {"do": "reconnect_storm"}
    result = run(scenario("FAILING", [phase("f", failing, storm, seconds="500ms")]), options)
    assert not result.passed
    assert result.problems[0] == "phase f, custom: ValueError: planned failure"
    assert result.summary["phases"] == {"online": 10}


def test_a_threshold_that_does_not_hold_fails_the_run(options: RunOptions) -> None:
    thresholds = [
        {"metric": "activation", "percentile": 50, "at_most": "1ms"},
        {"metric": "upgraded", "at_least": "1%", "within": "100ms"},
        {"metric": "failed", "at_most": "0%"},
    ]
    result = run(scenario("THRESHOLD", [], thresholds), options)
    assert [verdict.passed for verdict in result.verdicts] == [False, False, True]
    assert "2 of 3 thresholds do not hold" in result.headline


def test_a_cloud_that_ends_gives_a_report(options: RunOptions) -> None:
    class Ending(RunningCloud):
        looks = 0

        def failure(self) -> str | None:
            self.looks += 1
            return "the cloud ended" if self.looks > 5 else None

    found = options.cloud
    assert isinstance(found, RunningCloud)
    found.__class__ = Ending
    result = run(scenario("ENDING", [phase("long", {"do": "stay_online"}, seconds="1h")]), options)
    assert result.problems == ("the cloud ended",)
    assert not result.passed
    assert result.samples


def test_an_interrupted_run_has_a_result(options: RunOptions) -> None:
    async def main() -> Result:
        found = Run(scenario("LONG", [phase("long", {"do": "stay_online"}, seconds="1h")]), options)
        asyncio.get_running_loop().call_later(1, found.interrupt)
        return await found.run()

    result = asyncio.run(main())
    assert (result.interrupted, result.passed) == (True, False)
    assert result.headline.startswith("interrupted")


def test_what_cannot_run_is_refused_before_anything_starts(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Untouched:
        def start(self, _populations: Any) -> Any:
            raise AssertionError

        def stop(self) -> None:
            pass

    unstarted = replace(options, cloud=Untouched())  # type: ignore[arg-type]
    with monkeypatch.context() as few:
        few.setattr(resource, "getrlimit", lambda _what: (100, 100))
        with pytest.raises(FileLimitError):
            run(scenario("MANY", []), unstarted)
    with pytest.raises(BehaviourError):
        run(scenario("X", [phase("x", {"do": "custom", "behaviour": "no.such:Thing"})]), unstarted)
    foreign = {
        "foreign": {"activation_url": "http://h.example", "mqtt_url": "mqtt://h.example", "product_id": "p"}
    }
    with pytest.raises(UsageError, match="CLOUDSIM_PRODUCT_KEY"):
        run(scenario("FOREIGN", [], cloud=foreign), RunOptions())
    monkeypatch.setattr(runner, "PORTS_PER_ADDRESS", 5)
    with pytest.raises(ScenarioRunError, match="ports"):
        run(scenario("FOREIGN", [], cloud=foreign), RunOptions(product_key="k"))


def test_somebody_elses_cloud_needs_no_administration() -> None:
    with closing(ScriptedCloud()) as scripted:
        facts = {"activation_url": scripted.http_url, "mqtt_url": scripted.mqtt_url}
        foreign = {"foreign": {**facts, "product_id": "8fa1b2c3d4e5f607"}}
        populations = [{"name": "one", "count": 1, "sn": "ONE#"}]
        found = scenario("OTHER", [], ALL_ONLINE, cloud=foreign, populations=populations)
        result = run(found, RunOptions(product_key="d1234567-89ab-4cde-9f01-23456789abcd"))
    assert result.passed, result.headline


def test_a_killed_reference_cloud_says_so() -> None:
    found = ReferenceCloud("embedded")
    try:
        endpoints = found.start({"p": ["SN1"]})
        assert endpoints.mqtt_url.startswith("mqtt://127.0.0.1")
        assert "product_key" not in repr(endpoints)
        assert found.failure() is None
        assert found._process is not None
        os.kill(found._process.pid, signal.SIGKILL)
        found._process.wait(10)
        assert "ended with status" in str(found.failure())
    finally:
        found.stop()


def test_the_command_runs_a_ready_scenario_and_ctrl_c_leaves_a_report(tmp_path: Path) -> None:
    text = find_scenario("smoke").read_text().replace("[{metric: upgraded, at_least: 100%}]", "[]")
    (tmp_path / "mine.yaml").write_text(text)
    command = [sys.executable, "-c", "from sim.cli.main import main; main()", "fleet", "run"]
    running = subprocess.Popen(
        [*command, str(tmp_path / "mine.yaml"), "--report", str(tmp_path / "out"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    events = tmp_path / "out/events.jsonl"
    while not events.exists() or not events.stat().st_size:
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    result = json.loads(out)
    assert (running.returncode, result["interrupted"], b"Traceback" in err) == (130, True, False)
    assert (tmp_path / "out/report.html").exists()
