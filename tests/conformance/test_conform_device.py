"""The simulated device passes, and a device with a mistake fails the cases that are for it."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from clouds import some_always
from toy_device import Toy

from sim.conformance.device import SUITE, DeviceBench, DeviceTarget, starter
from sim.conformance.device.bench import Start
from sim.conformance.results import Report, Verdict
from sim.conformance.runner import Plan, run_cases
from sim.conformance.scope import Scope
from sim.conformance.xfails import parse_xfails

PAGES = Path(__file__).parents[2] / "docs/conformance"
CONSOLE = {"shell-session", "shell-again", "shell-reset", "log-session", "log-again"}
#: What the toy does not have: a console, a keep-alive, a bootloader.
BEYOND_THE_TOY = {*CONSOLE, "mqtt-ping", "image-crashed", "rollback-if-it-cannot-connect"}


def conform(start: Start, only: list[str], patience: float) -> Report:
    target = DeviceTarget(start, patience)
    return run_cases(
        SUITE.selected(only), lambda scope: DeviceBench(scope, target), Plan("device", "test", timeout=60)
    )


def broken(report: Report) -> dict[str, str]:
    return {
        result.id: f"{result.verdict}: {result.detail}"
        for result in report.results
        if result.verdict is not Verdict.PASS
    }


def simulated(profile: str) -> Start:
    return starter(f"{sys.executable} -m sim.conformance.device.reference --hasty --profile {profile}")


def test_the_simulated_device_passes() -> None:
    only = ["activation-kept", "mqtt-envelope", "disconnect-and-resume", "shell-session"]
    assert broken(conform(simulated("manual"), only, 15)) == {}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("profile", ["manual", "v2.0.0"])
def test_the_simulated_device_passes_everything(profile: str) -> None:
    expected = parse_xfails((PAGES / f"{profile}.xfails").read_text(), SUITE.ids)
    report = conform(simulated(profile), [], 8)
    assert set(broken(report)) == set(expected), broken(report)


def toy(fault: str, scope: Scope, settings: Mapping[str, str]) -> Toy:
    return Toy(scope, settings, fault.split("+"))


FAULTS = {
    "bad-sign": ({"activation-request"}, {"mqtt-connect"}),
    "forgets": ({"activation-kept"}, {"activation-request"}),
    "believes-200": ({"activation-rubbish"}, {"activation-retried"}),
    "no-retry": ({"activation-retried"}, {"activation-request"}),
    "wrong-password": ({"mqtt-connect"}, {"mqtt-subscribe"}),
    "speaks-first": ({"mqtt-subscribe"}, {"mqtt-connect"}),
    "no-vendor": ({"mqtt-envelope"}, {"mqtt-subscribe"}),
    "mute": ({"mqtt-answers"}, {"mqtt-envelope"}),
    "no-reconnect": ({"mqtt-reconnects"}, {"mqtt-answers"}),
    "gives-up": ({"mqtt-refused"}, {"mqtt-reconnects"}),
    "dies-of-rubbish": ({"mqtt-rubbish"}, {"mqtt-answers"}),
    "no-check": ({"incorrect-signing", "wrong-transport-key"}, set()),
    "any-size": ({"oversized-task"}, set()),
    "no-range": ({"disconnect-and-resume"}, {"greater-version"}),
    "ram-only": ({"resume-after-power-loss"}, {"disconnect-and-resume"}),
    "splices+no-check": ({"lie-other-offset", "lie-changed-file"}, {"disconnect-and-resume"}),
    "always-downloads": ({"same-version"}, {"greater-version"}),
    "newer-only": ({"previous-version"}, {"greater-version"}),
    "any-name": ({"wrong-partition"}, {"wrong-label"}),
    "any-version": ({"wrong-label"}, {"wrong-partition"}),
    "takes-short+no-check": ({"short-body"}, {"greater-version"}),
    "reports-early": ({"set-in-order"}, {"greater-version"}),
    "first-task-only": ({"back-to-back"}, {"greater-version"}),
    "storm": ({"redirect-loop"}, {"server-errors"}),
}


ALWAYS = {
    "bad-sign",
    "believes-200",
    "speaks-first",
    "mute",
    "gives-up",
    "no-range",
    "ram-only",
    "splices+no-check",
    "always-downloads",
}


@pytest.mark.parametrize("fault", some_always(FAULTS, ALWAYS))
def test_a_planted_mistake_fails_its_case(fault: str) -> None:
    fail, hold = FAULTS[fault]
    report = conform(functools.partial(toy, fault), [*fail, *hold], 0.9)
    assert set(broken(report)) == fail, broken(report)
    assert {result.verdict for result in report.results if result.id in fail} == {Verdict.FAIL}


@pytest.mark.full
def test_a_toy_without_a_mistake_passes() -> None:
    only = [case.id for case in SUITE.cases if case.id not in BEYOND_THE_TOY]
    assert broken(conform(functools.partial(toy, ""), only, 3)) == {}
