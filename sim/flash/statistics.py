"""What a device did, how long a real one would take for it, and how far it is worn."""

from collections import Counter
from dataclasses import dataclass, field

from sim.flash.geometry import FlashTiming


@dataclass(slots=True)
class FlashStatistics:
    """Live counters of one device since it was built."""

    reads: int = 0
    bytes_read: int = 0
    programs: int = 0  # page programs
    bytes_programmed: int = 0
    dirty_programs: int = 0  # page programs over cells that were not erased
    lost_programs: int = 0  # page programs that could not store their data: a 1 over a 0
    block_erases: int = 0
    erase_commands: Counter[int] = field(default_factory=Counter)  # by the bytes that one erases
    timing: FlashTiming = field(default_factory=FlashTiming)

    @property
    def busy(self) -> float:
        """Microseconds that a part with these typical times was busy; what was begun counts whole."""
        erase_ns = dict(self.timing.erase_ns)
        total = self.bytes_read * self.timing.read_ns_per_byte + self.programs * self.timing.program_ns
        total += sum(count * erase_ns.get(size, 0) for size, count in self.erase_commands.items())
        return total / 1000


@dataclass(frozen=True, slots=True)
class WearSummary:
    """How far a device is worn.

    `blocks` were ever erased, `erases` times in all; the one at `worst` (bytes from the start of the device)
    most often, `worst_erases` times.
    """

    blocks: int
    erases: int
    worst: int
    worst_erases: int
