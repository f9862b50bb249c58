"""Runs a scenario: cloud, devices, phases, verdicts."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sim.fleet.events import FleetEvent
from sim.fleet.fleet import REBOOTS_PER_COLLECTION, frozen_garbage
from sim.fleet.metrics import Metrics
from sim.fleet.sockets import http_connections
from sim.scenario.behaviour import Play, Stage
from sim.scenario.behaviours import make_behaviour
from sim.scenario.cloud import ForeignCloud, RunCloud
from sim.scenario.crew import Crew
from sim.scenario.errors import ScenarioRunError
from sim.scenario.explain import PORTS_PER_ADDRESS
from sim.scenario.measure import Observer, Verdict
from sim.scenario.models import Phase, Scenario
from sim.scenario.results import PhaseSpan, Result
from sim.scenario.series import Sample, Series
from sim.scenario.source import serial_numbers

LOOK: Final = 0.1  # seconds between two looks at conditions, thresholds and the clock
MAX_PROBLEMS: Final = 100  # that are kept
_LOOPBACK: Final = ("//127.", "//localhost")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`tell` gets every event, `watch` every sample with the name of its phase in it."""

    folder: Path = Path()  # where paths in the scenario count from
    cloud: RunCloud | None = None  # instead of the one that the scenario asks for
    product_key: str | None = field(default=None, repr=False)  # of a cloud of somebody else
    tell: Callable[[FleetEvent], None] | None = None
    watch: Callable[["Run", Sample], None] | None = None


