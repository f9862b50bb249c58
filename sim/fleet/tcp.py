"""TCP for Web Shell and Web Log of one fleet device, on an event loop."""

import asyncio
import socket
from typing import Final, Protocol, cast

from cloudsdk import events as ev
from cloudsdk.limits import Limits
from sim.fleet.sockets import Sockets

READ_SIZE: Final = 1024  # bytes per event at most, the original's receive ring


class TcpOwner(Protocol):
    """The device."""

    def tcp_event(self, connection: "TcpLink", event: ev.TcpEvent, /) -> None: ...


class TcpLink(asyncio.Protocol):
    """One connection from `TcpOpen` to its end; `owner` hears of it until `close` or `drop`.

    Raises `OSError` when the fleet has as many of them as it may.
    """

    def __init__(self, owner: TcpOwner, effect: ev.TcpOpen, sockets: Sockets, limits: Limits) -> None:
        if not sockets.consoles:
            raise OSError("no socket is left")
        sockets.consoles -= 1
        self.name = effect.connection
        self._effect = effect
        self._owner: TcpOwner | None = owner
        self._sockets = sockets
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def send(self, data: bytes) -> None:
        """Send `data` whole, or drop it whole when `Limits.tcp_backlog` is used up: frames stay intact."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(data) <= self._limits.tcp_backlog:
            transport.write(data)

    def close(self) -> None:
        """Hand over what is queued, then FIN, within `Limits.tcp_linger`; no event follows."""
        self._owner = None
        if self._transport is None:
            self._task.cancel()
        else:
            self._transport.close()
            asyncio.get_running_loop().call_later(self._limits.tcp_linger, self.drop)

    def drop(self) -> None:
        """Close at once: the board is off."""
        self._owner = None
        self._task.cancel()

    async def _run(self) -> None:
        effect = self._effect
        try:
            async with asyncio.timeout(self._limits.tcp_connect):
                transport = await self._sockets.open(self, effect.host, effect.port)
            self._set_options(transport)
            transport.write(effect.greeting)
            self._tell(ev.TcpOpened(self.name))
            await self._gone.wait()
        except OSError:
            self._tell(ev.TcpFailed(self.name, ev.TcpStage.CONNECT))
        finally:
            self._sockets.consoles += 1
            if self._transport is not None:
                self._transport.abort()

    def _set_options(self, transport: asyncio.Transport) -> None:
        found = transport.get_extra_info("socket")
        keepalive = self._effect.keepalive
        if keepalive is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive.idle)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive.interval)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, keepalive.probes)
        if self._effect.no_delay:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # --- the connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), READ_SIZE):
            self._tell(ev.TcpData(self.name, data[start : start + READ_SIZE]))

    def eof_received(self) -> bool:
        """The device's side stays open until `close`."""
        self._tell(ev.TcpClosed(self.name, ev.TcpEnd.ORDERLY))
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._tell(ev.TcpClosed(self.name, ev.TcpEnd.RESET))
        self._gone.set()

    def _tell(self, event: ev.TcpEvent) -> None:
        if self._owner is not None:
            self._owner.tcp_event(self, event)
