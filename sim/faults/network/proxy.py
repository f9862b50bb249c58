"""The proxy: a thread with an event loop, a listener for each place devices are led to."""

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Final, Self

from cloudsdk.route import Address, Link
from sim.faults.network.connection import Connection, DataObserver, abort
from sim.faults.network.errors import NotLoopbackError, ProxyListenError
from sim.faults.network.events import Closed, Opened, ProxyEvent, Refused
from sim.faults.network.rules import FaultSet
from sim.faults.network.specs import format_fault

HOST: Final = "127.0.0.1"
CONNECT_TIMEOUT: Final = 10.0  # seconds for the connection to the cloud
MAX_CONNECTIONS: Final = 1000  # at a time: half-open ones stay
_BACKLOG: Final = 128
_LOCALHOST: Final = "localhost"

_log = logging.getLogger(__name__)


class FaultProxy:
    """Leads connections through faults, on loopback only. A context manager: runs from entry to exit.

    All methods may be called from any thread. `on_event` and `on_data` are called in the proxy's thread;
    `on_data` sees whatever passes, secrets as well.
    """

    def __init__(
        self,
        faults: FaultSet | None = None,
        *,
        on_event: Callable[[ProxyEvent], None] | None = None,
        on_data: DataObserver | None = None,
    ) -> None:
        self._faults = faults or FaultSet()
        self._on_event = on_event
        self._on_data = on_data
        self._loop: asyncio.AbstractEventLoop | None = None  # while it runs; under the lock
        self._lock = threading.RLock()
        self._stopping = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._addresses: dict[tuple[Link, str, int], Address] = {}
        self._numbers: dict[Link | None, itertools.count[int]] = defaultdict(lambda: itertools.count(1))
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._thread = threading.Thread(target=self._run, args=(loop,), name="fault-proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop listening and reset every connection."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    @property
    def faults(self) -> FaultSet:
        return self._faults

    def set(self, faults: FaultSet) -> None:
        """These rules hold from now on, for living connections as well; what has ended stays ended."""
        self._faults = faults
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._apply)

    def listen(
        self, upstream: Address, *, link: Link | None = None, host: str = HOST, port: int = 0
    ) -> Address:
        """Lead connections to `host` and `port` (0: any free one) on to `upstream`; returns where to connect.

        Raises `NotLoopbackError` and `ProxyListenError`.
        """
        for each in (host, upstream[0]):
            require_loopback(each)
        with self._lock:
            if self._loop is None:
                raise ProxyListenError("the proxy does not run")
            work = self._listen(upstream, link, host, port)
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def address(self, link: Link, host: str, port: int) -> Address:
        """Where to connect instead of `host` and `port`; the same for the same place."""
        with self._lock:
            key = (link, host, port)
            if key not in self._addresses:
                self._addresses[key] = self.listen((host, port), link=link)
            return self._addresses[key]

    def route(self, link: Link, host: str, port: int) -> Address:
        """As `address`, for `CloudClient`: there is no way to a place the proxy does not lead to."""
        try:
            return self.address(link, host, port)
        except (NotLoopbackError, ProxyListenError) as error:
            _log.warning("%s [%s]", error, error.code)
            raise OSError(errno.ENETUNREACH, str(error)) from error

    # --- the proxy's thread -------------------------------------------------------------------------

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stopping.wait()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        await asyncio.sleep(0)  # the transports' last callbacks

    def _apply(self) -> None:
        for connection in self._connections:
            connection.set(self._faults)

    async def _listen(self, upstream: Address, link: Link | None, host: str, port: int) -> Address:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio runs every callback as a task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            with contextlib.suppress(asyncio.CancelledError):  # the proxy stops
                await self._lead(link, upstream, reader, writer)

        try:
            server = await asyncio.start_server(accepted, host, port, backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "ports are 0 to 65535"
            raise ProxyListenError(f"cannot listen on {host}:{port}: {reason}") from None
        self._servers.append(server)
        found_host, found_port = server.sockets[0].getsockname()[:2]
        return found_host, found_port

    async def _lead(
        self,
        link: Link | None,
        upstream: Address,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        number = next(self._numbers[link])
        try:
            if len(self._connections) >= MAX_CONNECTIONS:
                raise OSError(errno.EMFILE, f"{MAX_CONNECTIONS} connections are open")
            async with asyncio.timeout(CONNECT_TIMEOUT):
                cloud = await asyncio.open_connection(*upstream)
        except (OSError, OverflowError) as error:
            reason = "timeout" if isinstance(error, TimeoutError) else str(error)
            self._tell(Refused(link, number, reason))
            abort(writer)
            return
        except BaseException:
            abort(writer)
            raise
        faults = self._faults
        connection = Connection(link, number, faults, (reader, writer), cloud, self._tell, self._on_data)
        self._connections.add(connection)
        specs = tuple(format_fault(faults.rules[index]) for index in connection.drawn.hits)
        self._tell(Opened(link, number, specs))
        reset = True
        try:
            reset = await connection.run()
        finally:
            self._connections.discard(connection)
            self._tell(Closed(link, number, connection.up, connection.down, reset))

    def _tell(self, event: ProxyEvent) -> None:
        _log.info("%s", event)
        if self._on_event is not None:
            self._on_event(event)


def require_loopback(host: str) -> None:
    """Raises `NotLoopbackError` for anything but localhost and the loopback addresses."""
    try:
        is_loopback = host == _LOCALHOST or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise NotLoopbackError(f"{host} is not this machine: faults are only put on loopback connections")
