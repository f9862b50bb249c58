"""A fleet: populations of devices, switched on by a ramp, run on one event loop."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cloudsdk.limits import Limits
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.shell.console_device import ConsoleShell
from cloudsdk.tls import TlsSettings
from cloudsdk.upgrade_policy import UpgradePolicy
from sim.flash.layout import load_board
from sim.fleet.device import Engine, FleetDevice, FleetPort
from sim.fleet.errors import FleetError
from sim.fleet.events import DeviceState, EventSink, Phase
from sim.fleet.flash import BoardBase
from sim.fleet.identities import MAX_DEVICES, Population
from sim.fleet.metrics import Metrics
from sim.fleet.ramps import Ramp, Spike
from sim.fleet.sockets import Sockets, http_connections, small_tls_buffers
from sim.fleet.timers import TICK, TimerWheel

#: Reboots after which the sessions they left behind are collected, unless half the fleet is more.
REBOOTS_PER_COLLECTION: Final = 1000
_LOOK: Final = 0.25  # seconds between two looks at what there is to collect
#: Devices write 4 KiB at a time, four of the original's blocks: a quarter of the work for the same bytes.
FLEET_LIMITS: Final = Limits(download_block=4096)


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """All devices are `board` with application `app_version`; a population gives product and serial numbers.

    `product_keys` is by ProductID. `console` gets SN and text of every console, `make_shell` makes what reads
    one; without, what a Web Shell types is lost. `tell` gets every event. Raises `FleetError`, and as `Port`
    does, for what cannot be.
    """

    populations: Sequence[Population]
    product_keys: dict[str, str] = field(repr=False)
    activation_url: str
    mqtt_url: str
    ramp: Ramp = field(default_factory=Spike)
    board: str = "iot-board"
    app_version: str = "1.0.0"
    keys: PackageKeys = field(default_factory=PackageKeys)
    profile: Profile = MANUAL
    limits: Limits = FLEET_LIMITS
    tls: TlsSettings = field(default_factory=TlsSettings)
    boot_time: float = 1.0  # seconds from reset to `rt_cld_sdk_init`
    tell: EventSink | None = None
    console: Callable[[str, str], None] | None = None
    make_shell: Callable[[Port], ConsoleShell] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.count <= MAX_DEVICES:
            raise FleetError(f"a fleet of {self.count} devices: give 1 to {MAX_DEVICES}")
        for population in self.populations:
            if population.product_id not in self.product_keys:
                raise FleetError(f"no ProductKey for product {population.product_id}")
        next(self.ports()).tls_for(self.profile)

    @property
    def count(self) -> int:
        """Devices of all populations."""
        return sum(len(population.serial_numbers) for population in self.populations)

    @property
    def is_secure(self) -> bool:
        """Whether any of it goes over TLS."""
        port = next(self.ports())
        return port.mqtt_address.tls or port.activation_url.startswith("https:")

    def ports(self) -> Iterator[FleetPort]:
        """A new port for each device."""
        policy, url = UpgradePolicy(), self.activation_url
        for population in self.populations:
            key = self.product_keys[population.product_id]
            for sn in population.serial_numbers:
                port = FleetPort(sn, population.product_id, key, url, self.mqtt_url, self.tls, policy)
                url = port.activation_url  # complete, so that all devices have the same one
                yield port


class Fleet:
    """Runs once. `stop`, `state`, `states` and `metrics` are for the thread of the event loop."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config
        self.metrics = Metrics()
        self._devices: list[FleetDevice] = []
        self._stop = asyncio.Event()
        self._places: dict[str, int] = {}

    async def run(self, seconds: float | None = None) -> dict[str, Any]:
        """Switch the devices on as the ramp says, run `seconds` in all or until `stop`, switch them off.

        Returns the summary of the end. Raises `FileLimitError` before anything has started.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        http = http_connections(config.count)
        base = BoardBase.make(load_board(config.board), config.app_version, config.keys)
        if config.is_secure:
            small_tls_buffers()
        engine = Engine(
            loop,
            TimerWheel(loop),
            Sockets(loop, config.tls if config.profile.has_tls else None, http),
            base,
            config.profile,
            config.limits,
            config.boot_time,
            config.tell,
            config.console,
            config.make_shell,
            self.metrics,
            started=loop.time(),
        )
        self.metrics.phases[Phase.WAITING] = config.count
        with frozen_garbage() as collect:
            try:
                async with asyncio.timeout(seconds):
                    await self._switch_on(engine)
                    collect()
                    await self._look_after(engine, collect)
            except TimeoutError:
                pass
            finally:
                summary = self.summary()
                for device in self._devices:
                    device.power_off()
                engine.wheel.close()
                await asyncio.sleep(0)  # the connections close
        return summary

    @property
    def devices(self) -> Sequence[FleetDevice]:
        """Those that were switched on, in the order of the populations."""
        return self._devices

    def stop(self) -> None:
        """End `run` soon."""
        self._stop.set()

    def summary(self) -> dict[str, Any]:
        """Counters and latencies, as JSON takes them."""
        return {"devices": self.config.count, **self.metrics.summary()}

    def state(self, sn: str) -> DeviceState:
        """One device. Raises `FleetError` for a serial number that is not of this fleet."""
        if not self._places:
            numbers = (sn for population in self.config.populations for sn in population.serial_numbers)
            self._places = {sn: place for place, sn in enumerate(numbers)}
        place = self._places.get(sn)
        if place is None:
            raise FleetError(f"the fleet has no device {sn!r}")
        return self._devices[place].state if place < len(self._devices) else DeviceState(sn, Phase.WAITING)

    def states(self) -> Iterator[DeviceState]:
        """The devices that were switched on."""
        return (device.state for device in self._devices)

    async def _switch_on(self, engine: Engine) -> None:
        for at, port in zip(self.config.ramp.arrivals(), self.config.ports(), strict=False):
            wait = engine.started + at - engine.loop.time()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), max(wait, TICK))
            elif len(self._devices) % 16 == 0:
                await asyncio.sleep(0)  # those that run must not starve in a spike
            if self._stop.is_set():
                return
            device = FleetDevice(engine, port)
            self._devices.append(device)
            device.power_on()

    async def _look_after(self, engine: Engine, collect: Callable[[], None]) -> None:
        collected = engine.reboots
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _LOOK)
            if engine.reboots - collected >= max(REBOOTS_PER_COLLECTION, len(self._devices) // 2):
                collected = engine.reboots
                collect()


@contextlib.contextmanager
def frozen_garbage() -> Iterator[Callable[[], None]]:
    """No collection until the function that this gives is called; from then on the devices are left out.

    The collector would look through all devices again and again while they are made.
    """
    was_enabled = gc.isenabled()
    gc.disable()

    def collect() -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        if was_enabled:
            gc.enable()

    try:
        yield collect
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
