"""What a scenario will do, in words, before it does it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sim.fleet.sockets import CONSOLES, PER_ADDRESS, RESERVED_FILES, http_wanted
from sim.scenario import models as m
from sim.scenario.units import duration, percent

DEVICE_MEMORY: Final = (
    8 * 1024
)  # bytes of client memory for a connected device (docs/benchmarks.md), rounded up
TLS_MEMORY: Final = 55 * 1024  # the same over TLS
PROCESS_MEMORY: Final = 120 * 1024 * 1024  # bytes before the first device
PORTS_PER_ADDRESS: Final = 28_000  # ephemeral ports that Linux has for one destination
_WIDTH: Final = 50  # columns of the timeline
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Needs:
    """What the generator needs of its machine. `files` are descriptors, `memory` is bytes."""

    devices: int
    files: int
    source_addresses: int  # towards loopback; elsewhere there is one, with `PORTS_PER_ADDRESS` ports
    memory: int
    seconds: float  # at most

    @classmethod
    def of(cls, scenario: m.Scenario) -> "Needs":
        foreign = scenario.cloud.foreign
        is_secure = foreign is not None and foreign.mqtt_url.startswith("mqtts:")
        count = scenario.count
        return cls(
            count,
            count + RESERVED_FILES + http_wanted(count),
            -(-count // PER_ADDRESS),
            PROCESS_MEMORY + count * (TLS_MEMORY if is_secure else DEVICE_MEMORY),
            scenario.longest,
        )


def explain(scenario: m.Scenario) -> Iterator[str]:
    """Lines."""
    needs = Needs.of(scenario)
    yield f"{scenario.name}: {scenario.description}".rstrip(": ")
    yield f"{needs.devices} devices, at most {duration(needs.seconds)}, seed {scenario.seed}"
    yield f"cloud: {_cloud(scenario.cloud)}"
    yield "populations:"
    for population in scenario.populations:
        yield f"  {population.name}: {_population(population)}"
    yield "phases:"
    start = 0.0
    for phase in scenario.phases:
        yield f"  {_bar(start, phase.duration, needs.seconds)} {phase.name}: {_phase(phase)}"
        start += phase.duration
        for behaviour in phase.behaviours:
            yield f"  {' ' * _WIDTH}   - {behaviour_words(behaviour, scenario)}"
    yield "passes if:" if scenario.thresholds else "passes if it ends: no thresholds"
    for threshold in scenario.thresholds:
        yield f"  {threshold.words} ({m.METRICS[threshold.metric]})"
    yield (
        f"needs: {needs.files} open files, {needs.source_addresses} source addresses on loopback "
        f"(elsewhere at most {PORTS_PER_ADDRESS} devices for one address), "
        f"about {needs.memory // _MIB} MiB of memory, {CONSOLES} shell and log connections at a time at most"
    )


def behaviour_words(behaviour: Any, scenario: m.Scenario) -> str:
    """One behaviour as a sentence."""
    whom = _whom(behaviour, scenario) if not isinstance(behaviour, m.StayOnline) else ""
    match behaviour:
        case m.PowerOn():
            names = set(behaviour.populations)
            count = sum(p.count for p in scenario.populations if not names or p.name in names)
            last = next(islice(behaviour.ramp.arrivals(), max(0, round(count * behaviour.share) - 1), None))
            return f"{whom} are switched on, the last after {duration(last)}"
        case m.PowerOff():
            return f"{whom} are switched off"
        case m.StayOnline():
            return "the devices do what they do by themselves"
        case m.ReconnectStorm():
            return (
                f"all connections of {whom} break after {duration(behaviour.after)}, "
                f"and nothing goes through for {duration(behaviour.down)}"
            )
        case m.Flapping():
            return (
                f"links of {whom} are on average up for {duration(behaviour.up)} and down for "
                f"{duration(behaviour.down)}"
            )
        case m.Upgrade():
            how = "all at once"
            if len(behaviour.stages) > 1:
                how = (
                    f"in stages of {', '.join(map(percent, behaviour.stages))}, the next when "
                    f"{percent(behaviour.advance_at)} have it, and {duration(behaviour.soak)} later"
                )
            bad = f", its {behaviour.bad} bad" if behaviour.bad is not None else ""
            return f"{whom} get application {behaviour.version} of {behaviour.size} bytes{bad}, {how}"
        case m.PowerCuts():
            return (
                f"the power of {whom} fails during a {behaviour.during}, {behaviour.times} times at most, "
                f"for {duration(behaviour.off)}"
            )
        case m.NetworkFaults():
            chance = percent(behaviour.cut_downloads)
            return f"downloads of {whom} break off with a chance of {chance} at each tenth"
        case m.FlashFaults():
            return f"a bit of {behaviour.times} downloaded packages of {whom} flips on flash"
        case m.LogFlood():
            where = "to a log server of the generator" if behaviour.web_log else "on the serial port"
            return f"each of {whom} prints {behaviour.rate:g} lines a second {where}"
        case m.ShellSessions():
            return (
                f"{behaviour.rate:g} Web Shells begin in a second, over {whom}, each of "
                f"{behaviour.lines} lines"
            )
        case m.Custom():
            return f"{behaviour.behaviour} of your own, for {whom}"
    raise AssertionError(behaviour)


def _whom(behaviour: Any, scenario: m.Scenario) -> str:
    names = ", ".join(behaviour.populations) or "all devices"
    return names if behaviour.share == 1 else f"{percent(behaviour.share)} of {names}"


def _cloud(cloud: m.Cloud) -> str:
    if cloud.foreign is not None:
        return f"{cloud.foreign.mqtt_url}, activation at {cloud.foreign.activation_url}"
    return f"a reference cloud of its own, broker {cloud.reference.broker if cloud.reference else ''}"


def _population(population: m.PopulationModel) -> str:
    profiles = ", ".join(f"{percent(share)} {name}" for name, share in population.profiles.items())
    return (
        f"{population.count} of board {population.board} with application {population.version}, "
        f"profile {profiles}, serial numbers {population.sn or f'from {population.identities}'}"
    )


def _phase(phase: m.Phase) -> str:
    ends = " and ".join(condition.words for condition in phase.until)
    return f"{duration(phase.duration)}" + (f" at most, until {ends}" if ends else "")


def _bar(start: float, length: float, whole: float) -> str:
    first = min(_WIDTH - 1, int(start / whole * _WIDTH))
    size = max(1, min(_WIDTH - first, round(length / whole * _WIDTH)))
    return "|" + "." * first + "=" * size + "." * (_WIDTH - first - size) + "|"
