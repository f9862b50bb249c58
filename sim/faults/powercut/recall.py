"""Steps that need not be run again.

Firmware knows flash only by looking at it. A step that finds every page it looks at as an earlier one found
it does what that one did: the same reads, the same writes, the same end, whatever lies in pages that it does
not look at, or erases unseen.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sim.faults.powercut.world import World

_End = TypeVar("_End")
_STARTS: Final = 256  # pairs of stage and notes that are remembered
_STEPS: Final = 32  # remembered for each of them


@dataclass(slots=True)
class _Remembered(Generic[_End]):
    seen: list[tuple[str, int, bytes]]  # device, page index, content
    left: dict[str, dict[int, bytes]]
    stage: str
    notes: Hashable
    end: _End

    def holds(self, world: World) -> bool:
        """Whether a step from this world would see the same."""
        pages = {name: watched.pages for name, watched in world.pages.items()}
        for place, (name, index, content) in enumerate(self.seen):
            if pages[name].page(index) != content:
                # What differs once will differ again: look there first.
                self.seen.insert(0, self.seen.pop(place))
                return False
        return True

    def apply(self, world: World) -> None:
        for name, pages in self.left.items():
            world.pages[name].pages.replace(pages)
        world.stage, world.notes = self.stage, self.notes


class Recall(Generic[_End]):
    """Runs `step` on a world, or brings it where an earlier step from the same sight went."""

    def __init__(self, step: Callable[[World], _End]) -> None:
        self._step = step
        self._remembered: OrderedDict[Hashable, list[_Remembered[_End]]] = OrderedDict()

    def step(self, world: World) -> _End:
        start = (world.stage, world.notes)
        known = self._remembered.setdefault(start, [])
        self._remembered.move_to_end(start)
        for place, earlier in enumerate(known):
            if earlier.holds(world):
                known.insert(0, known.pop(place))
                earlier.apply(world)
                return earlier.end
        for watched in world.pages.values():
            watched.watch()
        end = self._step(world)
        seen = [(name, *page) for name, watched in world.pages.items() for page in watched.seen()]
        left = {name: watched.left() for name, watched in world.pages.items()}
        known.insert(0, _Remembered(seen, left, world.stage, world.notes, end))
        del known[_STEPS:]
        if len(self._remembered) > _STARTS:
            self._remembered.popitem(last=False)
        return end
