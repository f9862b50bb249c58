"""A board in memory, with everything the commands need: for tests, and to try commands out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cloudsdk.errors import FlashError
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.facts import KernelFacts
from sim.flash.fal import FalTable
from sim.flash.layout import BoardLayout
from sim.flash.nor import make_devices
from sim.msh.files import Dfs, Volume
from sim.msh.kernel import KernelState, ticks
from sim.msh.kernels import Activity, Profile, iot_board
from sim.msh.kprintf import encode
from sim.msh.network import MemoryNetwork

ENV_PARTITION: Final = "easyflash"


@dataclass(slots=True)
class MemoryBoard:
    """Implements `ShellBoard` over a layout.

    `write` takes what the ENV prints, `clock` gives seconds since the start. A `volume` is mounted at `/`.
    Resets and starts of the SDK are counted. Raises `FlashError` for a layout without a place for the ENV.
    """

    layout: BoardLayout
    write: Callable[[bytes], None]
    clock: Callable[[], float] = lambda: 0.0
    profile: Profile = iot_board
    activity: Activity = field(default_factory=Activity)
    volume: Volume | None = None
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    reboots: int = 0
    cloud_starts: int = 0
    partitions: FalTable = field(init=False)
    env: EasyFlashEnv = field(init=False)
    files: Dfs = field(init=False)

    def __post_init__(self) -> None:
        self.partitions = FalTable(self.layout, make_devices(self.layout.devices))
        partition = self.partitions.find(ENV_PARTITION)
        if partition is None:
            raise FlashError(f"board {self.layout.name!r} has no partition {ENV_PARTITION!r} for the ENV")
        self.env = EasyFlashEnv(partition, console=lambda text: self.write(encode(text)))
        self.files = Dfs(lambda: [each.name for each in self.kernel.devices], self.volume)

    @property
    def facts(self) -> KernelFacts:
        return self.layout.kernel

    @property
    def kernel(self) -> KernelState:
        return self.profile(ticks(self.clock()), self.activity)

    def reboot(self) -> None:
        self.reboots += 1

    def cloud_init(self) -> None:
        self.cloud_starts += 1

    def wlan_ready(self) -> None:
        self.cloud_starts += 1
