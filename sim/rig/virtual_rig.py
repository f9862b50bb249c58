"""Cloud and devices of the virtual world behind the faces of the bench (docs/virtual-time.md).

Each device has a cloud and a network of its own; all of them live under one clock.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.limits import Limits
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from sim.board import Board
from sim.bootloader.outcome import BootOutcome
from sim.faults.network import FaultSet
from sim.rig.clock import PassingClock
from sim.rig.cloud import Progress, RigCloud
from sim.rig.device import RigDevice
from sim.rig.errors import NotAvailableError
from sim.rig.virtual_faults import require_possible, schedule
from sim.virtual.cloud import VirtualCloud
from sim.virtual.device import VirtualDevice, VirtualPort
from sim.virtual.log import EventLog
from sim.virtual.network import VirtualNetwork
from sim.virtual.releases import DEVICE_KEY, Release, Task

MAX_PACKAGE: Final = 64 * 1024 * 1024  # bytes
MAX_LOG: Final = 20_000  # lines of the event log kept of one device


class VirtualRigDevice(RigDevice):
    """Time passes for it only while the test waits. It has no msh, and nobody who gives it its power back."""

    def __init__(
        self, board: Board, port: VirtualPort, *, clock: PassingClock, profile: Profile, limits: Limits | None
    ) -> None:
        super().__init__(board, port, profile, clock)
        self.secrets.add(DEVICE_KEY)
        self._faults = FaultSet()
        self._lines: list[str] = []
        self._is_off = True
        faults = schedule(lambda: self._faults)
        log = EventLog(clock.world, self._note)
        limits = limits or Limits()
        self.cloud = VirtualCloud(clock.world, log)
        network = VirtualNetwork(
            clock.world, self.cloud, source=random.Random(port.sn), faults=faults, limits=limits, log=log
        )
        self._device = VirtualDevice(
            board,
            clock.world,
            network,
            port=port,
            profile=profile,
            limits=limits,
            log=log,
            console=self.console.write,
            attended=False,
        )

    @property
    def is_on(self) -> bool:
        result = self._device.result
        return (
            not self._is_off
            and self.board.power.on
            and result is not None
            and result.outcome is BootOutcome.JUMP
        )

    @property
    def online(self) -> bool:
        session = self._device.session
        return session is not None and session.online

    def power_on(self) -> None:
        if self.is_on:
            return
        self._is_off = False
        self.console.open()
        self._device.boot()

    def power_off(self) -> None:
        if not self._is_off:
            self._is_off = True
            self._device.power_off()
            self.console.close("the device was switched off")

    def close(self) -> None:
        self.power_off()

    def run(self, command: str, timeout: float | None = None) -> str:
        raise NotAvailableError("a device in virtual time has no msh: use the real clock for its console")

    @property
    def traffic(self) -> str:
        """The event log of the virtual world."""
        return self.secrets.mask("".join(f"{line}\n" for line in self._lines))

    def set_faults(self, faults: FaultSet) -> None:
        require_possible(faults)
        self._faults = faults

    def _note(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) > MAX_LOG:
            del self._lines[: MAX_LOG // 2]


class VirtualRigCloud(RigCloud):
    """The cloud in memory. It knows its devices by their tasks alone."""

    def __init__(self) -> None:
        self.clock: PassingClock
        super().__init__(PassingClock())
        self._tasks = 0

    def register(self, sn: str) -> Port:
        port = VirtualPort()
        port.sn = sn
        return port

    def make_device(self, board: Board, port: Port, profile: Profile, **options: Any) -> VirtualRigDevice:
        limits = options.pop("limits", None)
        if options:
            raise NotAvailableError(f"a device in virtual time takes no {', '.join(sorted(options))}")
        if not isinstance(port, VirtualPort):
            raise NotAvailableError("a device in virtual time needs the port that `register` gives")
        return VirtualRigDevice(board, port, clock=self.clock, profile=profile, limits=limits)

    def is_online(self, device: RigDevice) -> bool:
        cloud = _cloud_of(device)
        return cloud.online and bool(cloud.reports)

    def start_upgrade(
        self, devices: Sequence[RigDevice], packages: Sequence[Path], version: str | None, mode: UpgradeMode
    ) -> Task:
        clouds = [_cloud_of(device) for device in devices]
        number, self._tasks = self._tasks, self._tasks + 1
        contents = [_read(path) for path in packages]
        task = Task(
            version or self._free_version(clouds),
            tuple(
                Release(content, f"/fw/{number}/{index}.rbl", f'"{number}"')
                for index, content in enumerate(contents)
            ),
            (("upgrade_mode", int(mode)),),
        )
        for cloud in clouds:
            cloud.offer(task)
        return task

    def progress(self, task: Task, device: RigDevice) -> Progress:
        cloud = _cloud_of(device)
        if cloud.task is not task or any(failed is task for failed in cloud.failed):
            return Progress.FAILED
        return Progress.DONE if cloud.done else Progress.OPEN

    def title(self, task: Task) -> str:
        return task.version

    def _free_version(self, clouds: Sequence[VirtualCloud]) -> str:
        used = {version for cloud in clouds for version in cloud.reports}
        return next(version for minor in range(len(used) + 1) if (version := f"1.{minor}") not in used)


def _cloud_of(device: RigDevice) -> VirtualCloud:
    if not isinstance(device, VirtualRigDevice):
        raise NotAvailableError(f"device {device.sn} lives in real time, its cloud does not")
    return device.cloud


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_PACKAGE + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    if len(content) > MAX_PACKAGE:
        raise UsageError(f"{path} is larger than {MAX_PACKAGE} bytes")
    return content
