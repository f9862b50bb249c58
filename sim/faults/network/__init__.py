"""A hostile network on real sockets: a proxy on loopback that delays, cuts, swallows and repeats."""

from sim.faults.network.events import Closed, Opened, ProxyEvent, Refused, Struck
from sim.faults.network.proxy import FaultProxy, require_loopback
from sim.faults.network.rules import Direction, Duplicates, FaultRule, FaultSet, Span, Stall
from sim.faults.network.specs import load_faults, parse_fault, parse_faults

__all__ = [
    "Closed",
    "Direction",
    "Duplicates",
    "FaultProxy",
    "FaultRule",
    "FaultSet",
    "Opened",
    "ProxyEvent",
    "Refused",
    "Span",
    "Stall",
    "Struck",
    "load_faults",
    "parse_fault",
    "parse_faults",
    "require_loopback",
]
