"""Trials: one upgrade under a schedule of faults drawn from a seed, judged from outside.

A device may end in the version that the cloud wants, or in another one and say so: through its port and on
its console. It may not hang, start a damaged or spliced application, install one package twice, or report the
version of a set that is not complete.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.rt_ota import DOWNLOAD
from cloudsdk.port import OtaStatus
from cloudsdk.profile import MANUAL, Profile
from sim.bootloader.outcome import BootResult
from sim.bootloader.rt_ota import APP
from sim.virtual import upgrades
from sim.virtual.clock import SECOND
from sim.virtual.faults import FaultSchedule, Randomness, draw
from sim.virtual.releases import Task
from sim.virtual.upgrades import FILES, Plot, draw_plot
from sim.virtual.world import DAY, World

GRACE: Final = 60 * SECOND  # after everything is settled, in which nothing more may happen


class End(StrEnum):
    """How a trial ended."""

    WANTED = "wanted version"
    REPORTED = "reported error"
    CANCELLED = "cancelled"  # whatever was installed by then is whole
    HANG = "hang"
    TWICE = "installed twice"
    SPLICED = "damaged or spliced image"
    FALSE_REPORT = "version of an incomplete set reported"
    SILENT = "neither the wanted version nor a reported error"

    @property
    def good(self) -> bool:
        return self in (End.WANTED, End.REPORTED, End.CANCELLED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`duration` is in virtual microseconds."""

    seed: int
    end: End
    plot: Plot
    faults: FaultSchedule
    duration: int
    boots: int
    downloads: int
    detail: str = ""

    def __str__(self) -> str:
        text = f"seed {self.seed}: {self.end} ({self.plot.story}; {self.faults})"
        return f"{text}: {self.detail}" if self.detail else text


class Trial:
    """One world with its judge. `source` is seeded with `seed`; `write` takes the lines of the event log."""

    def __init__(
        self,
        seed: int,
        source: Randomness,
        *,
        profile: Profile = MANUAL,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self.plot = draw_plot(source)
        self.faults = draw(source)
        self.world = World(
            upgrades.board(),
            upgrades.new_board(),
            source=source,
            orders=self.plot.orders,
            faults=self.faults,
            profile=profile,
            write=write,
        )
        self.world.log("world", f"seed {seed}, {self.plot.story}")
        self._seed = seed
        self._bad: tuple[End, str] | None = None
        self._completed: set[str] = set()
        self._tasks = {order.task.version: order.task for order in self.plot.orders if order.task is not None}
        for task in self._tasks.values():
            for release in task.releases:
                self.world.cloud.lie_with(release, upgrades.other_build(release))
        self.world.device.on_boot = self._booted
        self.world.device.port.on_end = self._ended
        self.world.cloud.on_report = self._reported

    def run(self) -> Verdict:
        world = self.world
        settled = world.run(DAY)
        if settled:
            world.run_for(GRACE)
        end, detail = self._bad or self._judge(settled)
        verdict = Verdict(
            self._seed,
            end,
            self.plot,
            self.faults,
            world.clock.now,
            world.device.boots,
            world.network.downloads,
            detail,
        )
        world.log("world", f"{end} {detail}".rstrip())
        return verdict

    # --- witnesses ----------------------------------------------------------------------------------

    def _booted(self, _result: BootResult) -> None:
        self._check_image(APP)

    def _ended(self, status: OtaStatus) -> None:
        board = self.world.device.board
        if status is not OtaStatus.OK:
            return
        header = RblHeader.unpack(board.partition(DOWNLOAD).read(0, HEADER_SIZE))
        if board.installed(header.name_text) == header:
            self._blame(End.TWICE, f"{header.name_text} {header.version_text} once more")

    def _reported(self, version: str) -> None:
        """Once a set was complete, its version stays true until the next one is."""
        task = self._tasks.get(version)
        if task is None or version in self._completed:
            return
        if self._is_installed(task):
            self._completed.add(version)
        else:
            self._blame(End.FALSE_REPORT, f"{version} is reported")

    def _check_image(self, name: str) -> None:
        """What a partition holds under a valid header is the image that was packed with it."""
        board = self.world.device.board
        header = board.installed(name)
        if header is None:
            return
        image = upgrades.image_of(header)
        if image is None or board.partition(name).read(0, len(image)) != image:
            self._blame(End.SPLICED, f"{name} {header.version_text} is no image that was packed")

    def _blame(self, end: End, detail: str) -> None:
        self._bad = self._bad or (end, detail)

    # --- judgement ----------------------------------------------------------------------------------

    def _judge(self, settled: bool) -> tuple[End, str]:
        world, wanted = self.world, self.plot.wanted
        device, reports = world.device, world.cloud.reports
        if not settled:
            return End.HANG, f"not settled after {world.clock.now // SECOND} s and {device.boots} boots"
        self._check_image(FILES)
        if self._bad is not None:
            return self._bad
        if wanted is None:
            return End.CANCELLED, ""
        if reports and reports[-1] == wanted.version:
            return End.WANTED, ""
        session = device.session
        if OtaStatus.FAILED in device.port.ends:
            return End.REPORTED, ""
        if session is not None and not session.activated and session.activation_failures:
            return End.REPORTED, "not activated"
        return End.SILENT, f"reports {reports[-1] if reports else 'nothing'}"

    def _is_installed(self, task: Task) -> bool:
        """A liar's build of the same version is as good: the device cannot know."""
        for release in task.releases:
            installed = self.world.device.board.installed(release.header.name_text)
            if installed is None or installed.version_text != release.header.version_text:
                return False
        return True


@dataclass(slots=True)
class Sweep:
    """Verdicts of many trials: how often each end, and the bad ones."""

    ends: Counter[End]
    stories: Counter[str]
    bad: list[Verdict]

    @classmethod
    def empty(cls) -> "Sweep":
        return cls(Counter(), Counter(), [])

    @property
    def count(self) -> int:
        return self.ends.total()

    def add(self, verdict: Verdict) -> None:
        self.ends[verdict.end] += 1
        self.stories[verdict.plot.story] += 1
        if not verdict.end.good:
            self.bad.append(verdict)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.count} fault schedules: {ends}"
