"""What a fleet tells about its devices while it runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a device stands."""

    WAITING = "waiting"  # not switched on yet
    BOOTING = "booting"
    ACTIVATING = "activating"
    CONNECTING = "connecting"
    ONLINE = "online"
    FAILED = "failed"  # for good: no application starts, or activation was given up
    OFF = "off"


class Kind(StrEnum):
    """What happened; `FleetEvent.detail` says more."""

    ACTIVATED = "activated"
    ONLINE = "online"
    OFFLINE = "offline"  # the cause
    TASK = "task"  # partition and version of the download that begins
    PROGRESS = "progress"  # per cent of the download, in tens
    DOWNLOADED = "downloaded"
    REBOOTED = "rebooted"
    REPORTED = "reported"  # the version
    FAILED = "failed"  # the cause
    CUT = "cut"  # of the power; where


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """`at` is seconds since the start of the run."""

    at: float
    sn: str
    kind: Kind
    detail: str = ""

    def json_line(self) -> str:
        """The event as a line of JSON, with its end."""
        fields = {"at": round(self.at, 3), "sn": self.sn, "event": self.kind, "detail": self.detail}
        return json.dumps(fields) + "\n"


EventSink = Callable[[FleetEvent], None]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device as it is now. `version` is what it last reported, `cause` the last failure."""

    sn: str
    phase: Phase
    boots: int = 0
    version: str = ""
    downloading: bool = False
    cause: str = ""
