"""A running cloud: HTTP and MQTT on one data directory, with a blocking face for use from any thread."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudsdk.errors import UsageError
from sim.cloud.app import ACTIVATION_PATH, CloudApp
from sim.cloud.broker.limits import BrokerLimits
from sim.cloud.connections import connection_limits, http_protocol
from sim.cloud.database import database_url
from sim.cloud.datadir import DataDir, Endpoint
from sim.cloud.errors import CloudError
from sim.cloud.gateways.addresses import LOG_PORT, SHELL_PORT, announced_host, listening_host
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.records import ServiceRecords
from sim.cloud.links import DeviceBroker, DeviceEvents, EmbeddedLink, drop_from, listen_error
from sim.cloud.messages import Outgoing
from sim.cloud.mosquitto import MosquittoLink
from sim.cloud.scheduler import Scheduler
from sim.cloud.security import allowed_hosts, is_loopback
from sim.cloud.service import Service
from sim.cloud.sessions import Registration, Sessions
from sim.cloud.tls import ServerTls
from sim.cloud.worker import Worker

if TYPE_CHECKING:
    from sim.cloud.web.visit import Addresses

MAX_PUBLIC_URL: Final = 160  # characters; the rest of the 255 of a firmware URL is token and name
STOP_TIMEOUT: Final = 2  # seconds a firmware download may go on when the server stops
MAX_SOCKET_MESSAGE: Final = 1024 * 1024  # bytes that a WebSocket client may send at once
_LOCAL: Final = "127.0.0.1"
_BACKLOG: Final = 2048  # connections that wait to be accepted
_WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound to

BrokerKind = Literal["embedded", "mosquitto"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """`database` is the URL of the database; without one, see `Service`.
    `public_url` is what devices reach the HTTP port under; without one, host and port are used.
    Port 0 takes any free port. `tls` is for devices, over HTTP and MQTT; the tools on this machine then have
    a port of their own without.

    Devices connect their consoles to `shell_port` and `log_port` (default: 8091 and 8092, or any free ones
    where the HTTP port is one) of `gateway_host`, an address or a name; without one, that of `public_url` or
    `host` is used.

    `registration` says whether strangers may create accounts, by default on a loopback address only.
    `allowed_hosts` are the names under which browsers reach the cloud, by default on loopback the local ones
    and the public URL's, elsewhere any. `vault_key` is the key file, if not the one in the data directory.
    `console` adds the web console, at most one in a process. Raises `UsageError` when it cannot be."""

    data: Path
    host: str = "127.0.0.1"
    http_port: int = 8090
    mqtt_port: int = 1883
    broker: BrokerKind = "embedded"
    public_url: str | None = None
    tls: ServerTls | None = None
    database: str | None = field(default=None, repr=False)  # may hold a password
    registration: Registration | None = None
    allowed_hosts: tuple[str, ...] = ()
    vault_key: Path | None = None
    console: bool = False
    shell_port: int | None = None
    log_port: int | None = None
    gateway_host: str | None = None
    consoles: ConsoleLimits = field(default_factory=ConsoleLimits)

    def __post_init__(self) -> None:
        if self.public_url is not None:
            _check_public_url(self.public_url)


def _check_public_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    if not good or not url.isascii() or not url.isprintable() or " " in url or '"' in url or "\\" in url:
        raise UsageError("the public URL must look like http://host:port")
    if len(url) > MAX_PUBLIC_URL:
        raise UsageError(f"the public URL must have at most {MAX_PUBLIC_URL} characters")


class _Uvicorn(uvicorn.Server):
    """Leaves the signals of the process to whoever runs the cloud."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class CloudServer:
    """One cloud. `start` returns when it listens; the addresses are valid from then on.

    A context manager: start on entry, stop on exit.
    """

    def __init__(self, config: CloudConfig) -> None:
        self.config = config
        self.http_url = self.activation_url = self.mqtt_url = self.admin_url = ""
        self.shell_address = self.log_address = ""  # host:port, what devices are told
        self.admin_token = secrets.token_urlsafe(32)
        self._instance = secrets.token_hex(8)
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stop_early = False
        self._broker: DeviceBroker | None = None
        #: Web Shell and Web Log; for the event loop of `serve`, from the start on.
        self.consoles: Consoles | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Open everything in a thread of its own. Raises a `CloudError` when that fails."""
        self._thread = threading.Thread(target=self._run, name="cloud", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self.wait()

    def stop(self) -> None:
        """Close everything and wait for it. Raises what made the server end before."""
        self.request_stop()
        self.wait()

    def request_stop(self) -> None:
        """Begin to stop, from any thread or signal handler."""
        self._stop_early = True
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)

    def wait(self) -> None:
        """Wait until the server has ended. Raises a `CloudError` if it did not end on request."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self) -> None:
        try:
            asyncio.run(self.serve(self._ready))
        except BaseException as exc:  # handed to the thread that waits
            self._failure = exc
        finally:
            self._ready.set()

    async def serve(self, ready: threading.Event) -> None:
        """Open everything, set `ready`, run until `request_stop`, close. Raises a `CloudError`."""
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._stop_early:
            self._stop.set()
        config = self.config
        data = DataDir(config.data)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(data.locked())
            data.clear_uploads()
            listener = stack.enter_context(_listen(config.host, config.http_port))
            service = await asyncio.to_thread(
                Service, data, database=config.database, vault_key=config.vault_key
            )
            stack.callback(service.close)
            await asyncio.to_thread(stack.enter_context, service.core.store.held())
            worker = Worker(service.core.store)
            stack.push_async_callback(asyncio.to_thread, worker.close)
            if config.database is not None:
                url = database_url(config.database)
                data.remember_database(url.render_as_string(hide_password=False))
            listeners = [listener]
            if config.tls is not None:
                config.tls.context()  # uvicorn would say less about a file it cannot use
                listeners.append(stack.enter_context(_listen(_LOCAL, 0)))
            self._name_addresses(listener.getsockname()[1], listeners[-1].getsockname()[1])
            await worker.run(service.begin, (config.public_url or self.http_url).rstrip("/"))
            consoles = await self._open_consoles(service, worker)
            stack.push_async_callback(consoles.stop)
            connections = connection_limits()
            broker = self._broker = _broker(config, data, service, worker, connections.mqtt)
            await broker.start(config.host, config.mqtt_port)
            stack.push_async_callback(broker.stop)
            service.core.devices_gone = drop_from(broker, self._loop)
            await stack.enter_async_context(_scheduled(service, worker, broker))
            scheme = "mqtt" if config.tls is None else "mqtts"
            self.mqtt_url = f"{scheme}://{_url_host(config.host)}:{broker.port}"
            sessions = Sessions(service.core, worker, registration=_registration(config))
            stack.callback(sessions.close)
            console = await self._open_web(stack, service, worker, sessions, consoles)
            app = CloudApp(
                service,
                worker,
                broker,
                sessions,
                consoles,
                admin_token=self.admin_token,
                instance=self._instance,
                hosts=allowed_hosts(config.host, config.public_url, config.allowed_hosts),
                secure=config.tls is not None,
                console=console,
            )
            await stack.enter_async_context(_background(app.monitoring.run()))
            serving = [
                await stack.enter_async_context(_serving(app, own, tls, connections.http))
                for own, tls in zip(listeners, (config.tls, None), strict=False)
            ]
            stack.callback(consoles.close_viewers)  # else HTTP would wait for those who follow a log
            stack.enter_context(data.announced(self._endpoint()))
            ready.set()
            await self._until_stop(self._stop, serving, broker)

    async def _open_web(
        self,
        stack: contextlib.AsyncExitStack,
        service: Service,
        worker: Worker,
        sessions: Sessions,
        consoles: Consoles,
    ) -> ASGIApp | None:
        if not self.config.console:
            return None
        from sim.cloud.web.console import Console  # NiceGUI takes its time
        from sim.cloud.web.visit import Cloud

        addresses = self._addresses()
        console = Console(
            Cloud(service, worker, sessions, consoles, addresses), secure=self.config.tls is not None
        )
        await stack.enter_async_context(console.running())
        return console

    def _addresses(self) -> "Addresses":
        """What people are told: the public URL goes before the address that is listened on."""
        from sim.cloud.web.visit import Addresses

        public = self.config.public_url
        if public is None:
            return Addresses(self.activation_url, self.http_url, self.mqtt_url)
        base, mqtt = public.rstrip("/"), urlsplit(self.mqtt_url)
        host = _url_host(urlsplit(public).hostname or self.config.host)
        return Addresses(base + ACTIVATION_PATH, base, f"{mqtt.scheme}://{host}:{mqtt.port}")

    async def _until_stop(
        self, stop: asyncio.Event, serving: "Sequence[asyncio.Task[None]]", broker: DeviceBroker
    ) -> None:
        wanted = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(broker.failed())
        try:
            done, _ = await asyncio.wait({wanted, failed, *serving}, return_when=asyncio.FIRST_COMPLETED)
            if wanted not in done:
                for task in done:
                    task.result()  # raises the broker's error
                raise CloudError("the HTTP server ended by itself; its log says more")
        finally:
            wanted.cancel()
            failed.cancel()
            await asyncio.gather(wanted, failed, return_exceptions=True)

    def _name_addresses(self, http_port: int, admin_port: int) -> None:
        host = self.config.host
        if host in _WILDCARDS and self.config.public_url is None:
            _log.warning("devices elsewhere cannot download from 127.0.0.1: give --public-url")
        scheme = "http" if self.config.tls is None else "https"
        self.http_url = f"{scheme}://{_url_host(host)}:{http_port}"
        self.admin_url = self.http_url if self.config.tls is None else f"http://{_LOCAL}:{admin_port}"
        self.activation_url = self.http_url + ACTIVATION_PATH

    async def _open_consoles(self, service: Service, worker: Worker) -> Consoles:
        """Before the broker: devices are told of the listeners, and what they report is not to be missed."""
        config, loop = self.config, asyncio.get_running_loop()
        listening = listening_host(config.host)
        announced = await announced_host(listening, config.gateway_host, config.public_url)
        shell_port = _console_port(config, config.shell_port, SHELL_PORT)
        log_port = _console_port(config, config.log_port, LOG_PORT)
        consoles = Consoles(ServiceRecords(service, worker), self._publish, config.consoles)
        await consoles.start(listening, shell_port, log_port, announced)
        service.tell = lambda notice: loop.call_soon_threadsafe(consoles.notice, notice)
        self.consoles = consoles
        self.shell_address, self.log_address = str(consoles.shell_address), str(consoles.log_address)
        return consoles

    async def _publish(self, message: Outgoing) -> None:
        if self._broker is not None:
            await self._broker.publish(message)

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            pid=os.getpid(),
            instance=self._instance,
            http_url=self.http_url,
            activation_url=self.activation_url,
            mqtt_url=self.mqtt_url,
            shell_address=self.shell_address,
            log_address=self.log_address,
            admin_url=self.admin_url,
            broker=self.config.broker,
            admin_token=self.admin_token,
        )


