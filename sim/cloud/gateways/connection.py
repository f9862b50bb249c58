"""The sockets of the gateways. A connection ends by FIN alone: a reset crashes CloudSDK 2.0.0
(cloudsdk-protocol 4).

After its FIN the server reads until the device closes, however long that takes. Keepalive finds a device
that has rebooted meanwhile, whose answer is a reset; one that is out of reach for a while keeps its
connection. Only strangers are cut off.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sim.cloud.errors import CloudError
from sim.cloud.gateways.decoders import Decoder
from sim.cloud.gateways.greeting import Key
from sim.cloud.gateways.intake import End, Expiry, Intake, Phase
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.links import listen_error

_BACKLOG: Final = 1024  # connections that wait to be accepted
_SOCKET_BUFFER: Final = 32 * 1024  # bytes the kernel keeps either way, so that a pause reaches the device
_OPTIONS: Final = (  # connections take them over from the listening socket
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),  # seconds
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 120),  # an hour
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)
_ACCEPT_PAUSE: Final = 0.5  # seconds, when the process has no descriptor left

_log = logging.getLogger(__name__)


class Receiver(Protocol):
    """Who has a device's connection."""

    async def take(self, data: Sequence[bytes]) -> None:
        """Decoded data, in order. While this waits, the device is not read."""
        ...

    def idle(self) -> None:
        """No data for as long as the intake allows."""
        ...

    def closing(self) -> None:
        """The end has begun. Data follows only if the decoder heeds the rest."""
        ...

    def ended(self) -> None:
        """The device has closed, too, or is gone."""
        ...


class Doorkeeper(Protocol):
    async def admit(self, key: Key, connection: "Connection") -> Receiver | End:
        """The receiver of this device's data, or why it is refused."""
        ...


class Connection:
    """One accepted socket. `run` is its life; everything else may be called meanwhile."""

    def __init__(
        self, accepted: socket.socket, intake: Intake, doorkeeper: Doorkeeper, limits: ConsoleLimits
    ) -> None:
        self.intake = intake
        self.peer: str = accepted.getpeername()[0]
        self.device_id = ""  # once the key is there
        self._socket = accepted
        self._doorkeeper = doorkeeper
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._outgoing = bytearray()
        self._wake_writer = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, known: Callable[[], None]) -> None:
        """Until both sides have closed. `known` is called once, when the key has turned out right."""
        self._arm()
        writer = asyncio.create_task(self._write())
        try:
            size = self._limits.receive_size
            while not self.intake.is_over and (data := await self._loop.sock_recv(self._socket, size)):
                await self._handle(data, known)
        except OSError as exc:
            _log.debug("console connection of %s: %s", self.device_id or self.peer, exc)
        finally:
            self.finish(End.DEVICE)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._timer is not None:
                self._timer.cancel()
            self._socket.close()
            if self._receiver is not None:
                self._receiver.ended()

    def finish(self, end: End) -> None:
        """Send what is queued, then FIN; `run` reads on until the device closes."""
        if self.intake.finish(end, self._loop.time()):
            self._ending()

    async def send(self, data: bytes) -> bool:
        """Queue `data`, waiting for room; False when the connection has ended or is about to."""
        for start in range(0, len(data), self._limits.shell_input):
            while len(self._outgoing) >= self._limits.shell_input and self.intake.phase is Phase.OPEN:
                self._room.clear()
                await self._room.wait()
            if self.intake.phase is not Phase.OPEN:
                return False
            self._outgoing += data[start : start + self._limits.shell_input]
            self._wake_writer.set()
        return True

    async def _handle(self, data: bytes, known: Callable[[], None]) -> None:
        was_closing = self.intake.phase is Phase.CLOSING
        items = self.intake.received(data, self._loop.time())
        if self.intake.phase is Phase.CLOSING and not was_closing:
            self._ending()
        for key in items[:1]:
            if isinstance(key, Key):
                await self._admit(key, known)
        payloads = [item for item in items if isinstance(item, bytes)]
        if payloads and self._receiver is not None:
            await self._receiver.take(payloads)

    async def _admit(self, key: Key, known: Callable[[], None]) -> None:
        self.device_id = key.device_id
        try:
            answer = await self._doorkeeper.admit(key, self)
        except CloudError as exc:
            _log.error("a console of device %s is refused: %s", key.device_id, exc)
            answer = End.FAILED
        if isinstance(answer, End):
            self.finish(answer)
            return
        known()
        self._receiver = answer
        self.intake.admit(self._loop.time())
        if self.intake.phase is Phase.CLOSING:  # the server has stopped meanwhile
            answer.closing()
        self._arm()

    async def _write(self) -> None:
        """Send what is queued, and FIN once the connection is to end."""
        with contextlib.suppress(OSError):  # the reader sees the end, too
            while self._outgoing or self.intake.phase is not Phase.CLOSING:
                if self._outgoing:
                    piece = bytes(self._outgoing)
                    await self._loop.sock_sendall(self._socket, piece)
                    del self._outgoing[: len(piece)]
                    self.intake.touch(self._loop.time())
                    self._room.set()
                else:
                    self._wake_writer.clear()
                    await self._wake_writer.wait()
            self._socket.shutdown(socket.SHUT_WR)

    def _ending(self) -> None:
        self._wake_writer.set()
        self._room.set()
        if self._receiver is not None:
            self._receiver.closing()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.intake.deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expired)

    def _expired(self) -> None:
        match self.intake.expired(self._loop.time()):
            case Expiry.NO_KEY:
                self.finish(End.NO_KEY)
            case Expiry.IDLE if self._receiver is not None:
                self._receiver.idle()
            case Expiry.STAYS if self.intake.is_over:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RD)  # wakes the reader
            case Expiry.STAYS:
                _log.warning("device %s does not close its console connection", self.device_id)
        self._arm()


