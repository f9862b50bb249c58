"""TCP connections of the device against servers of every manner, over real sockets."""

import queue
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from cloudsdk import events as ev
from cloudsdk import route
from cloudsdk.limits import Limits
from cloudsdk.tcp_transport import AHEAD, READ_SIZE, TcpConnection

PATIENCE = 10.0  # seconds until an event that does not come fails the test
GREETING = b"key"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Link:
    """One connection with both of its ends."""

    def __init__(self, server: socket.socket, limits: Limits, **options: object) -> None:
        self.events: queue.Queue[ev.Event] = queue.Queue()
        host, port = server.getsockname()
        effect = ev.TcpOpen("link-1", host, port, GREETING, **options)  # type: ignore[arg-type]
        self.device = TcpConnection(effect, limits, lambda _connection, event: self.events.put(event))
        self.device.start()
        self.server, _ = server.accept()
        self.server.settimeout(PATIENCE)
        assert self.server.recv(100) == GREETING
        assert self.next() == ev.TcpOpened("link-1")

    def next(self) -> ev.Event:
        return self.events.get(timeout=PATIENCE)

    def read_to_end(self) -> bytes:
        data = b""
        while piece := self.server.recv(65536):
            data += piece
        return data

    def ended(self) -> None:
        self.device.join(PATIENCE)
        assert not self.device.is_alive()
        assert self.device._socket.fileno() == self.device._wake_read.fileno() == -1


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.ExceptHookArgs]]:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    yield seen
    assert seen == []


@pytest.fixture
def connect(crashes: list[threading.ExceptHookArgs]) -> Iterator[Callable[..., Link]]:
    links: list[Link] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def make(limits: Limits | None = None, **options: object) -> Link:
            links.append(Link(server, limits or Limits(), **options))
            return links[-1]

        yield make
        for link in links:
            link.device.drop()
            link.ended()
            link.server.close()


def options(link: Link) -> list[int]:
    own = link.device._socket
    tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_NODELAY)
    return [
        own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(own.getsockopt(socket.IPPROTO_TCP, each) for each in tcp),
    ]


def test_socket_options_of_log_and_shell(connect: Callable[..., Link]) -> None:
    assert options(connect(keepalive=ev.KeepAlive(30, 20, 3), no_delay=True)) == [1, 30, 20, 3, 1]
    untouched = options(connect())
    assert (untouched[0], untouched[-1]) == (0, 0)


def test_both_ways(connect: Callable[..., Link]) -> None:
    link = connect()
    link.device.send(b"hello")
    assert link.server.recv(100) == b"hello"
    link.server.sendall(b"world")
    assert link.next() == ev.TcpData("link-1", b"world")


def test_orderly_end_and_what_was_printed_meanwhile(connect: Callable[..., Link]) -> None:
    link = connect()
    link.server.shutdown(socket.SHUT_WR)
    assert link.next() == ev.TcpClosed("link-1", ev.TcpEnd.ORDERLY)
    link.device.send(b"last words")
    link.device.close()
    assert link.read_to_end() == b"last words"
    link.ended()
    assert link.events.empty()


def test_reset_is_recognised(connect: Callable[..., Link]) -> None:
    link = connect()
    link.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    link.server.close()
    assert link.next() == ev.TcpClosed("link-1", ev.TcpEnd.RESET)
    link.device.send(b"into the void")
    link.device.close()
    link.ended()
    assert link.events.empty()


def test_send_that_fails_is_told_once(connect: Callable[..., Link]) -> None:
    link = connect()
    link.device._socket.shutdown(socket.SHUT_WR)  # the next send fails with EPIPE
    link.device.send(b"x")
    assert link.next() == ev.TcpClosed("link-1", ev.TcpEnd.SEND_FAILED)
    link.device.send(b"y")
    link.device.close()
    link.ended()
    assert link.events.empty()


def test_closes_with_fin_although_data_was_left_unread(connect: Callable[..., Link]) -> None:
    link = connect(Limits(tcp_linger=PATIENCE))
    link.server.sendall(b"x" * (AHEAD + 4) * READ_SIZE)
    for _ in range(AHEAD):
        assert isinstance(link.next(), ev.TcpData)
    link.device.send(b"bye")
    link.device.close()
    assert link.read_to_end() == b"bye"  # a reset would raise
    link.server.close()
    link.ended()


