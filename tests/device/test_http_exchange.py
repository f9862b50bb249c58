"""HTTP on the wire: what reaches the core from good, bad, slow and endless servers."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_cloud import Listener

from cloudsdk.events import HttpData, HttpEnded, HttpFailed, HttpOpened, HttpRequest
from cloudsdk.http_transport import AHEAD, READ_SIZE, HttpEvent, HttpExchange
from cloudsdk.limits import Limits
from cloudsdk.route import Link

LIMITS = Limits(http_timeout=0.3)
PATIENCE = 10.0  # seconds until an event that does not come fails the test
HEADERS = (("Host", "10.0.0.5"), ("User-Agent", "RT-Thread HTTP Agent"))


@dataclass
class Server:
    """Answers every connection with `behave`, which gets the socket and the raw request."""

    behave: Callable[[socket.socket, bytes], None]
    requests: list[bytes] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.listener = Listener(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        self.requests.append(request)
        try:
            self.behave(connection, request)
        except OSError:
            self.gone.set()
            raise
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}/fw/app.rbl"


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket, bytes], None]], Server]]:
    servers: list[Server] = []

    def start(behave: Callable[[socket.socket, bytes], None]) -> Server:
        servers.append(Server(behave))
        return servers[-1]

    yield start
    for server in servers:
        server.listener.close()


Serve = Callable[[Callable[[socket.socket, bytes], None]], Server]


def saying(response: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _request: connection.sendall(response)


class Exchange:
    """One exchange whose events are taken one by one, each told as handled."""

    def __init__(self, url: str, headers: tuple[tuple[str, str], ...] = HEADERS) -> None:
        self._events: queue.Queue[HttpEvent] = queue.Queue()
        request = HttpRequest("download-1", "GET", url, headers)
        self.thread = HttpExchange(request, LIMITS, lambda _exchange, event: self._events.put(event))
        self.thread.start()

    def next(self) -> HttpEvent:
        event = self._events.get(timeout=PATIENCE)
        self.thread.handled()
        return event

    def all(self) -> tuple[list[HttpEvent], bytes]:
        """Every event but data, and the data in one piece."""
        others: list[HttpEvent] = []
        body = b""
        while not others or not isinstance(others[-1], HttpEnded | HttpFailed):
            event = self.next()
            if isinstance(event, HttpData):
                assert 0 < len(event.data) <= READ_SIZE
                body += event.data
            else:
                others.append(event)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return others, body


def head(*fields: bytes, status: bytes = b"200 OK") -> bytes:
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *fields, b""))


BODY = bytes(range(256)) * 20
OPENED = HttpOpened("download-1", 200, {"content-length": "5120"})
ENDED = HttpEnded("download-1")


def test_request_goes_out_as_it_is_and_headers_come_in_lower_case(serve: Serve) -> None:
    server = serve(saying(head(b"Content-Length: 5120", b'ETag: "aBc"') + BODY))
    headers = (("Range", "bytes=4096-"), ("If-Range", '"aBc"'), *HEADERS, ("Accept", "*/*"))
    events, body = Exchange(server.url, headers).all()
    assert server.requests == [
        b'GET /fw/app.rbl HTTP/1.1\r\nRange: bytes=4096-\r\nIf-Range: "aBc"\r\nHost: 10.0.0.5\r\n'
        b"User-Agent: RT-Thread HTTP Agent\r\nAccept: */*\r\n\r\n"
    ]
    assert events == [HttpOpened("download-1", 200, {"content-length": "5120", "etag": '"aBc"'}), ENDED]
    assert body == BODY


def test_body_without_length_lasts_until_the_close(serve: Serve) -> None:
    events, body = Exchange(serve(saying(head() + BODY)).url).all()
    assert events == [HttpOpened("download-1", 200, {}), ENDED]
    assert body == BODY


def test_chunked_body(serve: Serve) -> None:
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (BODY[:10], BODY[10:3000], BODY[3000:], b"")
    )
    events, body = Exchange(serve(saying(head(b"Transfer-Encoding: chunked") + chunks)).url).all()
    assert events[-1] == ENDED
    assert body == BODY


def test_truncated_body_ends(serve: Serve) -> None:
    events, body = Exchange(serve(saying(head(b"Content-Length: 5120") + BODY[:3000])).url).all()
    assert events == [OPENED, ENDED]
    assert body == BODY[:3000]


def test_body_is_not_decoded(serve: Serve) -> None:
    events, body = Exchange(
        serve(saying(head(b"Content-Encoding: gzip", b"Content-Length: 5120") + BODY)).url
    ).all()
    assert events[-1] == ENDED
    assert body == BODY


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"\xff" * 100,
    ],
)
def test_no_http_is_a_failure(serve: Serve, response: bytes) -> None:
    events, _ = Exchange(serve(saying(response)).url).all()
    assert len(events) == 1
    assert isinstance(events[0], HttpFailed)


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nab", b"-5\r\n"])
def test_broken_chunks_fail_after_the_head(serve: Serve, chunks: bytes) -> None:
    events, _ = Exchange(serve(saying(head(b"Transfer-Encoding: chunked") + chunks)).url).all()
    assert [type(event) for event in events] == [HttpOpened, HttpFailed]


def test_silent_server_is_a_timeout_before_and_inside_the_body(serve: Serve) -> None:
    silence = threading.Event()
    for sent, opened in ((b"", []), (head(b"Content-Length: 5120") + BODY[:100], [OPENED])):

        def behave(connection: socket.socket, _request: bytes, sent: bytes = sent) -> None:
            connection.sendall(sent)
            silence.wait(PATIENCE)

        events, body = Exchange(serve(behave).url).all()
        assert events == [*opened, HttpFailed("download-1", "timeout")]
        assert body == sent.partition(b"\r\n\r\n")[2]
    silence.set()


def test_reset_connection_fails(serve: Serve) -> None:
    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(head(b"Content-Length: 5120") + BODY[:100])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    events, _ = Exchange(serve(behave).url).all()
    assert isinstance(events[-1], HttpFailed)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    events, _ = Exchange(f"http://127.0.0.1:{port}/").all()
    assert events == [HttpFailed("download-1", "no connection")]


def endless(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(head())
    while True:
        connection.sendall(bytes(65536))


def test_endless_body_is_read_no_further_than_it_is_handled_and_ends_when_cancelled(serve: Serve) -> None:
    server = serve(endless)
    taken: queue.Queue[HttpEvent] = queue.Queue()
    request = HttpRequest("download-1", "GET", server.url, HEADERS)
    thread = HttpExchange(request, LIMITS, lambda _exchange, event: taken.put(event))
    thread.start()
    for _ in range(AHEAD):
        taken.get(timeout=PATIENCE)
    with pytest.raises(queue.Empty):
        taken.get(timeout=0.2)
    thread.cancel()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert server.gone.wait(PATIENCE)
    assert taken.empty()


def test_dribbling_body_arrives_byte_by_byte_and_can_be_cancelled(serve: Serve) -> None:
    pause = threading.Event()

    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(b"Content-Length: 5120"))
        while not pause.wait(0.02):
            connection.sendall(b"x")

    server = serve(behave)
    exchange = Exchange(server.url)
    assert exchange.next() == OPENED
    first = exchange.next()
    assert isinstance(first, HttpData)
    assert len(first.data) < READ_SIZE
    exchange.thread.cancel()
    exchange.thread.join(PATIENCE)
    assert not exchange.thread.is_alive()
    assert server.gone.wait(PATIENCE)
    pause.set()


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found"])
def test_redirect_is_followed_with_the_headers_and_the_new_host(serve: Serve, status: bytes) -> None:
    target = serve(saying(head(b"Content-Length: 5120") + BODY))
    location = target.url.replace("127.0.0.1", "localhost").encode()
    first = serve(saying(head(b"Location: " + location, status=status)))
    events, body = Exchange(first.url, (("Range", "bytes=16-"), *HEADERS)).all()
    assert events == [OPENED, ENDED]
    assert body == BODY
    assert target.requests == [
        b"GET /fw/app.rbl HTTP/1.1\r\nRange: bytes=16-\r\nHost: localhost\r\n"
        b"User-Agent: RT-Thread HTTP Agent\r\n\r\n"
    ]


def test_redirect_loop_ends(serve: Serve) -> None:
    server = serve(saying(head(b"Location: /again", b"Content-Length: 0", status=b"302 Found")))
    events, _ = Exchange(server.url).all()
    assert events == [HttpFailed("download-1", "TooManyRedirects")]
    assert len(server.requests) == LIMITS.redirects + 1


@pytest.mark.parametrize(
    "location", [b"http://[/", b"file:///etc/passwd", b"ftp://127.0.0.1/", b"http://\xff/"]
)
def test_redirect_to_nowhere_fails(serve: Serve, location: bytes) -> None:
    server = serve(saying(head(b"Location: " + location, b"Content-Length: 0", status=b"301 Moved")))
    events, _ = Exchange(server.url).all()
    assert [type(event) for event in events] == [HttpFailed]


def test_route_leads_elsewhere_without_changing_a_byte(serve: Serve) -> None:
    """Also after a redirect; the server that is asked never sees where the URL led."""
    target = serve(saying(head(b"Content-Length: 5120") + BODY))
    moved = head(b"Location: http://cdn.invalid:81/fw", b"Content-Length: 0", status=b"302 Found")
    first = serve(saying(moved))
    ports = {("cloud.invalid", 80): first.listener.port, ("cdn.invalid", 81): target.listener.port}
    events: list[HttpEvent] = []
    request = HttpRequest("download-1", "GET", "http://cloud.invalid/app?x=1", HEADERS)

    def route(link: Link, host: str, port: int) -> tuple[str, int]:
        assert link is Link.HTTP
        return "127.0.0.1", ports[host, port]

    exchange = HttpExchange(request, LIMITS, lambda _exchange, event: events.append(event), route)
    exchange.run()
    assert (events[0], events[-1]) == (OPENED, ENDED)
    assert first.requests == [
        b"GET /app?x=1 HTTP/1.1\r\nHost: 10.0.0.5\r\nUser-Agent: RT-Thread HTTP Agent\r\n\r\n"
    ]
    assert target.requests == [
        b"GET /fw HTTP/1.1\r\nHost: cdn.invalid\r\nUser-Agent: RT-Thread HTTP Agent\r\n\r\n"
    ]


def test_no_route_is_no_connection() -> None:
    def route(_link: Link, _host: str, _port: int) -> tuple[str, int]:
        raise OSError("no way")

    events: list[HttpEvent] = []
    request = HttpRequest("download-1", "GET", "http://127.0.0.1/", HEADERS)
    HttpExchange(request, LIMITS, lambda _exchange, event: events.append(event), route).run()
    assert events == [HttpFailed("download-1", "no connection")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["http://127.0.0.1:0/", "http://[", "http:/", ""]),
    st.text(st.characters(exclude_characters="/@")),
)
def test_no_url_makes_anything_but_a_failure(start: str, rest: str) -> None:
    """Port 0 takes no connection, so nothing leaves the machine."""
    events: list[HttpEvent] = []
    request = HttpRequest("download-1", "GET", start + rest, HEADERS)
    HttpExchange(request, LIMITS, lambda _exchange, event: events.append(event)).run()
    assert [type(event) for event in events] == [HttpFailed]
