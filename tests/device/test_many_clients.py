"""Several hundred devices in one process, on one loop."""

import asyncio
import contextlib
import resource
import threading
import time
from collections.abc import Iterator

import pytest
from device_rig import ACTIVATED_ENV, IOT_BOARD, MemoryEnv, TestPort, make_pages

from cloudsdk.client import CloudClient, Exit
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.profile import MANUAL
from cloudsdk.session import Session, Storage
from sim.board import make_board
from sim.cloud.broker import EmbeddedBroker

CLIENTS = 400  # select() would end at descriptor 1023: 340 clients of three each
PATIENCE = 30.0  # seconds until a state that does not come fails the test


class Policy:
    """Lets everybody do everything, and counts who has said to be online."""

    def __init__(self, wanted: int) -> None:
        self.online: set[str] = set()
        self.all_online = threading.Event()
        self._wanted = wanted

    async def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> bool:
        return True

    def may_publish(self, client_id: str, topic: str) -> bool:
        return True

    def may_subscribe(self, client_id: str, topic_filter: str) -> bool:
        return True

    async def on_connect(self, client_id: str, address: str) -> None:
        pass

    async def on_message(self, client_id: str, topic: str, payload: bytes, *, is_will: bool) -> None:
        if b'"DP":1000' in payload.replace(b" ", b"") and not is_will:
            self.online.add(client_id)
        if len(self.online) == self._wanted:
            self.all_online.set()

    async def on_disconnect(self, client_id: str) -> None:
        self.online.discard(client_id)


@contextlib.contextmanager
def running(policy: Policy) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(policy)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(broker.start("127.0.0.1", 0), loop).result(PATIENCE)
        yield broker
        asyncio.run_coroutine_threadsafe(broker.stop(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for both ends of every connection, whatever the shell's soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CLIENTS
    assert hard == resource.RLIM_INFINITY or hard >= wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
def test_400_clients_are_online_at_the_same_time_on_one_loop() -> None:
    policy = Policy(CLIENTS)
    pages = make_pages(IOT_BOARD, {})
    outcomes: list[Exit] = []
    with running(policy) as broker, IoLoop() as loop:
        clients = []
        for number in range(CLIENTS):
            port = TestPort()
            port.mqtt_url = f"mqtt://127.0.0.1:{broker.port}"
            env = MemoryEnv(ACTIVATED_ENV | {"cld_did": f"device-{number}"})
            partitions = make_board(
                IOT_BOARD, {name: store.fork() for name, store in pages.items()}
            ).partitions
            session = Session(port, Storage(partitions, env))
            limits = Limits(mqtt_answer=PATIENCE)
            clients.append(
                CloudClient(session, profile=MANUAL, limits=limits, console=lambda _text: None, loop=loop)
            )
        threads = [threading.Thread(target=lambda each=each: outcomes.append(each.run())) for each in clients]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            assert policy.all_online.wait(PATIENCE)
            assert time.monotonic() - started < 20
            io_threads = [each.name for each in threading.enumerate() if each.name.startswith(("io", "mqtt"))]
            assert io_threads == ["io"]
        finally:
            for client in clients:
                client.stop()
            for thread in threads:
                thread.join(PATIENCE)
    assert outcomes == [Exit.STOPPED] * CLIENTS
