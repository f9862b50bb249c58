"""Behaviours of a user's own, named by tests as `scenario_hooks:Class`."""

import asyncio

from sim.fleet.events import FleetEvent, Kind
from sim.scenario.behaviour import Behaviour, Stage


class Counting(Behaviour):
    """Notes what it sees in `seen`, which outlives it."""

    seen: list[str] = []

    def __init__(self, word: str) -> None:
        self._word = word

    async def play(self, stage: Stage) -> None:
        self.seen.append(f"play {self._word} {len(stage.devices)}")
        await asyncio.Event().wait()

    def event(self, stage: Stage, event: FleetEvent) -> None:
        if event.kind is Kind.ONLINE:
            self.seen.append(f"online {event.sn}")

    def end(self, stage: Stage) -> None:
        self.seen.append("end")


class Failing(Behaviour):
    async def play(self, stage: Stage) -> None:
        raise ValueError("planned\nfailure")

    def event(self, stage: Stage, event: FleetEvent) -> None:
        raise KeyError("planned")
