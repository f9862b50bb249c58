"""How the connections of a fleet are opened: source addresses, descriptors, TLS.

One source address carries some 28000 connections to one port, so towards loopback, which is 127.0.0.0/8, the
devices are spread over many.
"""

import asyncio
import ipaddress
import resource
import socket
import ssl
from asyncio import sslproto
from collections.abc import Iterator
from typing import Any, Final

from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.tls_context import NamedContext, client_context
from sim.fleet.errors import FileLimitError
from sim.fleet.plain import PlainTransport

PER_ADDRESS: Final = 8000  # connections from one source address
RESERVED_FILES: Final = 64  # descriptors for everything that is not a device's connection
CONSOLES: Final = 32  # shell and log connections of the whole fleet at a time
_HTTP_SHARE: Final = 8  # one in so many devices may have an HTTP connection at a time, too
_HTTP_LEAST: Final = 64
_FIRST_SOURCE: Final = int(ipaddress.IPv4Address("127.1.0.1"))
_SOURCES: Final = 250  # addresses; the last bytes stay below 255
_BIND_ADDRESS_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT of ip(7): the port is chosen by the destination
_TICKET_TIME: Final = 0.2  # seconds until the server has sent its ticket
_TLS_READ: Final = 16 * 1024  # bytes that TLS reads at a time: one record


def http_wanted(devices: int) -> int:
    """How many HTTP connections a fleet has open at a time where nothing limits it."""
    return max(_HTTP_LEAST, devices // _HTTP_SHARE)


def http_connections(devices: int) -> int:
    """How many HTTP connections a fleet may have open at a time.

    Raises the soft limit of open files as far as the hard one allows, and `FileLimitError` when one MQTT
    connection for each device and a few for HTTP do not fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = http_wanted(devices)
    if hard == resource.RLIM_INFINITY:
        return wanted
    left = hard - RESERVED_FILES - devices
    if left < _HTTP_LEAST:
        most = hard - RESERVED_FILES - _HTTP_LEAST
        raise FileLimitError(
            f"{devices} devices need more files than the {hard} this process may open: run at most {most}, "
            "or raise the limit (ulimit -Hn)"
        )
    return min(wanted, left)


class _Context(NamedContext):
    """Takes up the last TLS session with its server, so that only the first device pays for a handshake."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **{**options, "session": self.session})


class Sockets:
    """Opens the connections of one fleet."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tls: TlsSettings | None, http: int) -> None:
        self.http = asyncio.Semaphore(http)
        self.consoles = CONSOLES  # that may still be opened
        self._loop = loop
        self._tls = tls
        self._contexts: dict[tuple[str, int], _Context] = {}  # by host and port
        self._addresses: dict[tuple[str, int], tuple[socket.AddressFamily, Any]] = {}
        self._opened = 0
        self._sources = _source_addresses()
        self._source = next(self._sources)

    async def open(
        self, protocol: asyncio.BaseProtocol, host: str, port: int, *, tls: bool = False
    ) -> asyncio.Transport:
        """A connection for `protocol`. Raises `OSError` and, from TLS, `CloudSdkError`.

        Without TLS, a `BufferedProtocol` gets a `PlainTransport`.
        """
        context = self._context(host, port) if tls else None
        family, address = await self._resolve(host, port)
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setblocking(False)
            if family == socket.AF_INET and ipaddress.IPv4Address(address[0]).is_loopback:
                found.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                found.bind((self._next_source(), 0))
            await self._loop.sock_connect(found, address)
            if context is None and isinstance(protocol, asyncio.BufferedProtocol):
                return PlainTransport(self._loop, found, protocol)
            transport, _ = await self._loop.create_connection(
                lambda: protocol,
                sock=found,
                ssl=context,
                server_hostname=context.server_name if context is not None else None,
            )
        except BaseException:
            found.close()
            raise
        if context is not None and context.session is None:
            self._loop.call_later(_TICKET_TIME, self._keep_session, context, transport)
        return transport

    def _keep_session(self, context: _Context, transport: asyncio.Transport) -> None:
        """Let later connections resume the session of this one: its ticket has come by now."""
        tls = transport.get_extra_info("ssl_object")
        if context.session is None and tls is not None:
            context.session = tls.session

    def _context(self, host: str, port: int) -> _Context:
        if self._tls is None:
            raise TlsUnsupportedError(f"no TLS with {host}: this firmware has none")
        if (host, port) not in self._contexts:
            self._contexts[(host, port)] = client_context(self._tls, host, _Context)
        return self._contexts[(host, port)]

    async def _resolve(self, host: str, port: int) -> tuple[socket.AddressFamily, Any]:
        """The first address of a name, which is asked for once."""
        known = self._addresses.get((host, port))
        if known is None:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            known = self._addresses[(host, port)] = (found[0][0], found[0][4])
        return known

    def _next_source(self) -> str:
        self._opened += 1
        if self._opened % PER_ADDRESS == 0:
            self._source = next(self._sources)
        return self._source


def small_tls_buffers() -> None:
    """Let asyncio read TLS in pieces of one record; it keeps 256 KiB for each connection by itself."""
    sslproto.SSLProtocol.max_size = _TLS_READ


def _source_addresses() -> Iterator[str]:
    while True:
        for number in range(_SOURCES):
            yield str(ipaddress.IPv4Address(_FIRST_SOURCE + number))
