"""Clouds under test, and what the cases find there."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.conformance.cloud import SUITE, CloudBench, CloudTarget
from sim.conformance.cloud.hook import AdminHook, abilities_of
from sim.conformance.cloud.reference import ReferenceHook
from sim.conformance.results import Report, Verdict
from sim.conformance.runner import Plan, run_cases
from sim.conformance.stream import Address


@contextmanager
def running_cloud(data: Path, **options: Any) -> Iterator[CloudTarget]:
    with CloudServer(CloudConfig(data, http_port=0, mqtt_port=0, **options)) as server:
        hook = ReferenceHook(AdminClient(server.admin_url, server.admin_token))
        yield CloudTarget(Address.of(server.activation_url), Address.of(server.mqtt_url), hook=hook)


def conform(target: CloudTarget, only: Sequence[str] = (), hook: AdminHook | None = None) -> Report:
    if hook is not None:
        target.hook = hook
    plan = Plan("cloud", "test", abilities_of(target.hook))
    return run_cases(SUITE.selected(only), lambda scope: CloudBench(scope, target), plan)


def some_always(names: Iterable[str], always: Collection[str]) -> list[Any]:
    """Parameters of which only those in `always` run without --full."""
    assert set(always) <= set(names)
    return [name if name in always else pytest.param(name, marks=pytest.mark.full) for name in names]


def verdicts(report: Report) -> dict[str, Verdict]:
    return {result.id: result.verdict for result in report.results}


def broken(report: Report) -> dict[str, str]:
    """Case -> detail, of all that neither passed nor was left out."""
    return {
        result.id: f"{result.verdict}: {result.detail}"
        for result in report.results
        if result.verdict not in (Verdict.PASS, Verdict.NOT_RUN)
    }
