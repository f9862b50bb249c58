"""The behaviours that scenarios name."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from cloudsdk.ota.header import HEADER_SIZE, Encryption, RblHeader
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from flash_images import samples
from sim.flash.layout import load_board
from sim.fleet.device import FleetDevice
from sim.fleet.events import FleetEvent, Kind, Phase
from sim.scenario import models as m
from sim.scenario.behaviour import Behaviour, Stage, load_behaviour
from sim.scenario.consoles import ConsoleServer
from sim.scenario.crew import draw

TIMESTAMP: Final = 1546300800  # seconds since 1970; of the generated packages
AT_ONCE: Final = 32  # devices that are switched on without a break
LOOK: Final = 0.1  # seconds between two looks at how far a stage is
#: Bytes that are read at a time where a download is to be cut; else loopback brings it in one piece.
SMALL_READ: Final = 4096
CUT_CHANCE: Final = 0.5  # at each tenth of a download
RELEASE_OPERATIONS: Final = 24  # flash operations within which a release is cut
_DOWNLOAD: Final = "download"  # partition
_NOWHERE: Final = "nowhere"  # a partition that no board has


class PoweringOn(Behaviour):
    def __init__(self, model: m.PowerOn) -> None:
        self._model = model

    async def play(self, stage: Stage) -> None:
        start = stage.now()
        arrivals = zip(self._model.ramp.arrivals(), stage.devices, strict=False)
        for number, (at, device) in enumerate(arrivals):
            wait = start + at - stage.now()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % AT_ONCE == 0:
                await asyncio.sleep(0)  # those that run must not starve
            _power_on(stage, device)


class PoweringOff(Behaviour):
    async def play(self, stage: Stage) -> None:
        for device in stage.devices:
            if device.phase is not Phase.WAITING:
                device.power_off()


class Storm(Behaviour):
    def __init__(self, model: m.ReconnectStorm) -> None:
        self._model = model

    async def play(self, stage: Stage) -> None:
        await asyncio.sleep(self._model.after)
        for device in stage.devices:
            device.set_link(up=False)
        await asyncio.sleep(self._model.down)
        self.end(stage)

    def end(self, stage: Stage) -> None:
        for device in stage.devices:
            device.set_link(up=True)


class FlappingLinks(Behaviour):
    def __init__(self, model: m.Flapping) -> None:
        self._model = model

    async def play(self, stage: Stage) -> None:
        for device in stage.devices:
            self._up(stage, device)

    def end(self, stage: Stage) -> None:
        for device in stage.devices:
            device.set_link(up=True)

    def _up(self, stage: Stage, device: FleetDevice) -> None:
        device.set_link(up=True)
        stage.after(stage.random.expovariate(1 / self._model.up), self._down, stage, device)

    def _down(self, stage: Stage, device: FleetDevice) -> None:
        device.set_link(up=False)
        stage.after(stage.random.expovariate(1 / self._model.down), self._up, stage, device)


class Upgrading(Behaviour):
    """Stage by stage; a stage is a task for those that it adds."""

    def __init__(self, model: m.Upgrade) -> None:
        self._model = model

    async def play(self, stage: Stage) -> None:
        model = self._model
        packages: dict[str, bytes] = {}
        order = str(stage.random.random())
        sns = [device.sn for device in stage.devices]
        had: set[str] = set()
        stage.observer.want(sns, model.version, bad=model.bad is not None)
        for share in model.stages:
            taken = draw(sns, share, order)
            added = [sn for sn in sns if sn in taken - had]
            of: dict[str, list[str]] = defaultdict(list)
            for sn in added:
                of[stage.population_of(sn)].append(sn)
            for population, members in of.items():
                if population not in packages:
                    packages[population] = make_package(stage.board_of(population), model)
                await asyncio.to_thread(
                    stage.cloud.create_task, population, packages[population], model.version, members
                )
            had = taken
            if share < 1:
                await self._settled(stage, had)
                await asyncio.sleep(model.soak)

    async def _settled(self, stage: Stage, open_stages: set[str]) -> None:
        reached = stage.observer.bad_installed if self._model.bad else stage.observer.upgraded
        while len(open_stages & reached) < self._model.advance_at * len(open_stages):  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(LOOK)


class CuttingPower(Behaviour):
    def __init__(self, model: m.PowerCuts) -> None:
        self._model = model
        self._cuts: Counter[str] = Counter()
        self._is_off: dict[str, FleetDevice] = {}

    async def play(self, stage: Stage) -> None:
        if self._model.during == "download":
            _read_slowly(stage, SMALL_READ)

    def event(self, stage: Stage, event: FleetEvent) -> None:
        device = stage.by_sn[event.sn]
        if event.kind is Kind.CUT:
            self._is_off[event.sn] = device
            stage.after(self._model.off, self._on, stage, device)
        elif self._cuts[event.sn] < self._model.times:
            if (
                self._model.during == "download"
                and event.kind is Kind.PROGRESS
                and stage.random.random() < CUT_CHANCE
            ):
                self._cuts[event.sn] += 1
                stage.after(0, device.cut_power, "download")
            elif self._model.during == "release" and event.kind is Kind.DOWNLOADED:
                self._cuts[event.sn] += 1
                device.cut_next_boot(stage.random.randrange(RELEASE_OPERATIONS))

    def end(self, stage: Stage) -> None:
        _read_slowly(stage, None)
        for device in list(self._is_off.values()):
            self._on(stage, device)

    def _on(self, stage: Stage, device: FleetDevice) -> None:
        self._is_off.pop(device.sn, None)
        if device.phase is Phase.OFF:
            _power_on(stage, device)


class CuttingDownloads(Behaviour):
    def __init__(self, model: m.NetworkFaults) -> None:
        self._model = model

    async def play(self, stage: Stage) -> None:
        _read_slowly(stage, SMALL_READ)

    def end(self, stage: Stage) -> None:
        _read_slowly(stage, None)

    def event(self, stage: Stage, event: FleetEvent) -> None:
        if event.kind is Kind.PROGRESS and stage.random.random() < self._model.cut_downloads:
            stage.after(0, stage.by_sn[event.sn].break_downloads, "connection closed")


class FlippingBits(Behaviour):
    """Flash loses charge: a 1 of the package becomes a 0, which a write may do."""

    def __init__(self, model: m.FlashFaults) -> None:
        self._times = model.times
        self._flips: Counter[str] = Counter()

    def event(self, stage: Stage, event: FleetEvent) -> None:
        if event.kind is not Kind.DOWNLOADED or self._flips[event.sn] >= self._times:
            return
        partition = stage.by_sn[event.sn].flash.find(_DOWNLOAD)
        if partition is None:
            return
        size = HEADER_SIZE + RblHeader.unpack(partition.read(0, HEADER_SIZE)).body_size
        for _ in range(RELEASE_OPERATIONS):
            offset = stage.random.randrange(HEADER_SIZE, max(HEADER_SIZE + 1, min(size, partition.size)))
            byte = partition.read(offset, 1)[0]
            if byte:
                self._flips[event.sn] += 1
                partition.write(offset, bytes([byte & (byte - 1)]))
                return


class Flooding(Behaviour):
    def __init__(self, model: m.LogFlood) -> None:
        self._model = model
        self._server: ConsoleServer | None = None

    async def play(self, stage: Stage) -> None:
        if self._model.web_log:
            self._server = await ConsoleServer.start(())
            for device in stage.devices:
                device.order(self._server.log_order)
        for number in itertools.count():
            for device in stage.devices:
                if device.phase is Phase.ONLINE:
                    device.print(f"[I/flood] line {number} of {device.sn}: all is well with this device\n")
            await asyncio.sleep(1 / self._model.rate)

    def end(self, stage: Stage) -> None:
        if self._server is not None:
            self._server.close()


class ShellUsing(Behaviour):
    def __init__(self, model: m.ShellSessions) -> None:
        self._model = model
        self._server: ConsoleServer | None = None

    async def play(self, stage: Stage) -> None:
        lines = [f"echo {number}\n".encode() for number in range(self._model.lines)]
        self._server = await ConsoleServer.start(lines)
        while stage.devices:
            stage.random.choice(stage.devices).order(self._server.shell_order)
            await asyncio.sleep(1 / self._model.rate)

    def end(self, stage: Stage) -> None:
        if self._server is not None:
            self._server.close()


def make_package(board: str, model: m.Upgrade) -> bytes:
    """The generated package of an upgrade, right for a board but for what is wrong with it on purpose."""
    layout = load_board(board)
    raw = samples.application(model.version, link_address=layout.app.link_address, size=model.size)
    name = _NOWHERE if model.bad == "partition" else layout.app.partition
    flavour: Any = "qboot" if layout.bootloader.kind == "qboot" else "official"
    facts: dict[str, Any] = {
        "name": name,
        "version": model.version,
        "timestamp": TIMESTAMP,
        "flavour": flavour,
    }
    if model.bad != "hash":
        return pack(raw, **facts)
    # Encrypted, since a cloud refuses a wrong hash that it can see.
    package = pack(raw, **facts, encryption=Encryption.AES256, key=DEFAULT_KEY, iv=DEFAULT_IV)
    header = RblHeader.unpack(package)
    return replace(header, raw_hash=header.raw_hash ^ 1).with_crc().pack() + package[HEADER_SIZE:]


def make_behaviour(model: Any) -> Behaviour:
    """What a scenario asks for. Raises `BehaviourError` for one of the user's own that cannot be."""
    if isinstance(model, m.Custom):
        return load_behaviour(model.behaviour, model.options)
    return _MAKERS[type(model)](model)


def _read_slowly(stage: Stage, size: int | None) -> None:
    for device in stage.devices:
        device.read_slowly(size)


def _power_on(stage: Stage, device: FleetDevice) -> None:
    if device.phase in (Phase.WAITING, Phase.OFF):
        stage.observer.switched_on(device.sn, stage.now())
        device.power_on()


_MAKERS: Final[dict[type, Callable[[Any], Behaviour]]] = {
    m.PowerOn: PoweringOn,
    m.PowerOff: lambda _model: PoweringOff(),
    m.StayOnline: lambda _model: Behaviour(),
    m.ReconnectStorm: Storm,
    m.Flapping: FlappingLinks,
    m.Upgrade: Upgrading,
    m.PowerCuts: CuttingPower,
    m.NetworkFaults: CuttingDownloads,
    m.FlashFaults: FlippingBits,
    m.LogFlood: Flooding,
    m.ShellSessions: ShellUsing,
}
