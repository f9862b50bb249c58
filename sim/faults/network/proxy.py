"""The proxy: a thread with an event loop, a listener for each place devices are led to."""

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Final, Self

from cloudsdk.route import Address, Link
from sim.faults.network.connection import Connection, DataObserver, Translator, abort
from sim.faults.network.errors import NotLoopbackError, ProxyListenError
from sim.faults.network.events import Closed, Opened, ProxyEvent, Refused
from sim.faults.network.rules import FaultSet
from sim.faults.network.specs import format_fault

HOST: Final = "127.0.0.1"
CONNECT_TIMEOUT: Final = 10.0  # seconds for the connection to the cloud
MAX_CONNECTIONS: Final = 1000  # at a time: half-open ones stay
_BACKLOG: Final = 128
_MAX_PORT: Final = 65535
_LOCALHOST: Final = "localhost"

#: Given link, number and upstream of a connection that was made, what its bytes pass through.
Tap = Callable[[Link | None, int, Address], Translator]

_log = logging.getLogger(__name__)


class FaultProxy:
    """Leads connections through faults, on loopback only. A context manager: runs from entry to exit.

    All methods may be called from any thread. `on_event` and `on_data` are called in the proxy's thread;
    `on_data` sees whatever passes, secrets as well.

    With a `tap` it is a witness: other machines may be led to, each connection's bytes pass through what the
    tap gives, in the proxy's thread, and the proxy itself never resets: a reset is deadly to a console of
    CloudSDK 2.0.0 (cloudsdk-protocol 4).
    """

    def __init__(
        self,
        faults: FaultSet | None = None,
        *,
        on_event: Callable[[ProxyEvent], None] | None = None,
        on_data: DataObserver | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._faults = faults or FaultSet()
        self._on_event = on_event
        self._on_data = on_data
        self._tap = tap
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
        if self._tap is None:
            for each in (host, upstream[0]):
                require_loopback(each)
        with self._lock:
            if self._loop is None:
                raise ProxyListenError("the proxy does not run")
            # Bound here, not in the loop: the proxy's own thread may call this, too.
            listener = _bound(host, port)
            self._loop.call_soon_threadsafe(self._accept, listener, upstream, link)
            found_host, found_port = listener.getsockname()[:2]
            return found_host, found_port

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
            server.close()
            await server.wait_closed()
        await asyncio.sleep(0)  # the transports' last callbacks

    def _apply(self) -> None:
        for connection in self._connections:
            connection.set(self._faults)

    def _accept(self, listener: socket.socket, upstream: Address, link: Link | None) -> None:
        self._keep(asyncio.create_task(self._listen(listener, upstream, link)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, listener: socket.socket, upstream: Address, link: Link | None) -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asyncio runs every callback as a task
            self._keep(task)
            with contextlib.suppress(asyncio.CancelledError):  # the proxy stops
                await self._lead(link, upstream, reader, writer)

        self._servers.append(await asyncio.start_server(accepted, sock=listener, backlog=_BACKLOG))

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
            self._turn_away(writer)
            return
        except BaseException:
            self._turn_away(writer)
            raise
        faults = self._faults
        translator = self._tap(link, number, upstream) if self._tap is not None else None
        connection = Connection(
            link, number, faults, (reader, writer), cloud, self._tell, self._on_data, translator
        )
        self._connections.add(connection)
        specs = tuple(format_fault(faults.rules[index]) for index in connection.drawn.hits)
        self._tell(Opened(link, number, specs))
        reset = self._tap is None
        try:
            reset = await connection.run()
        finally:
            self._connections.discard(connection)
            self._tell(Closed(link, number, connection.up, connection.down, reset))

    def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        if self._tap is None:
            abort(writer)
        else:
            writer.close()

    def _tell(self, event: ProxyEvent) -> None:
        _log.info("%s", event)
        if self._on_event is not None:
            self._on_event(event)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ProxyListenError`."""
    if not 0 <= port <= _MAX_PORT:
        raise ProxyListenError(f"cannot listen on {host}:{port}: ports are 0 to {_MAX_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except socket.gaierror as error:
        reason = error.strerror
    except OSError as error:
        reason = os.strerror(error.errno or errno.EADDRNOTAVAIL)  # without the addition of create_server
    raise ProxyListenError(f"cannot listen on {host}:{port}: {reason}")


def require_loopback(host: str) -> None:
    """Raises `NotLoopbackError` for anything but localhost and the loopback addresses."""
    try:
        is_loopback = host == _LOCALHOST or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise NotLoopbackError(f"{host} is not this machine: faults are only put on loopback connections")