def _registration(config: CloudConfig) -> Registration:
    if config.registration is not None:
        return config.registration
    return "open" if is_loopback(config.host) else "closed"


def _console_port(config: CloudConfig, port: int | None, default: int) -> int:
    if port is not None:
        return port
    return default if config.http_port else 0


def _broker(
    config: CloudConfig, data: DataDir, service: Service, worker: Worker, connections: int
) -> DeviceBroker:
    events = DeviceEvents(service, worker)
    if config.broker == "mosquitto":
        return MosquittoLink(data.mosquitto, events, service, worker, config.tls)
    return EmbeddedLink(events, config.tls, BrokerLimits(max_connections=connections))


@contextlib.asynccontextmanager
async def _scheduled(service: Service, worker: Worker, broker: DeviceBroker) -> AsyncIterator[None]:
    """The tasks go on while inside."""
    core = service.core
    scheduler = Scheduler(lambda: worker.run(service.due), broker.publish, core.clock)
    core.wake = scheduler.wake
    running = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        core.wake = lambda: None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _uvicorn_config(app: CloudApp, tls: ServerTls | None, connections: int) -> uvicorn.Config:
    files = (tls.certificate, tls.key, tls.client_ca) if tls is not None else (None, None, None)
    certificate, key, client_ca = files
    return uvicorn.Config(
        _quiet_when_cut_short(app.asgi),
        http=http_protocol(connections),  # keeps the case of header names (cloudsdk-protocol 1.3)
        ws="websockets-sansio",
        ws_max_size=MAX_SOCKET_MESSAGE,
        lifespan="off",
        log_config=None,
        access_log=False,  # URLs hold download tokens
        server_header=False,
        proxy_headers=False,  # an address that the client may choose is none to count log-ins by
        date_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_ca_certs=client_ca and str(client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if client_ca is None else ssl.CERT_REQUIRED,
    )


def _quiet_when_cut_short(app: ASGIApp) -> ASGIApp:
    """Requests that outlast the patience of a stop are cancelled; uvicorn would print a traceback of each."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return quiet


@contextlib.asynccontextmanager
async def _serving(
    app: CloudApp, listener: socket.socket, tls: ServerTls | None, connections: int
) -> "AsyncIterator[asyncio.Task[None]]":
    http = _Uvicorn(_uvicorn_config(app, tls, connections))
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    try:
        yield serving
    finally:
        await _stop_http(http, serving)


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _stop_http(http: uvicorn.Server, serving: "asyncio.Task[None]") -> None:
    http.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    # Requests that were cut short still write down how far they came.
    await asyncio.gather(*http.server_state.tasks, return_exceptions=True)


def _url_host(host: str) -> str:
    if host in _WILDCARDS:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket. From here on connections wait instead of being refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except (OSError, OverflowError) as exc:
            error = exc if isinstance(exc, OSError) else OSError(0, "ports are 0 to 65535")
            raise listen_error(host, port, "--http-port", error) from exc
        yield listener
