"""A cloud and real devices in one process: the cloud in the test's event loop, each device in a thread."""

import asyncio
import contextlib
import functools
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.route import Route, direct
from sim.board import Board, furnish, make_board
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.log_control import LogState
from sim.cloud.logs import LogBook
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.store import Store, sqlite_url
from sim.device import Device
from sim.flash.layout import load_board

PATIENCE = 10.0  # seconds
POLL = 0.01  # seconds
FAST = ConsoleLimits(log_settle=0.2, log_retry=0.2, log_flush=0.02)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(POLL)


@dataclass
class Cloud:
    """A running cloud with one product."""

    server: CloudServer
    admin: AdminClient
    product_key: str
    product_id: str

    @property
    def consoles(self) -> Consoles:
        assert self.server.consoles is not None
        return self.server.consoles

    async def add(self, sn: str) -> str:
        """DeviceID of a new device."""
        return (await asyncio.to_thread(self.admin.add_device, self.product_id, sn))["device_id"]

    async def online(self, device_id: str) -> None:
        """Wait until the consoles know that the device is online."""
        await until(lambda: device_id in self.consoles._shells._online)

    async def log_state(self, device_id: str, wanted: LogState) -> None:
        await until(lambda: self.consoles.log_status(device_id).state is wanted)

    async def stored(self, device_id: str) -> list[str]:
        """The lines in the database, oldest first."""
        data = DataDir(self.server.config.data)

        def read() -> list[str]:
            with contextlib.closing(Store(sqlite_url(data.database))) as store:
                page = LogBook(store).page(device_id, limit=1000, newest_first=False)
            return [line.text for line in page.lines]

        return await asyncio.to_thread(read)

    def port(self, sn: str) -> Port:
        return Port(sn, self.product_id, self.product_key, self.server.activation_url, self.server.mqtt_url)


@contextlib.asynccontextmanager
async def running_cloud(data: Path, limits: ConsoleLimits = FAST, **more: Any) -> AsyncIterator[Cloud]:
    config = CloudConfig(data, **{"http_port": 0, "mqtt_port": 0, "consoles": limits, **more})
    server = CloudServer(config)
    ready = threading.Event()
    serving = asyncio.create_task(server.serve(ready))
    try:
        await until(lambda: ready.is_set() or serving.done())
        if serving.done():
            serving.result()
        admin = AdminClient(server.http_url, server.admin_token)
        known = await asyncio.to_thread(admin.list_products)
        if not known:
            await asyncio.to_thread(admin.create_product, "lamp")
        product = await asyncio.to_thread(admin.show_product, "lamp", keys=True)
        yield Cloud(server, admin, product["product_key"], product["product_id"])
        admin.close()
    finally:
        server.request_stop()
        await serving


@dataclass
class RunningDevice:
    device: Device
    console: list[str] = field(default_factory=list)
    boots: int = 0

    @property
    def shown(self) -> str:
        """What the serial port has printed, without colours."""
        return re.sub("\x1b\\[[0-9;]*m", "", "".join(self.console))

    async def prints(self, text: str, count: int = 1) -> None:
        await until(lambda: self.shown.count(text) >= count)


def new_board() -> Board:
    board = make_board(load_board("iot-board"))
    furnish(board, app_version="1.0.0")
    return board


@contextlib.asynccontextmanager
async def running_device(
    port: Port,
    profile: Profile = MANUAL,
    *,
    board: Board | None = None,
    route: Route = direct,
    online: bool = True,
) -> AsyncIterator[RunningDevice]:
    def booted(_result: object) -> bool:
        running.boots += 1
        return True

    console: list[str] = []
    device = Device(
        board or new_board(),
        port,
        profile=profile,
        limits=Limits(mqtt_reconnect=0.1),
        console=console.append,
        after_boot=booted,
        route=route,
    )
    running = RunningDevice(device, console)
    thread = threading.Thread(target=device.run, daemon=True)
    thread.start()
    try:
        if online:
            await running.prints("Subscribe #0")
        yield running
    finally:
        device.stop()
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test to its end."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run
