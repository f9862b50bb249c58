"""What a phase does to its devices: the base class, also of the user's own behaviours."""

import asyncio
import contextlib
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudsdk.errors import CloudSdkError
from sim.fleet.device import FleetDevice
from sim.fleet.events import FleetEvent
from sim.scenario.cloud import RunCloud
from sim.scenario.errors import BehaviourError
from sim.scenario.measure import Observer


@dataclass(slots=True)
class Stage:
    """What a behaviour has to work with while its phase runs. For the thread of the event loop.

    `devices` are the chosen ones, in order. `random` is seeded by the scenario's seed and the places of phase
    and behaviour. `tell_problem` puts a line into the results, and fails the run.
    """

    devices: Sequence[FleetDevice]
    random: random.Random
    cloud: RunCloud
    observer: Observer
    population_of: Callable[[str], str]  # of a serial number
    board_of: Callable[[str], str]  # of a population
    now: Callable[[], float]  # seconds since the start of the run
    tell_problem: Callable[[str], None]
    by_sn: Mapping[str, FleetDevice] = field(init=False)
    _handles: set[asyncio.TimerHandle] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.by_sn = {device.sn: device for device in self.devices}

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call later, unless the phase has ended by then; 0 is for when the event that is told is over."""

        def run() -> None:
            self._handles.discard(handle)
            call(*arguments)

        handle = asyncio.get_running_loop().call_later(seconds, run)
        self._handles.add(handle)

    def close(self) -> None:
        """Nothing is called any more."""
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()


class Behaviour:
    """Does nothing; a subclass overrides what it needs.

    One of your own is made with the `options` of the scenario as keyword arguments.
    """

    async def play(self, stage: Stage) -> None:
        """Begins with the phase and is cancelled at its end."""

    def event(self, stage: Stage, event: FleetEvent) -> None:
        """One of `stage.devices` tells something. It is busy: act on devices by `stage.after(0, ...)`."""

    def end(self, stage: Stage) -> None:
        """The phase is over: give back what was taken away."""


class Play:
    """One behaviour on its stage. An exception of the behaviour is a problem of the run, and no more."""

    def __init__(self, behaviour: Behaviour, stage: Stage, name: str) -> None:
        self._behaviour = behaviour
        self._stage = stage
        self._name = name
        self._hears = type(behaviour).event is not Behaviour.event
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def event(self, event: FleetEvent) -> None:
        if self._hears and event.sn in self._stage.by_sn:
            try:
                self._behaviour.event(self._stage, event)
            except Exception as exc:
                self._fail(exc)

    async def end(self) -> None:
        """After that, nothing of it happens any more."""
        self._stage.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        try:
            self._behaviour.end(self._stage)
        except Exception as exc:
            self._fail(exc)

    async def _run(self) -> None:
        try:
            await self._behaviour.play(self._stage)
        except Exception as exc:
            self._fail(exc)

    def _fail(self, error: Exception) -> None:
        text = str(error) if isinstance(error, CloudSdkError) else f"{type(error).__name__}: {error}"
        self._stage.tell_problem(f"{self._name}: {text}")


def load_behaviour(place: str, options: Mapping[str, Any]) -> Behaviour:
    """The class at `module:Class`, made with `options`. Raises `BehaviourError`."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BehaviourError(
            f"cannot load behaviour {place!r}: {error}; is it on Python's path (PYTHONPATH)?"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Behaviour)):
        raise BehaviourError(f"{place!r} is no subclass of sim.scenario.behaviour.Behaviour")
    try:
        return found(**options)
    except (TypeError, ValueError) as error:
        raise BehaviourError(f"behaviour {place!r} does not take these options: {error}") from None
