"""Everything that survives a loss of power, and the things that are swept."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from sim.faults.powercut.model import Judgement
from sim.faults.powercut.watched import WatchedPages
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages
from sim.flash.power import PowerSupply

Console = Callable[[str], None]
POWER_ON = ""


@dataclass(slots=True)
class World:
    """The flash of a board, and what the outside knows of it.

    `stage` says what runs next; a loss of power sets it back to `POWER_ON`. `notes` is what is remembered
    outside the board, by a cloud or by the laboratory: any immutable value.
    """

    devices: dict[str, NorFlash]
    pages: dict[str, WatchedPages]
    power: PowerSupply
    stage: str = POWER_ON
    notes: Hashable = None

    @classmethod
    def of(
        cls,
        geometries: Iterable[FlashGeometry],
        pages: Mapping[str, MemoryPages] | None = None,
        notes: Hashable = None,
        *,
        power: PowerSupply | None = None,
    ) -> "World":
        """A world over the given contents by device name, which it takes over; erased where none is given."""
        given, supply = pages or {}, power or PowerSupply()
        parts = list(geometries)
        content = {part.name: WatchedPages(given.get(part.name) or MemoryPages(part.size)) for part in parts}
        devices = {part.name: NorFlash(part, content[part.name], supply) for part in parts}
        return cls(devices, content, supply, notes=notes)

    def fork(self) -> "World":
        """An independent twin, with power. Wear and statistics start anew."""
        twin = World.of(
            (device.geometry for device in self.devices.values()),
            {name: watched.pages.fork() for name, watched in self.pages.items()},
            self.notes,
            power=self.power.twin(),
        )
        twin.stage = self.stage
        return twin

    def state(self) -> Hashable:
        """Equal for worlds with the same future: what happens next depends on nothing else."""
        return (self.stage, self.notes, *(watched.pages.snapshot() for watched in self.pages.values()))

    def lose_power(self) -> None:
        """What is not in flash is gone; power comes back."""
        self.stage = POWER_ON
        self.power.restore()


class Step(Enum):
    """How a piece of a device's life ended."""

    AGAIN = auto()  # what comes next knows nothing but the world: a reset, the jump to the application
    SETTLED = auto()  # nothing more will happen by itself


class Subject(Protocol):
    """What the laboratory cuts: something that drives flash.

    It must be a function of the world: a step that starts from an equal world does the same.
    """

    def world(self) -> World:
        """A new world as it is before the first power on."""
        ...

    def step(self, world: World, console: Console) -> Step:
        """Go on from `world.stage`. `PowerCut` passes through."""
        ...

    def judge(self, world: World) -> Judgement:
        """What became of the device, now that it has come to rest."""
        ...

    def partition(self, device: str, offset: int) -> str:
        """Name of the partition at that place, empty when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Firmware:
    """The simplest subject: a callable that drives flash from power on until it is done, and a judge.

    `drive` gets the devices by name. `content` is what they hold at first.
    """

    geometries: tuple[FlashGeometry, ...]
    drive: Callable[[Mapping[str, NorFlash]], None]
    judgement: Callable[[Mapping[str, NorFlash]], Judgement]
    content: Mapping[str, MemoryPages] = field(default_factory=dict)

    def world(self) -> World:
        return World.of(self.geometries, {name: pages.fork() for name, pages in self.content.items()})

    def step(self, world: World, console: Console) -> Step:
        self.drive(world.devices)
        return Step.SETTLED

    def judge(self, world: World) -> Judgement:
        return self.judgement(world.devices)

    def partition(self, device: str, offset: int) -> str:
        return ""
