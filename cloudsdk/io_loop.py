"""One thread that waits for the sockets of any number of devices.

It rests on `selectors`, which has no limit on descriptor numbers; `select` ends at 1024 of them, and a client
with two wake-up sockets of its own at a third of that.
"""

import contextlib
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, Self

TICK: Final = 1.0  # seconds between two calls of `Watcher.tick`


class Connection(Protocol):
    """A socket, as far as the loop and its users need it."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Watcher(Protocol):
    """Owner of a watched socket. Its methods run in the loop's thread, and must neither wait nor raise."""

    def ready(self, mask: int) -> None:
        """The socket is ready for `mask`, of `selectors.EVENT_READ` and `EVENT_WRITE`."""

    def tick(self) -> None:
        """Look after what has no event: about once per `TICK`."""

    def close(self) -> None:
        """The loop ends: give the socket up."""


class IoLoop:
    """A selector in a thread of its own. A context manager: started on entry, closed on exit."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._commands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._closing = False  # under the lock
        self._thread = threading.Thread(target=self._run, name="io", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._closing = True
            self._wake()
        self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    def call(self, command: Callable[[], object]) -> bool:
        """Run `command` in the loop's thread, in the order of the calls. Safe from any thread.

        False when the loop is closed and the command will never run.
        """
        with self._lock:
            if self._closing:
                return False
            self._commands.put(command)
            self._wake()
            return True

    def watch(self, connection: Connection, mask: int, watcher: Watcher) -> None:
        """Call `watcher` when the socket is ready; once more with another mask to change it. Loop thread."""
        if connection in self._selector.get_map():
            self._selector.modify(connection, mask, watcher)
        else:
            self._selector.register(connection, mask, watcher)

    def forget(self, connection: Connection) -> None:
        """Watch no longer; the socket may be closed already. Loop thread."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is as good as awake
            self._wake_write.send(b"\0")

    def _run(self) -> None:
        with self._selector:
            next_tick = time.monotonic() + TICK
            while not self._closing or not self._commands.empty():
                for key, mask in self._selector.select(max(0.0, next_tick - time.monotonic())):
                    if key.data is None:
                        self._run_commands()
                    else:
                        key.data.ready(mask)
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK
                    for watcher in self._watchers():
                        watcher.tick()
            for watcher in self._watchers():
                watcher.close()

    def _run_commands(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)
        while not self._commands.empty():
            self._commands.get()()

    def _watchers(self) -> list[Watcher]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]
