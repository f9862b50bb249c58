"""A virtual world with one fault in it, and what its tests ask afterwards."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudsdk.events import HttpRequest
from cloudsdk.limits import Limits
from cloudsdk.ota.header import RblHeader
from cloudsdk.port import OtaStatus
from cloudsdk.profile import MANUAL, Profile
from sim.virtual import upgrades
from sim.virtual.clock import SECOND
from sim.virtual.device import VirtualPort
from sim.virtual.faults import Fault, Faults, FaultSchedule, Kind, Plan
from sim.virtual.releases import Release, Task
from sim.virtual.servers import asked_offset
from sim.virtual.world import Order, World

GREATER = upgrades.greater()
APP, FILES = GREATER.releases
HOUR = 3600 * SECOND


def fault(kind: Kind, value: int = 0) -> Faults:
    return (Fault(kind, value),)


def http(*first: Faults, later: Faults = ()) -> FaultSchedule:
    """Faults of the downloads in order, then those of all later ones."""
    return FaultSchedule(http=Plan(first, later))


@dataclass
class Threat:
    """A board that was never activated against a cloud that offers `tasks` one second after power on."""

    faults: FaultSchedule = field(default_factory=FaultSchedule)
    tasks: tuple[Task, ...] = (GREATER,)
    orders: tuple[Order, ...] = ()  # in the place of `tasks`
    profile: Profile = MANUAL
    limits: Limits | None = None
    refuse_downgrade: bool = False

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        port = VirtualPort()
        port.refuse_downgrade = self.refuse_downgrade
        self.world = World(
            upgrades.board(),
            upgrades.new_board(),
            source=random.Random(20181013),
            orders=self.orders or tuple(Order(SECOND, task) for task in self.tasks),
            faults=self.faults,
            profile=self.profile,
            limits=self.limits,
            port=port,
            write=self.lines.append,
        )
        for task in [order.task for order in self.orders if order.task] + list(self.tasks):
            for release in task.releases:
                self.world.cloud.lie_with(release, upgrades.other_build(release))

    def run(self) -> "Threat":
        assert self.world.run(), "the device does not settle"
        self.world.run_for(60 * SECOND)
        return self

    # --- afterwards ---------------------------------------------------------------------------------

    @property
    def reported(self) -> str:
        """The version heard last; empty without one."""
        return (self.world.cloud.reports or [""])[-1]

    @property
    def cannot_activate(self) -> bool:
        session = self.world.device.session
        return session is not None and not session.activated and bool(session.last_activation_error)

    @property
    def failed(self) -> bool:
        """Whether the port was told of a failure."""
        return OtaStatus.FAILED in self.world.device.port.ends

    @property
    def requests(self) -> list[HttpRequest]:
        return self.world.cloud.requests

    @property
    def starts(self) -> list[int]:
        """Where each download began."""
        return [asked_offset(request) or 0 for request in self.requests]

    def console(self, text: str) -> int:
        """How many console lines hold `text`."""
        return sum(text in line for line in self.lines if " console " in line)

    def installed(self, name: str) -> RblHeader | None:
        return self.world.device.board.installed(name)

    def holds(self, releases: Iterable[Release]) -> bool:
        """Whether the board has these releases, header and image."""
        return all(self._holds(release) for release in releases)

    def _holds(self, release: Release) -> bool:
        header = release.header
        image = upgrades.image_of(header)
        content = self.world.device.board.partition(header.name_text)
        return (
            self.installed(header.name_text) == header
            and image is not None
            and content.read(0, len(image)) == image
        )

    def keeps_old_application(self) -> bool:
        image = upgrades.application("1.0.0")
        header = self.installed("app")
        content = self.world.device.board.partition("app").read(0, len(image))
        return header is not None and header.version_text == "1.0.0" and content == image

    def is_upgraded(self) -> bool:
        """Right version, right images, each package handed over once."""
        ends = self.world.device.port.ends
        return (
            self.reported == GREATER.version
            and self.holds(GREATER.releases)
            and ends.count(OtaStatus.OK) == 2
        )
