"""A TCP connection of a protocol without TLS, in a fraction of the memory of asyncio's own transports."""

import asyncio
import socket
from typing import Final

HIGH_WATER: Final = 64 * 1024  # bytes that wait to be sent; from there on the protocol is told


class PlainTransport(asyncio.Transport):
    """What `asyncio.BufferedProtocol` needs of a transport. It reads from the start, and never pauses."""

    __slots__ = ("_loop", "_protocol", "_socket", "_waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connected: socket.socket, protocol: asyncio.BufferedProtocol
    ) -> None:
        self._loop = loop
        self._socket: socket.socket | None = connected
        self._protocol = protocol
        self._waiting: bytearray | None = None
        protocol.connection_made(self)
        loop.add_reader(connected, self._read)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, as soon as the other side takes it."""
        found = self._socket
        if found is None:
            return
        if self._waiting is None:
            try:
                sent = found.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self._fail(exc)
                return
            if sent == len(data):
                return
            self._waiting = bytearray(data[sent:])
            self._loop.add_writer(found, self._flush)
        else:
            self._waiting += data
        if len(self._waiting) > HIGH_WATER:
            self._protocol.pause_writing()

    def abort(self) -> None:
        """Close at once; the protocol hears no more."""
        found = self._socket
        if found is None:
            return
        self._socket = None
        self._loop.remove_reader(found)
        if self._waiting is not None:
            self._loop.remove_writer(found)
        found.close()

    def close(self) -> None:
        """As `abort`: whoever closes has nothing left to say."""
        self.abort()

    def is_closing(self) -> bool:
        return self._socket is None

    def _read(self) -> None:
        found = self._socket
        if found is None:
            return
        try:
            count = found.recv_into(self._protocol.get_buffer(-1))
        except BlockingIOError:
            return
        except OSError as exc:
            self._fail(exc)
            return
        if count:
            self._protocol.buffer_updated(count)
        else:
            self._fail(None)

    def _flush(self) -> None:
        found, waiting = self._socket, self._waiting
        if found is None or waiting is None:
            return
        try:
            del waiting[: found.send(waiting)]
        except BlockingIOError:
            return
        except OSError as exc:
            self._fail(exc)
            return
        if not waiting:
            self._waiting = None
            self._loop.remove_writer(found)

    def _fail(self, error: Exception | None) -> None:
        """The connection has ended: with an error, or because the other side closed it."""
        self.abort()
        self._loop.call_soon(self._protocol.connection_lost, error)
