"""A device under test, started as a command, and the cloud it talks to."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cloudsdk.datapoints import DataPoint
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.conformance.case import Suite, expect, violated
from sim.conformance.command import Running, command_words
from sim.conformance.device.scripted_cloud import Firmware, Lie, ScriptedCloud
from sim.conformance.scope import POLL, Scope

PATIENCE: Final = 20.0  # seconds for what a device does by itself; the original's longest pause is 10 s
OFFER_AGAIN: Final = 6.0  # seconds without progress until the cloud sends a task again
SETTLE: Final = 1.0  # seconds in which what must not come would have come
NEW: Final = "2.0.0"
TASK: Final = "1.1"
SIZE: Final = 9000  # bytes of firmware: some download blocks, the last one short
_TIMESTAMP: Final = 1546300800  # of packages
_LINK_ADDRESS: Final = 0x08010000  # of applications of the IoT Board

SUITE: Final = Suite["DeviceBench"]("device", "Cases for devices")


class Process(Protocol):
    """A device that runs."""

    @property
    def ended(self) -> bool: ...

    @property
    def output(self) -> str: ...

    def kill(self) -> None: ...


#: Starts the device: what it is told by name (see `settings_of`), and its scope.
Start = Callable[[Scope, Mapping[str, str]], Process]


def settings_of(cloud: ScriptedCloud, state: Path) -> dict[str, str]:
    """What a device is told. `state` is a directory that is empty at first and stays between restarts."""
    return {
        "activation_url": cloud.activation_url,
        "mqtt_url": cloud.mqtt_url,
        "product_id": cloud.product_id,
        "product_key": cloud.product_key,
        "sn": cloud.sn,
        "state": str(state),
    }


def starter(command: str) -> Start:
    """Run `command`, which gets the settings as placeholders and as CLOUDSIM_... in its environment. Raises
    `UsageError`."""
    names = ("activation_url", "mqtt_url", "product_id", "product_key", "sn", "state")
    command_words(command, dict.fromkeys(names, "x"))  # a wrong one is known before anything runs

    def start(scope: Scope, settings: Mapping[str, str]) -> Process:
        environment = {f"CLOUDSIM_{name.upper()}": value for name, value in settings.items()}
        return Running(scope, command_words(command, settings), cwd=Path.cwd(), environment=environment)

    return start


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """The device under test. `patience` is how many seconds it may take to do something by itself."""

    start: Start
    patience: float = PATIENCE


class DeviceBench:
    """One case: a cloud, and a device that has never been on."""

    def __init__(self, scope: Scope, target: DeviceTarget) -> None:
        self.scope = scope
        self.target = target
        self.cloud = ScriptedCloud(scope)
        folder = tempfile.TemporaryDirectory(prefix="cloudsim-conform-")
        scope.add(folder.cleanup)
        self._settings = settings_of(self.cloud, Path(folder.name))
        self._process: Process | None = None

    # The device

    def start(self) -> None:
        self._process = self.target.start(self.scope, self._settings)

    def power_cycle(self) -> None:
        """Power off without a warning, and on."""
        if self._process is not None:
            self._process.kill()
        self.start()

    @property
    def console(self) -> str:
        return self._process.output if self._process is not None else ""

    def online(self) -> None:
        """Start the device and wait until it has reported its version."""
        self.start()
        self.wait(lambda: bool(self.cloud.versions()), "data point 1011 after 1010")

    def wait(self, condition: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Raises `ViolationError` unless `condition` comes true in time. A device that ends at its reset is
        started again."""
        patience = self.target.patience if seconds is None else seconds

        def holds() -> bool:
            if condition():
                return True
            if self._process is not None and self._process.ended:
                self.start()
            return False

        if not self.scope.until(holds, patience):
            violated(what, self._last())

    def _last(self) -> str:
        cloud = self.cloud
        return (
            f"{len(cloud.requests)} requests, {len(cloud.connects)} connections, "
            f"versions {cloud.versions()[-3:]}, console {self.console[-80:]!r}"
        )

    def settle(self, seconds: float = SETTLE) -> None:
        """Let so much time go by."""
        self.scope.until(lambda: False, max(seconds, POLL))

    def answers(self, version: str | None = None) -> None:
        """Raises `ViolationError` unless the device still answers 1010, with that version if one is given."""
        before = len(self.cloud.versions())
        self.cloud.say(DataPoint.VERSION_QUERY)
        self.wait(lambda: len(self.cloud.versions()) > before, "an answer to 1010")
        if version is not None:
            found = self.cloud.versions()[-1]
            expect(found == version, f"version {version}", found)

    # Upgrades

    def package(self, name: str = "app", version: str = NEW, size: int = SIZE) -> bytes:
        raw = (
            samples.application(version, link_address=_LINK_ADDRESS, size=size)
            if name == "app"
            else samples.filesystem(version, size=max(size // 4096, 1) * 4096)
        )
        return pack(raw, name=name, version=version, timestamp=_TIMESTAMP)

    def firmware(self, *lies: Lie, name: str = "app", version: str = NEW, key: str = "") -> Firmware:
        """A sound package on the server, which lies so about it."""
        return self.cloud.publish(name, version, self.package(name, version), *lies, key=key)

    def upgraded(self, version: str = TASK) -> None:
        """Wait until the device reports `version`; a cloud sends its task again and again."""
        step = min(OFFER_AGAIN, self.target.patience)
        end = 0.0
        while version not in self.cloud.versions():
            if end >= 3 * self.target.patience:
                violated(f"a report of version {version}", self._last())
            end += step
            if not self._within(lambda: version in self.cloud.versions(), step):
                self.cloud.offer_again()

    def _within(self, condition: Callable[[], bool], seconds: float) -> bool:
        def holds() -> bool:
            if not condition() and self._process is not None and self._process.ended:
                self.start()
            return condition()

        return self.scope.until(holds, seconds)
