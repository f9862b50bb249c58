"""A cloud on the bench, whatever it is: it knows devices, and upgrades them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from sim.board import Board
from sim.rig.clock import RigClock
from sim.rig.device import RigDevice


class Progress(StrEnum):
    """How far a task is on one device."""

    OPEN = "open"
    DONE = "done"  # the device has reported the task's version
    FAILED = "failed"  # cancelled or given up: it will never be done


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A task that was given to devices. `task` is what the cloud calls it."""

    cloud: "RigCloud"
    devices: tuple[RigDevice, ...]
    task: Any

    def wait(self, timeout: float | None = None) -> None:
        """Wait until every device has reported the version. Raises `ExpectationError`."""
        __tracebackhide__ = True
        otherwise = f"task {self.cloud.title(self.task)} is not done"
        for device in self.devices:
            self.cloud.wait_for(device, partial(self._is_done, device), otherwise, timeout)

    def _is_done(self, device: RigDevice) -> bool:
        __tracebackhide__ = True
        progress = self.cloud.progress(self.task, device)
        if progress is Progress.FAILED:
            raise device.failure(
                f"will not finish task {self.cloud.title(self.task)}: it was cancelled or given up"
            )
        return progress is Progress.DONE


class RigCloud(ABC):
    """`clock` is the time its devices live in; timeouts are in its seconds."""

    def __init__(self, clock: RigClock) -> None:
        self.clock = clock

    @abstractmethod
    def register(self, sn: str) -> Port:
        """Enter a device; returns what its firmware is built with."""

    @abstractmethod
    def make_device(self, board: Board, port: Port, profile: Profile, **options: Any) -> RigDevice:
        """A device of this cloud, powered off."""

    @abstractmethod
    def is_online(self, device: RigDevice) -> bool:
        """Whether the device is online and has reported its version."""

    @abstractmethod
    def start_upgrade(
        self, devices: Sequence[RigDevice], packages: Sequence[Path], version: str | None, mode: UpgradeMode
    ) -> Any:
        """Create a task; returns what the cloud calls it."""

    @abstractmethod
    def progress(self, task: Any, device: RigDevice) -> Progress:
        """How far a task is on a device."""

    def title(self, task: Any) -> str:
        """What messages call a task."""
        return str(task)

    def upgrade(
        self,
        *devices: RigDevice,
        version: str | None = None,
        mode: UpgradeMode = UpgradeMode.FORCED,
        wait: bool = True,
        timeout: float | None = None,
        **firmware: str | Path,
    ) -> Upgrade:
        """Upload packages, create a task of them, and wait until the devices have reported its version.

        `firmware` maps partitions to packages, in the order of installation: `app="2.0.0.rbl"`. Without a
        version the cloud chooses one. Raises `UsageError` when a package is for another partition, and
        `ExpectationError` when a device does not get there.
        """
        __tracebackhide__ = True
        if not devices or not firmware:
            raise UsageError("an upgrade needs a device and a package, such as app='2.0.0.rbl'")
        packages = [_package(name, Path(path)) for name, path in firmware.items()]
        upgrade = Upgrade(self, devices, self.start_upgrade(devices, packages, version, mode))
        if wait:
            upgrade.wait(timeout)
        return upgrade

    def wait_online(self, *devices: RigDevice, timeout: float | None = None) -> None:
        """Wait until the devices are online and have reported their version."""
        __tracebackhide__ = True
        for device in devices:
            self.wait_for(device, partial(self.is_online, device), "it is not online", timeout)

    def wait_for(
        self, device: RigDevice, condition: Callable[[], bool], otherwise: str, timeout: float | None = None
    ) -> None:
        """Wait while the device runs. Raises `ExpectationError`, which says `otherwise`."""
        __tracebackhide__ = True
        seconds = self.clock.patience if timeout is None else timeout
        if self.clock.wait(lambda: condition() or not device.is_on, seconds) and condition():
            return
        why = f"within {seconds:g} s" if device.is_on else "and the device is off"
        raise device.failure(f"waits: {otherwise} {why}")


def _package(partition: str, path: Path) -> Path:
    try:
        with open_regular(path) as file:
            name = RblHeader.unpack(file.read(HEADER_SIZE)).name_text
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    if name != partition:
        raise UsageError(f"{path} is a package for partition {name!r}, not {partition!r}")
    return path