class Run:
    """Runs once. Everything that can be known beforehand is checked by the constructor.

    Raises `CloudSdkError`: too few files or ports, no ProductKey, a behaviour that cannot be loaded.
    """

    def __init__(self, scenario: Scenario, options: RunOptions | None = None) -> None:
        self.scenario = scenario
        self._options = options = options or RunOptions()
        self._numbers = {each.name: serial_numbers(each, options.folder) for each in scenario.populations}
        self._http = http_connections(scenario.count)
        self._behaviours = [
            [(model.do, model, make_behaviour(model)) for model in phase.behaviours]
            for phase in scenario.phases
        ]
        self._cloud = self._make_cloud()
        self._stop = asyncio.Event()
        self.metrics = Metrics()
        self.observer = Observer(scenario.count, self.metrics)
        self.series = Series()
        self.problems: list[str] = []
        self.verdicts: dict[int, Verdict] = {}  # by place of the threshold
        self.spans: list[PhaseSpan] = []
        self.phase = ""
        self._begun: dict[str, float] = {}  # phases, in seconds of the run
        self._interrupted = False
        self._plays: list[Play] = []
        self._crew: Crew | None = None
        self._started = 0.0

    def interrupt(self) -> None:
        """End `run` soon, with a result that says so. For the thread of the event loop."""
        self._interrupted = True
        self._stop.set()

    def now(self) -> float:
        """Seconds since the devices were made."""
        return asyncio.get_running_loop().time() - self._started

    async def run(self) -> Result:
        """The whole scenario. Raises `CloudSdkError` when the cloud does not start."""
        began = datetime.now(UTC)
        try:
            endpoints = await asyncio.to_thread(self._cloud.start, self._numbers)
            self._check_ports(endpoints.mqtt_url)
            with frozen_garbage() as collect:
                self._crew = Crew(
                    self.scenario, self._numbers, endpoints, self._http, self._tell, self.metrics
                )
                self._started = self._crew.started
                watcher = asyncio.create_task(self._watch(collect))
                try:
                    await self._phases(collect)
                finally:
                    watcher.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await watcher
                    self._judge_rest()
                    self._sample()
                    summary = {"devices": self.scenario.count, **self.metrics.summary()}
                    seconds = self.now()
                    self._crew.power_off()
                    await asyncio.sleep(0)  # the connections close
        finally:
            await asyncio.to_thread(self._cloud.stop)
        return self._result(began, seconds, summary)

    # --- phases -------------------------------------------------------------------------------------

    async def _phases(self, collect: Callable[[], None]) -> None:
        for number, phase in enumerate(self.scenario.phases):
            if self._stop.is_set():
                return
            self.phase = phase.name
            began = self._begun[phase.name] = self.now()
            plays = [
                Play(behaviour, self._stage(number, place, model), f"phase {phase.name}, {name}")
                for place, (name, model, behaviour) in enumerate(self._behaviours[number])
            ]
            self._plays = plays
            for play in plays:
                play.begin()
            try:
                await self._wait(phase, began)
            finally:
                self._plays = []
                self._judge(phase.name, ended=True)
                for play in plays:
                    await play.end()
                self.spans.append(PhaseSpan(phase.name, round(began, 3), round(self.now(), 3)))
            collect()

    async def _wait(self, phase: Phase, began: float) -> None:
        while (left := began + phase.duration - self.now()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(LOOK, left))
            self._judge(phase.name, ended=False)
            failure = self._cloud.failure()
            if failure is not None:
                self._tell_problem(failure)
                self._stop.set()
            if self._stop.is_set() or self._is_over(phase):
                return

    def _is_over(self, phase: Phase) -> bool:
        return bool(phase.until) and all(self.observer.holds(condition) for condition in phase.until)

    def _stage(self, number: int, place: int, model: Any) -> Stage:
        crew = self._crew
        if crew is None:
            raise ScenarioRunError("the devices are not there yet")
        seed = f"{self.scenario.seed}/{number}/{place}"
        boards = {each.name: each.board for each in self.scenario.populations}
        return Stage(
            crew.chosen(getattr(model, "populations", ()), getattr(model, "share", 1.0), seed),
            random.Random(seed),
            self._cloud,
            self.observer,
            lambda sn: crew.members[sn].population,
            boards.__getitem__,
            self.now,
            self._tell_problem,
        )

    # --- verdicts -----------------------------------------------------------------------------------

    def _judge(self, phase: str, *, ended: bool) -> None:
        """Thresholds that can be decided now, during or at the end of a phase."""
        now = self.now()
        for place, threshold in enumerate(self.scenario.thresholds):
            if place in self.verdicts:
                continue
            if threshold.within is None:
                if ended and threshold.phase == phase:
                    self.verdicts[place] = self.observer.judge(threshold, now)
                continue
            start = 0.0 if threshold.phase is None else self._begun.get(threshold.phase)
            if start is None:
                continue
            late = now - start > threshold.within
            if late or self.observer.holds(threshold):
                self.verdicts[place] = self.observer.judge(threshold, now, late=late)

    def _judge_rest(self) -> None:
        """What is left at the end: the whole run, and what was never reached."""
        for place, threshold in enumerate(self.scenario.thresholds):
            if place not in self.verdicts:
                late = threshold.within is not None or threshold.phase is not None
                self.verdicts[place] = self.observer.judge(threshold, self.now(), late=late)

    # --- watching -----------------------------------------------------------------------------------

    async def _watch(self, collect: Callable[[], None]) -> None:
        """Look at the clock, take samples, and collect what many reboots leave behind."""
        loop = asyncio.get_running_loop()
        sampled, collected = loop.time(), 0
        while True:
            before = loop.time()
            await asyncio.sleep(LOOK)
            now = loop.time()
            self.series.lagged(max(0.0, now - before - LOOK), LOOK)
            if now - sampled >= self.series.period:
                sampled = now
                self._sample()
            reboots = self._crew.reboots if self._crew is not None else 0
            if reboots - collected >= max(REBOOTS_PER_COLLECTION, self.scenario.count // 2):
                collected = reboots
                collect()

    def _sample(self) -> None:
        sample = self.series.take(self.now(), self.phase, self.observer, time.process_time())
        if self._options.watch is not None:
            self._options.watch(self, sample)

    def _tell(self, event: FleetEvent) -> None:
        self.observer.take(event)
        for play in self._plays:
            play.event(event)
        if self._options.tell is not None:
            self._options.tell(event)

    def _tell_problem(self, text: str) -> None:
        line = " ".join(text.split())
        if line not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(line)

    # --- before and after -----------------------------------------------------------------------------

    def _make_cloud(self) -> RunCloud:
        cloud, options = self.scenario.cloud, self._options
        if options.cloud is not None:
            return options.cloud
        if cloud.foreign is not None:
            return ForeignCloud(cloud.foreign, options.folder, options.product_key)
        from sim.scenario.reference_cloud import ReferenceCloud

        return ReferenceCloud(cloud.reference.broker if cloud.reference is not None else "embedded")

    def _check_ports(self, mqtt_url: str) -> None:
        """Towards loopback there are many source addresses, elsewhere there is one."""
        is_loopback = any(place in mqtt_url for place in _LOOPBACK)
        if not is_loopback and self.scenario.count > PORTS_PER_ADDRESS:
            raise ScenarioRunError(
                f"{self.scenario.count} devices need more ports than the {PORTS_PER_ADDRESS} of one address: "
                "run them from several machines"
            )

    def _result(self, began: datetime, seconds: float, summary: Mapping[str, Any]) -> Result:
        order = sorted(self.verdicts)
        return Result(
            scenario=self.scenario.name,
            description=self.scenario.description,
            seed=self.scenario.seed,
            began=began.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            interrupted=self._interrupted,
            problems=tuple(self.problems),
            limited=tuple(self.series.limits()),
            verdicts=tuple(self.verdicts[place] for place in order),
            phases=tuple(self.spans),
            samples=tuple(self.series.samples),
            slowest=tuple(self.observer.slowest),
            summary=summary,
        )
