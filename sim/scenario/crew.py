"""The devices of a run: made from populations, and chosen from by share."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import profile_named
from cloudsdk.shell.console_device import ConsoleShell
from sim.flash.layout import load_board
from sim.fleet.device import Engine, FleetDevice
from sim.fleet.events import EventSink, Phase
from sim.fleet.flash import BoardBase
from sim.fleet.fleet import FLEET_LIMITS, FleetConfig
from sim.fleet.identities import Population
from sim.fleet.metrics import Metrics
from sim.fleet.sockets import Sockets, small_tls_buffers
from sim.fleet.timers import TimerWheel
from sim.scenario.cloud import Endpoints
from sim.scenario.models import PopulationModel, Scenario
from sim.scenario.shell import PlainShell

_LOT: Final = 8  # bytes of a lot


@dataclass(frozen=True, slots=True)
class Member:
    """A device and the name of its population."""

    device: FleetDevice
    population: str


class Crew:
    """All devices of a scenario, off at first. For the thread of the event loop."""

    def __init__(
        self,
        scenario: Scenario,
        numbers: Mapping[str, Sequence[str]],
        endpoints: Endpoints,
        http: int,
        tell: EventSink,
        metrics: Metrics,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.started = loop.time()
        self.wheel = TimerWheel(loop)
        self.metrics = metrics
        self._bases: dict[tuple[str, str], BoardBase] = {}
        self._sockets: dict[bool, Sockets] = {}
        self.engines: list[Engine] = []
        self.members: dict[str, Member] = {}
        limits = limits_of(scenario)
        for population in scenario.populations:
            for profile, sns in by_profile(population, numbers[population.name], scenario.seed).items():
                self._add(scenario, population, profile, sns, endpoints, http, tell, limits)
        metrics.phases[Phase.WAITING] = len(self.members)

    def chosen(self, populations: Sequence[str], share: float, seed: str) -> list[FleetDevice]:
        """`share` of the devices of `populations`, of all of them for none, drawn by `seed`; in order."""
        wanted = [
            sn for sn, each in self.members.items() if not populations or each.population in populations
        ]
        taken = draw(wanted, share, seed)
        return [self.members[sn].device for sn in wanted if sn in taken]

    @property
    def reboots(self) -> int:
        """Resets of all devices."""
        return sum(engine.reboots for engine in self.engines)

    def power_off(self) -> None:
        """Every device is off, for good."""
        for member in self.members.values():
            member.device.power_off()
        self.wheel.close()

    def _add(
        self,
        scenario: Scenario,
        population: PopulationModel,
        profile: str,
        sns: tuple[str, ...],
        endpoints: Endpoints,
        http: int,
        tell: EventSink,
        limits: Limits,
    ) -> None:
        product = endpoints.products[population.name]
        config = FleetConfig(
            [Population(product.product_id, sns)],
            {product.product_id: product.product_key},
            endpoints.activation_url,
            endpoints.mqtt_url,
            board=population.board,
            app_version=population.version,
            profile=profile_named(profile),
            limits=limits,
            tls=endpoints.tls,
            boot_time=scenario.boot_time,
            tell=tell,
            make_shell=_plain_shell,
        )
        if config.is_secure:
            small_tls_buffers()
        has_tls = config.profile.has_tls
        loop = asyncio.get_running_loop()
        if has_tls not in self._sockets:
            self._sockets[has_tls] = Sockets(loop, config.tls if has_tls else None, http)
        board = (population.board, population.version)
        if board not in self._bases:
            self._bases[board] = BoardBase.make(load_board(board[0]), board[1])
        engine = Engine(
            loop,
            self.wheel,
            self._sockets[has_tls],
            self._bases[board],
            config.profile,
            config.limits,
            config.boot_time,
            config.tell,
            config.console,
            config.make_shell,
            self.metrics,
            started=self.started,
        )
        self.engines.append(engine)
        for port in config.ports():
            self.members[port.sn] = Member(FleetDevice(engine, port), population.name)


def limits_of(scenario: Scenario) -> Limits:
    """The fleet's limits with the scenario's time between two attempts."""
    return Limits(
        download_block=FLEET_LIMITS.download_block,
        activation_retry=scenario.retry_time,
        mqtt_reconnect=scenario.retry_time,
        mqtt_reconnect_longest=max(scenario.retry_time, FLEET_LIMITS.mqtt_reconnect_longest),
        download_retry=scenario.retry_time,
        retry_longest=max(scenario.retry_time, FLEET_LIMITS.retry_longest),
    )


def by_profile(population: PopulationModel, sns: Sequence[str], seed: int) -> dict[str, tuple[str, ...]]:
    """The serial numbers of each profile: drawn, and as near to the shares as whole devices allow."""
    order = _drawn(sns, f"{seed}/profile/{population.name}")
    ends = [round(share * len(sns)) for share in accumulate(population.profiles.values())]
    found = {}
    for name, start, end in zip(population.profiles, [0, *ends], ends, strict=False):
        if start < end:
            found[name] = tuple(sorted(order[start:end]))
    return found


def draw(sns: Sequence[str], share: float, seed: str) -> set[str]:
    """`share` of some serial numbers, always the same for a seed; a larger share takes the same and more."""
    count = round(share * len(sns))
    return set(sns) if count == len(sns) else set(_drawn(sns, seed)[:count])


def _drawn(sns: Sequence[str], seed: str) -> list[str]:
    def lot(sn: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{sn}".encode(), digest_size=_LOT).digest()

    return sorted(sns, key=lot)


def _plain_shell(_port: Port) -> ConsoleShell:
    return PlainShell()
