"""Faults of the network proxy, as the virtual network has them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cloudsdk.route import Link
from sim.faults.network import Direction, Duplicates, FaultRule, FaultSet
from sim.faults.network import rules as proxied
from sim.rig.errors import NotAvailableError
from sim.virtual.clock import SECOND, microseconds
from sim.virtual.faults import SILENCE, Fault, Faults, FaultSchedule, Kind, Plan

_ENDINGS: Final = {
    proxied.Ending.RESET: Kind.RESET,
    proxied.Ending.LIMIT: Kind.LIMIT_DATA,
    proxied.Ending.TIMEOUT: Kind.TIMEOUT,
    proxied.Ending.HALF_OPEN: Kind.HALF_OPEN,
}


@dataclass(frozen=True, slots=True)
class _RuledPlan(Plan):
    """Draws from the rules that hold when a connection is made."""

    rules: Callable[[], FaultSet] = FaultSet
    link: Link = Link.HTTP

    def of(self, number: int) -> Faults:
        return _translated(proxied.draw(self.rules(), self.link, number + 1).down)

    def __str__(self) -> str:
        return "as the rules say"


def schedule(rules: Callable[[], FaultSet]) -> FaultSchedule:
    """A schedule for new connections that follows `rules`, which may change. Activations are connections of
    their own, with numbers of their own."""
    http = _RuledPlan(rules=rules, link=Link.HTTP)
    return FaultSchedule(activation=http, http=http, mqtt=_RuledPlan(rules=rules, link=Link.MQTT))


def require_possible(faults: FaultSet) -> None:
    """Raises `NotAvailableError` for a rule that means nothing in the virtual network."""
    for rule in faults.rules:
        if (why := _impossible(rule)) is not None:
            raise NotAvailableError(f"no such fault in virtual time: {why}; use the real clock")


def _impossible(rule: FaultRule) -> str | None:
    if rule.link in (Link.SHELL, Link.LOG):
        return f"there is no {rule.link} link"
    if rule.direction is Direction.UP:
        return "only what comes down to the device has faults"
    if rule.duplicate is not Duplicates.NONE:
        return "duplicate"
    if rule.pause:
        return "pause"
    if rule.timeout is not None and microseconds(rule.timeout.seconds) != SILENCE:
        return f"a timeout takes {SILENCE // SECOND} s"
    if rule.link is not Link.HTTP and any((rule.reset, rule.limit, rule.half_open, rule.timeout)):
        return "an ending is of the link http alone (MQTT counts messages there, not bytes)"
    return None


def _translated(plan: proxied.Plan) -> Faults:
    found = [
        Fault(kind, value)
        for kind, value in (
            (Kind.LATENCY, microseconds(plan.latency)),
            (Kind.JITTER, microseconds(plan.jitter)),
            (Kind.BANDWIDTH, plan.bandwidth),
            (Kind.SLICER, plan.slice.high if plan.slice is not None else 0),
            (Kind.SLOW_CLOSE, microseconds(plan.slow_close)),
        )
        if value
    ]
    if plan.cuts:
        found.append(Fault(_ENDINGS[plan.cuts[0].kind], plan.cuts[0].at))
    return tuple(found)
