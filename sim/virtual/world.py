"""A board, its cloud and the network between them, under one virtual clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cloudsdk.limits import Limits
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.shell.console_device import ConsoleShell
from sim.board import make_board
from sim.flash.layout import BoardLayout
from sim.flash.pages import MemoryPages
from sim.virtual.clock import SECOND, VirtualClock
from sim.virtual.cloud import VirtualCloud
from sim.virtual.device import VirtualDevice, VirtualPort
from sim.virtual.faults import FaultSchedule, Randomness
from sim.virtual.log import EventLog, Log, no_log
from sim.virtual.network import FAST, Link, VirtualNetwork
from sim.virtual.releases import Task

DAY: Final = 24 * 3600 * SECOND
MAX_EVENTS: Final = 200_000  # of one world; one that goes on is caught in a loop


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator of the cloud does at a time: offers a task, or withdraws the one there is (None)."""

    when: int  # microseconds
    task: Task | None


class World:
    """Everything there is. `pages` are the board's flash by device name and are changed.

    `write` takes the lines of the event log; without it nothing is noted. The same arguments, with `source`
    in the same state, give the same log.
    """

    def __init__(
        self,
        layout: BoardLayout,
        pages: Mapping[str, MemoryPages],
        *,
        source: Randomness,
        orders: tuple[Order, ...] = (),
        faults: FaultSchedule | None = None,
        link: Link = FAST,
        profile: Profile = MANUAL,
        limits: Limits | None = None,
        keys: PackageKeys | None = None,
        port: VirtualPort | None = None,
        shell: ConsoleShell | None = None,
        write: Callable[[str], None] | None = None,
    ) -> None:
        limits, faults = limits or Limits(), faults or FaultSchedule()
        self.clock = VirtualClock()
        self.log: Log = EventLog(self.clock, write) if write is not None else no_log
        self.log("world", str(faults))
        self.cloud = VirtualCloud(self.clock, self.log)
        self.network = VirtualNetwork(
            self.clock, self.cloud, source=source, faults=faults, link=link, limits=limits, log=self.log
        )
        self.device = VirtualDevice(
            make_board(layout, dict(pages), keys),
            self.clock,
            self.network,
            port=port or VirtualPort(),
            profile=profile,
            limits=limits,
            faults=faults,
            log=self.log,
            shell=shell,
        )
        self._events = 0
        self._to_come = 0  # orders and blackouts
        for order in orders:
            self._plan(order.when, lambda task=order.task: self._carry_out(task))  # type: ignore[misc]
        for when in faults.blackouts:
            self._plan(when, self.device.power_off)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen but keepalives: no task is open, no download runs."""
        return not self._to_come and self.cloud.done and self.device.is_idle

    def run(self, deadline: int = DAY) -> bool:
        """Power on, and run until the world is settled; False when it is not by the time `deadline`."""
        self.device.power_on()
        return self.run_until(lambda: self.is_settled, deadline)

    def run_until(self, reached: Callable[[], bool], deadline: int = DAY) -> bool:
        """Go on until `reached`; False when it is not by `deadline`, or the device is caught in a loop."""
        clock = self.clock
        while not reached():
            due = clock.next_due
            if due is None or due > deadline or self._events >= MAX_EVENTS or self.device.is_stuck:
                return False
            self._events += 1
            clock.step()
        return True

    def run_for(self, duration: int) -> None:
        """Go on for that many microseconds."""
        self.clock.run_until(self.clock.now + duration)

    def _plan(self, when: int, action: Callable[[], None]) -> None:
        self._to_come += 1

        def act() -> None:
            self._to_come -= 1
            action()

        self.clock.at(when, act)

    def _carry_out(self, task: Task | None) -> None:
        if task is None:
            self.cloud.cancel()
        else:
            self.cloud.offer(task)
