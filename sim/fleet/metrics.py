"""What a fleet counts and times."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sim.fleet.events import Kind, Phase
from sim.fleet.histogram import Histogram


@dataclass(slots=True)
class Metrics:
    """Since the start of the run. `phases` is how many devices are where; durations are seconds."""

    phases: Counter[Phase] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)  # of events
    received: int = 0  # MQTT messages
    published: int = 0
    acknowledged: int = 0
    downloaded_bytes: int = 0
    activation: Histogram = field(default_factory=Histogram)  # request to credentials
    connect: Histogram = field(default_factory=Histogram)  # CONNECT to SUBACK
    acknowledgement: Histogram = field(default_factory=Histogram)  # PUBLISH to PUBACK
    upgrade: Histogram = field(default_factory=Histogram)  # task to the report of its version
    causes: Counter[str] = field(default_factory=Counter)  # of failures and losses

    def summary(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {
            "phases": {phase.value: self.phases[phase] for phase in Phase if self.phases[phase]},
            "events": {kind.value: self.counts[kind] for kind in Kind if self.counts[kind]},
            "messages": {
                "received": self.received,
                "published": self.published,
                "acknowledged": self.acknowledged,
            },
            "downloaded_bytes": self.downloaded_bytes,
            "latency": {
                "activation": self.activation.summary(),
                "connect": self.connect.summary(),
                "acknowledgement": self.acknowledgement.summary(),
                "upgrade": self.upgrade.summary(),
            },
            "causes": dict(self.causes.most_common()),
        }
