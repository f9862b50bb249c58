"""TCP for Web Shell and Web Log: one connection, one thread, nothing but bytes."""

import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from cloudsdk.events import (
    KeepAlive,
    TcpClosed,
    TcpData,
    TcpEnd,
    TcpEvent,
    TcpFailed,
    TcpOpen,
    TcpOpened,
    TcpStage,
)
from cloudsdk.limits import Limits
from cloudsdk.route import Link, Route, direct
from cloudsdk.shell.web_log import WebLog

_log = logging.getLogger(__name__)

READ_SIZE: Final = 1024  # bytes per event at most, the original's receive ring
AHEAD: Final = 16  # data events that may wait to be handled; meanwhile nothing more is read


class TcpConnection(threading.Thread):
    """One connection from `TcpOpen` to its end; `post` receives its events until `close` or `drop`.

    Raises `OSError` when there is no socket to be had.
    """

    def __init__(
        self,
        effect: TcpOpen,
        limits: Limits,
        post: Callable[["TcpConnection", TcpEvent], None],
        route: Route = direct,
    ) -> None:
        super().__init__(name=effect.connection, daemon=True)
        self.effect = effect
        self._limits = limits
        self._post_event = post
        self._route = route
        self._room = threading.Semaphore(AHEAD)
        self._lock = threading.Lock()
        self._pending = bytearray()  # under the lock
        self._closing = False
        self._dropped = False
        self._receiving = True
        self._sending = True
        self._wake_read, self._wake_write = socket.socketpair()
        try:
            self._socket = _socket(effect.keepalive, no_delay=effect.no_delay)
        except OSError:
            self._wake_read.close()
            self._wake_write.close()
            raise
        self._wake_read.setblocking(False)

    # --- called by the device's thread --------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue `data` whole, or drop it whole when `Limits.tcp_backlog` is used up: frames stay intact."""
        with self._lock:
            fits = len(self._pending) + len(data) <= self._limits.tcp_backlog
            if fits:
                self._pending += data
        if fits:
            self._wake()
        else:
            _log.debug("%s: the server does not read, %d bytes dropped", self.name, len(data))

    def handled(self) -> None:
        """The device has taken one `TcpData`."""
        self._room.release()
        self._wake()

    def close(self) -> None:
        """Hand over what is queued, then FIN, within `Limits.tcp_linger`; no event follows."""
        self._closing = True
        self._wake()

    def drop(self) -> None:
        """Close at once: the board is off."""
        self._dropped = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the thread has ended, or is as good as awake
            self._wake_write.send(b"\0", socket.MSG_DONTWAIT)

    # --- the connection's own thread ----------------------------------------------------------------

    def run(self) -> None:
        with (
            selectors.DefaultSelector() as selector,
            contextlib.closing(self._socket),
            contextlib.closing(self._wake_read),
            contextlib.closing(self._wake_write),
        ):
            selector.register(self._wake_read, selectors.EVENT_READ)
            failed = self._connect(selector) or self._greet()
            if self._closing or self._dropped:
                return
            if failed is not None:
                self._post(TcpFailed(self.name, failed))
                return
            self._post(TcpOpened(self.name))
            self._exchange(selector)
            self._finish(selector)

    @property
    def _link(self) -> Link:
        return Link.LOG if self.effect.connection.startswith(WebLog.name) else Link.SHELL

    def _post(self, event: TcpEvent) -> None:
        if not self._closing and not self._dropped:
            self._post_event(self, event)

    def _connect(self, selector: selectors.BaseSelector) -> TcpStage | None:
        """The stage that failed, if any; None also when the connection is not wanted any more."""
        deadline = time.monotonic() + self._limits.tcp_connect
        try:
            address = self._route(self._link, self.effect.host, self.effect.port)
        except OSError as exc:
            _log.debug("%s: %s", self.name, exc)
            return TcpStage.CONNECT
        error = self._socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            return TcpStage.CONNECT
        selector.register(self._socket, selectors.EVENT_WRITE)
        while not self._closing and not self._dropped:
            wait = deadline - time.monotonic()
            if wait <= 0:
                return TcpStage.CONNECT
            ready = {key.fileobj for key, _ in selector.select(wait)}
            if self._socket in ready:
                refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                return TcpStage.CONNECT if refused else None
            self._slept()
        return None

    def _greet(self) -> TcpStage | None:
        greeting = self.effect.greeting
        try:
            sent = self._socket.send(greeting)
        except OSError:
            return TcpStage.SEND
        with self._lock:
            self._pending[:0] = greeting[sent:]
        return None

    def _exchange(self, selector: selectors.BaseSelector) -> None:
        """Both ways, until nobody wants the connection any more."""
        while not self._closing and not self._dropped:
            has_room = self._receiving and self._room.acquire(blocking=False)
            ready = self._wait(selector, receive=has_room, timeout=None)
            if has_room and not (ready & selectors.EVENT_READ and self._receive()):
                self._room.release()
            if ready & selectors.EVENT_WRITE:
                self._flush()

    def _finish(self, selector: selectors.BaseSelector) -> None:
        """Send the rest and FIN; what still arrives is read, since closing over it would be a reset."""
        deadline = time.monotonic() + self._limits.tcp_linger
        said_so = False
        while not self._dropped:
            if not said_so and not (self._sending and self._has_pending()):
                said_so = True
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)
            wait = deadline - time.monotonic()
            if wait <= 0 or (said_so and not self._receiving):
                return
            ready = self._wait(selector, receive=self._receiving, timeout=wait)
            if ready & selectors.EVENT_READ:
                self._receive()
            if ready & selectors.EVENT_WRITE:
                self._flush()

    def _wait(self, selector: selectors.BaseSelector, *, receive: bool, timeout: float | None) -> int:
        """What the socket is ready for."""
        wanted = selectors.EVENT_READ if receive else 0
        if self._sending and self._has_pending():
            wanted |= selectors.EVENT_WRITE
        if self._socket in selector.get_map():
            selector.unregister(self._socket)  # without interest even an error would wake it for ever
        if wanted:
            selector.register(self._socket, wanted)
        ready = {key.fileobj: mask for key, mask in selector.select(timeout)}
        if self._wake_read in ready:
            self._slept()
        return ready.get(self._socket, 0)

    def _slept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _has_pending(self) -> bool:
        with self._lock:
            return bool(self._pending)

    def _receive(self) -> bool:
        """Read once; returns whether data was handed in."""
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except OSError as exc:
            _log.debug("%s: %s", self.name, exc)
            self._ended(TcpEnd.RESET)
            return False
        if not data:
            self._receiving = False
            self._post(TcpClosed(self.name, TcpEnd.ORDERLY))
            return False
        self._post(TcpData(self.name, data))
        return True

    def _flush(self) -> None:
        with self._lock:
            try:
                sent = self._socket.send(self._pending) if self._pending else 0
            except BlockingIOError:
                return
            except OSError as exc:
                _log.debug("%s: %s", self.name, exc)
            else:
                del self._pending[:sent]
                return
        self._ended(TcpEnd.SEND_FAILED)

    def _ended(self, end: TcpEnd) -> None:
        """The connection is gone, both ways; told unless an end was told before."""
        if self._receiving:
            self._post(TcpClosed(self.name, end))
        self._receiving = self._sending = False


def _socket(keepalive: KeepAlive | None, *, no_delay: bool) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if keepalive is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive.idle)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive.interval)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, keepalive.probes)
        if no_delay:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connection.close()
        raise
    return connection
