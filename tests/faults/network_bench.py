"""Both ends of a proxied connection as blocking sockets."""

import contextlib
import queue
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cloudsdk.route import Link
from sim.faults.network import FaultProxy, FaultSet, ProxyEvent, parse_fault

PATIENCE = 10.0  # seconds until what does not come fails the test
QUIET = 0.2  # seconds in which nothing may come


def faults(*specs: str, seed: int = 0) -> FaultSet:
    return FaultSet(tuple(map(parse_fault, specs)), seed)


@dataclass
class Bench:
    proxy: FaultProxy
    listener: socket.socket
    events: "queue.Queue[ProxyEvent]"
    stack: contextlib.ExitStack = field(repr=False)

    def connect(self, link: Link = Link.HTTP) -> tuple[socket.socket, socket.socket]:
        """Device and cloud, connected through the proxy."""
        address = self.proxy.address(link, *self.listener.getsockname())
        device = self.stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
        cloud, _ = self.listener.accept()
        self.stack.enter_context(cloud)
        cloud.settimeout(PATIENCE)
        return device, cloud

    def event(self, kind: type[ProxyEvent]) -> ProxyEvent:
        """The next event of that kind."""
        deadline = time.monotonic() + PATIENCE
        while True:
            event = self.events.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, kind):
                return event


@contextlib.contextmanager
def bench(*specs: str, seed: int = 0) -> Iterator[Bench]:
    events: queue.Queue[ProxyEvent] = queue.Queue()
    with (
        contextlib.ExitStack() as stack,
        socket.create_server(("127.0.0.1", 0)) as listener,
        FaultProxy(faults(*specs, seed=seed), on_event=events.put) as proxy,
    ):
        listener.settimeout(PATIENCE)
        yield Bench(proxy, listener, events, stack)


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        assert piece, f"the stream ended after {len(data)} bytes"
        data += piece
    return data


def read_to_end(connection: socket.socket) -> tuple[bytes, str]:
    """What arrives, and whether FIN or RST ended it."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        return data, "RST"
    return data, "FIN"


def is_quiet(connection: socket.socket) -> bool:
    """Neither data nor an end within `QUIET`."""
    connection.settimeout(QUIET)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False