def test_linger_ends_although_the_server_keeps_the_connection(connect: Callable[..., Link]) -> None:
    link = connect(Limits(tcp_linger=0.05))
    link.device.close()
    link.ended()


def test_reads_no_further_ahead_than_the_device_handles(connect: Callable[..., Link]) -> None:
    link = connect()
    link.server.sendall(b"x" * (AHEAD + 4) * READ_SIZE)
    for _ in range(AHEAD):
        assert isinstance(link.next(), ev.TcpData)
    with pytest.raises(queue.Empty):
        link.events.get(timeout=0.1)
    for _ in range(4):
        link.device.handled()
        assert isinstance(link.next(), ev.TcpData)


def test_output_for_a_server_that_does_not_read_is_dropped_in_whole_sends(
    connect: Callable[..., Link],
) -> None:
    link = connect(Limits(tcp_backlog=1000, tcp_linger=PATIENCE))
    while select.select([], [link.device._socket], [], 0)[1]:  # until no buffer takes any more
        link.device.send(b"%099d\n" % 7)
    for number in range(50):
        link.device.send(b"%099d\n" % number)
    assert len(link.device._pending) <= 1000
    link.device.close()
    data = link.read_to_end()
    assert len(data) % 100 == 0
    assert set(data.splitlines()) <= {b"%099d" % number for number in range(50)}


@pytest.mark.usefixtures("crashes")
def test_nobody_listens() -> None:
    events: queue.Queue[ev.Event] = queue.Queue()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        effect = ev.TcpOpen("link-1", "127.0.0.1", nobody.getsockname()[1], GREETING)
        connection = TcpConnection(effect, Limits(), lambda _connection, event: events.put(event))
        connection.start()
        assert events.get(timeout=PATIENCE) == ev.TcpFailed("link-1", ev.TcpStage.CONNECT)
        connection.join(PATIENCE)
        assert not connection.is_alive()


@pytest.mark.parametrize(("name", "link"), [("webshell-1", route.Link.SHELL), ("weblog-2", route.Link.LOG)])
@pytest.mark.usefixtures("crashes")
def test_route_is_asked_for_the_link_and_may_refuse(name: str, link: route.Link) -> None:
    events: queue.Queue[ev.Event] = queue.Queue()
    asked: list[tuple[route.Link, str, int]] = []
    effect = ev.TcpOpen(name, "10.0.0.5", 4000, GREETING)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def elsewhere(*place: object) -> tuple[str, int]:
            asked.append(place)  # type: ignore[arg-type]
            return server.getsockname()

        led = TcpConnection(effect, Limits(), lambda _connection, event: events.put(event), elsewhere)
        led.start()
        assert events.get(timeout=PATIENCE) == ev.TcpOpened(name)
        led.drop()
        led.join(PATIENCE)
    assert asked == [(link, "10.0.0.5", 4000)]

    def nowhere(*_place: object) -> tuple[str, int]:
        raise OSError("no way")

    lost = TcpConnection(effect, Limits(), lambda _connection, event: events.put(event), nowhere)
    lost.start()
    assert events.get(timeout=PATIENCE) == ev.TcpFailed(name, ev.TcpStage.CONNECT)
    lost.join(PATIENCE)


@pytest.fixture
def silence() -> Iterator[tuple[str, int]]:
    """A listener whose queue is full: further connections are neither taken nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()
        for each in waiting:
            each.close()


@pytest.mark.usefixtures("crashes")
def test_connection_that_is_not_answered_is_given_up(silence: tuple[str, int]) -> None:
    events: queue.Queue[ev.Event] = queue.Queue()
    effect = ev.TcpOpen("link-1", *silence, GREETING)
    TcpConnection(effect, Limits(tcp_connect=0.1), lambda _connection, event: events.put(event)).start()
    assert events.get(timeout=PATIENCE) == ev.TcpFailed("link-1", ev.TcpStage.CONNECT)


@pytest.mark.usefixtures("crashes")
def test_connection_that_is_not_answered_can_be_dropped(silence: tuple[str, int]) -> None:
    events: queue.Queue[ev.Event] = queue.Queue()
    effect = ev.TcpOpen("link-1", *silence, GREETING)
    connection = TcpConnection(effect, Limits(), lambda _connection, event: events.put(event))
    connection.start()
    connection.drop()
    connection.join(PATIENCE)
    assert not connection.is_alive()
    assert events.empty()