class Listener:
    """Accepts one kind of console connection on IPv4; `port` is valid after `start`."""

    def __init__(
        self, decoder: Callable[[], Decoder], doorkeeper: Doorkeeper, limits: ConsoleLimits, *, idle: float
    ) -> None:
        self.port = 0
        self._decoder = decoder
        self._doorkeeper = doorkeeper
        self._limits = limits
        self._idle = idle
        self._strangers = asyncio.Semaphore(limits.strangers)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def start(self, host: str, port: int, option: str) -> None:
        """Listen; port 0 takes any free one. `option` sets the port on the command line.

        Raises `ListenError` and `PortInUseError`.
        """
        listener = socket.socket(socket.AF_INET)
        try:
            for level, name, value in _OPTIONS:
                listener.setsockopt(level, name, value)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except (OSError, OverflowError) as exc:
            listener.close()
            error = exc if isinstance(exc, OSError) else OSError(0, "ports are 0 to 65535")
            raise listen_error(host, port, option, error) from exc
        listener.setblocking(False)
        self._socket = listener
        self.port = listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(listener))

    async def stop(self) -> None:
        """End every connection by FIN. Devices get `stop_patience` to close, then they are cut off."""
        if self._socket is None or self._accepting is None:
            return
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        for connection in self._connections.values():
            connection.finish(End.STOPPED)
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=self._limits.stop_patience)
            if late:
                _log.warning("%d console connections were cut off: their devices do not close", len(late))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._socket.close()
        self._socket = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._strangers.acquire()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as exc:
                self._strangers.release()
                _log.warning("a console connection cannot be accepted: %s", exc.strerror)
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            except asyncio.CancelledError:
                self._strangers.release()
                raise
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        stranger = contextlib.ExitStack()
        stranger.callback(self._strangers.release)
        try:
            accepted.setblocking(False)
            intake = Intake(self._decoder(), self._limits, idle=self._idle, now=loop.time())
            connection = Connection(accepted, intake, self._doorkeeper, self._limits)
        except OSError:  # gone again
            accepted.close()
            stranger.close()
            return
        task = loop.create_task(connection.run(stranger.close))
        self._connections[task] = connection

        def ended(task: "asyncio.Task[None]") -> None:
            stranger.close()
            del self._connections[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a console connection failed", exc_info=error)

        task.add_done_callback(ended)
