"""TLS on the wire: what is accepted, what is refused, and the line that says why."""

import contextlib
import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_cloud import Listener
from tls_rig import SN, Authorities, as_device, make_authorities, tls_listener, trusting

from cloudsdk.errors import UsageError
from cloudsdk.events import (
    ConsoleOutput,
    Event,
    HttpData,
    HttpEnded,
    HttpFailed,
    HttpOpened,
    HttpRequest,
    MqttConnect,
    MqttConnected,
    MqttLost,
    MqttMessage,
    MqttUnreachable,
)
from cloudsdk.http_transport import HttpExchange
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.mqtt_transport import MqttConnection
from cloudsdk.port import MqttAddress
from cloudsdk.route import Link, Route, direct
from cloudsdk.tls import TlsSettings, TlsVersion
from cloudsdk.tls_context import TlsFileError, client_context

PATIENCE = 10.0  # seconds until an event that does not come fails the test
LIMITS = Limits(http_timeout=3.0)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
CONNACK = b"\x20\x02\x00\x00"
OTHER_NAME = "127.1"  # leads to 127.0.0.1, but no certificate says so
ENDS = (HttpEnded, HttpFailed, MqttConnected, MqttUnreachable, MqttLost)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return make_authorities(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    with contextlib.ExitStack() as stack:

        def start(*arguments: object, **options: object) -> Listener:
            listener = tls_listener(*arguments, **options)  # type: ignore[arg-type]
            stack.callback(listener.close)
            return listener

        yield start


Listen = Callable[..., Listener]


def answer(connection: ssl.SSLSocket) -> None:
    """HTTP or MQTT, as it is spoken to."""
    request = connection.recv(4096)
    if request:
        connection.sendall(ANSWER if request.startswith(b"GET ") else CONNACK)
        with contextlib.suppress(OSError):
            connection.unwrap()


def fetch(url: str, tls: TlsSettings | None, route: Route = direct) -> list[Event]:
    events: list[Event] = []
    request = HttpRequest("activation", "GET", url, (("Host", "x"),))
    HttpExchange(request, LIMITS, lambda _exchange, event: events.append(event), route, tls).run()
    return events


@contextlib.contextmanager
def connected(
    port: int, tls: TlsSettings | None, host: str = "127.0.0.1", route: Route = direct
) -> Iterator["queue.Queue[Event]"]:
    """The events of an MQTT connection, which is dropped at the end."""
    events: queue.Queue[Event] = queue.Queue()
    effect = MqttConnect(MqttAddress(host, port, True), "id", "id", "secret", "/will", b"{}", 30)
    with IoLoop() as loop:
        connection = MqttConnection(
            effect, loop, constant_packet_id=False, post=events.put, route=route, tls=tls
        )
        connection.start()
        yield events
        connection.drop()
    assert connection.closed.wait(PATIENCE)


def connect(
    port: int, tls: TlsSettings | None, host: str = "127.0.0.1", route: Route = direct
) -> list[Event]:
    """Every event up to the first that settles the matter."""
    with connected(port, tls, host, route) as events:
        seen = [events.get(timeout=PATIENCE)]
        while not isinstance(seen[-1], ENDS):
            seen.append(events.get(timeout=PATIENCE))
    return seen


def over(
    link: str, port: int, tls: TlsSettings | None, host: str = "127.0.0.1", route: Route = direct
) -> list[Event]:
    if link == "http":
        return fetch(f"https://{host}:{port}/x", tls, route)
    return connect(port, tls, host, route)


LINKS = pytest.mark.parametrize("link", ["http", "mqtt"])


def refusal(events: list[Event], port: int) -> str:
    """What the device says on its console, without the port, which changes; checks that nothing came in."""
    assert len(events) == 2, events
    said, failed = events
    assert isinstance(said, ConsoleOutput)
    line = re.fullmatch("\x1b\\[31m\\[E/tls] (.*)\x1b\\[0m\n", said.text)
    assert line
    if isinstance(failed, HttpFailed | MqttUnreachable):
        assert failed.reason == line[1]
    else:
        assert isinstance(failed, MqttLost)
    return line[1].replace(f":{port}", "")


@LINKS
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("minimum", list(TlsVersion))
def test_good_server_is_used(
    link: str, host: str, minimum: TlsVersion, authorities: Authorities, listen: Listen
) -> None:
    server = listen(authorities.good.server, answer)
    events = over(link, server.port, trusting(authorities.good, minimum=minimum), host)
    if link == "mqtt":
        assert events == [MqttConnected()]
    else:
        assert events[1:] == [HttpData("activation", b"body"), HttpEnded("activation")]
        assert isinstance(events[0], HttpOpened)


@LINKS
def test_expired_certificate_is_refused(link: str, authorities: Authorities, listen: Listen) -> None:
    port = listen(authorities.expired.server, answer).port
    events = over(link, port, trusting(authorities.expired))
    assert refusal(events, port) == "certificate of 127.0.0.1 refused: expired"


@LINKS
def test_unknown_ca_is_refused(link: str, authorities: Authorities, listen: Listen) -> None:
    port = listen(authorities.foreign.server, answer).port
    events = over(link, port, trusting(authorities.good))
    assert refusal(events, port) == "certificate of 127.0.0.1 refused: unknown CA"


@LINKS
def test_without_a_ca_file_only_those_of_the_system_count(
    link: str, authorities: Authorities, listen: Listen
) -> None:
    port = listen(authorities.good.server, answer).port
    events = over(link, port, TlsSettings())
    assert refusal(events, port) == "certificate of 127.0.0.1 refused: unknown CA"


@LINKS
@pytest.mark.parametrize("name", ["cloud.example", "10.0.0.5"])
def test_certificate_of_another_host_is_refused(
    link: str, name: str, authorities: Authorities, listen: Listen
) -> None:
    port = listen(authorities.good.server, answer).port
    wanted = trusting(authorities.good, server_name=name)
    assert refusal(over(link, port, wanted), port) == (
        "certificate of 127.0.0.1 refused: issued for another host"
    )
    unchecked = over(link, port, replace(wanted, check_server_name=False))
    assert isinstance(unchecked[-1], HttpEnded | MqttConnected)
    foreign = trusting(authorities.foreign, check_server_name=False)
    assert "unknown CA" in refusal(over(link, port, foreign), port)


@LINKS
def test_host_that_is_not_in_the_certificate_is_refused(
    link: str, authorities: Authorities, listen: Listen
) -> None:
    port = listen(authorities.good.server, answer).port
    text = refusal(over(link, port, trusting(authorities.good), OTHER_NAME), port)
    assert text == f"certificate of {OTHER_NAME} refused: issued for another host"
    named = trusting(authorities.good, server_name="localhost")
    assert isinstance(over(link, port, named, OTHER_NAME)[-1], HttpEnded | MqttConnected)


@LINKS
def test_route_changes_the_address_and_not_the_name(
    link: str, authorities: Authorities, listen: Listen
) -> None:
    listener = listen(authorities.good.server, answer)
    asked = []

    def route(which: Link, host: str, port: int) -> tuple[str, int]:
        asked.append((which, host, port))
        return "127.0.0.1", listener.port

    tls = trusting(authorities.good)
    text = refusal(over(link, 4433, tls, "cloud.invalid", route), 4433)
    assert text == "certificate of cloud.invalid refused: issued for another host"
    for settings in (replace(tls, server_name="localhost"), replace(tls, check_server_name=False)):
        events = over(link, 4433, settings, "cloud.invalid", route)
        assert isinstance(events[-1], HttpEnded | MqttConnected)
    assert asked == [(Link(link), "cloud.invalid", 4433)] * 3


@LINKS
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_server_that_wants_a_client_certificate(
    link: str, newest: ssl.TLSVersion, authorities: Authorities, listen: Listen
) -> None:
    made = authorities.good
    port = listen(made.server, answer, newest=newest, client_ca=made.ca.certificate).port
    assert isinstance(over(link, port, as_device(made))[-1], HttpEnded | MqttConnected)
    text = refusal(over(link, port, trusting(made)), port)
    assert text.startswith("no TLS with 127.0.0.1: the server ")
    assert text.endswith("a client certificate")
    stranger = replace(as_device(authorities.foreign), ca=made.ca.certificate)
    assert refusal(over(link, port, stranger), port) == (
        "no TLS with 127.0.0.1: the server does not know the CA of the client certificate"
    )


@LINKS
def test_older_version_than_the_minimum_is_refused(
    link: str, authorities: Authorities, listen: Listen
) -> None:
    port = listen(authorities.good.server, answer, newest=ssl.TLSVersion.TLSv1_2).port
    assert isinstance(over(link, port, trusting(authorities.good))[-1], HttpEnded | MqttConnected)
    strict = trusting(authorities.good, minimum=TlsVersion.V1_3)
    assert refusal(over(link, port, strict), port) == (
        "no TLS with 127.0.0.1: the server wants another TLS version"
    )


@LINKS
def test_server_without_tls_is_refused(link: str, authorities: Authorities) -> None:
    listener = Listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with contextlib.closing(listener):
        text = refusal(over(link, listener.port, trusting(authorities.good)), listener.port)
    assert text == "no TLS with 127.0.0.1: the server does not speak TLS"


@LINKS
def test_server_that_closes_in_the_handshake(link: str, authorities: Authorities) -> None:
    def leave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.shutdown(socket.SHUT_RDWR)

    with contextlib.closing(Listener(leave)) as listener:
        text = refusal(over(link, listener.port, trusting(authorities.good)), listener.port)
    assert text == "no TLS with 127.0.0.1: the server closed the connection"


@LINKS
def test_firmware_without_tls_refuses_it_by_itself(link: str) -> None:
    assert refusal(over(link, 9, None), 9) == "no TLS with 127.0.0.1: this firmware has none"


@LINKS
def test_file_that_vanished_is_told(link: str, tmp_path: Path) -> None:
    (said, failed) = over(link, 9, TlsSettings(ca=tmp_path / "gone.pem"))
    assert isinstance(said, ConsoleOutput)
    assert "gone.pem': No such file or directory" in said.text
    assert isinstance(failed, HttpFailed | MqttUnreachable)


def test_redirect_does_not_lead_out_of_tls(authorities: Authorities, listen: Listen) -> None:
    touched = threading.Event()
    plain = Listener(lambda _connection: touched.set())

    def send_away(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % plain.port
        )

    port = listen(authorities.good.server, send_away).port
    with contextlib.closing(plain):
        events = fetch(f"https://127.0.0.1:{port}/", trusting(authorities.good))
    assert refusal(events, port) == "127.0.0.1 redirects to what is not https: refused"
    assert not touched.is_set()


def test_redirect_to_another_host_is_checked_by_its_own_name(
    authorities: Authorities, listen: Listen
) -> None:
    target = listen(authorities.good.server, answer).port

    def send_on(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://127.1:%d/\r\n\r\n" % target
        )

    port = listen(authorities.good.server, send_on).port
    events = fetch(f"https://127.0.0.1:{port}/", trusting(authorities.good))
    assert refusal(events, target) == f"certificate of {OTHER_NAME} refused: issued for another host"


def test_messages_that_came_in_one_record_are_all_handled(authorities: Authorities, listen: Listen) -> None:
    message = b"\x30\x05\x00\x02/ax"
    held = threading.Event()

    def flood(connection: ssl.SSLSocket) -> None:
        connection.recv(4096)
        connection.sendall(CONNACK + message * 50)
        held.wait(PATIENCE)

    port = listen(authorities.good.server, flood).port
    with connected(port, trusting(authorities.good)) as events:
        seen = [events.get(timeout=PATIENCE) for _ in range(51)]
        held.set()
    assert seen == [MqttConnected(), *[MqttMessage("/a", b"x")] * 50]


# Files


def test_files_that_cannot_be_used_are_named(authorities: Authorities, tmp_path: Path) -> None:
    made = authorities.good
    own, empty = made.devices[SN], tmp_path / "empty.pem"
    empty.touch()
    for settings, text in (
        (TlsSettings(ca=empty), "empty.pem' holds no CA certificates"),
        (TlsSettings(ca=made.ca.key), "ca.key' holds no CA certificates"),
        (TlsSettings(ca=tmp_path), "Is a directory"),
        (TlsSettings(client_cert=empty, client_key=own.key), "empty.pem' holds no certificate"),
        (TlsSettings(client_cert=own.certificate, client_key=empty), "empty.pem' holds no private key"),
        (TlsSettings(client_cert=own.certificate, client_key=made.ca.key), "must belong together"),
    ):
        with pytest.raises(TlsFileError) as caught:
            client_context(settings, "x")
        assert text in str(caught.value)
        assert (caught.value.code, caught.value.exit_status) == ("tls.file", 2)


def test_encrypted_key_is_refused_without_asking(authorities: Authorities, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    own = authorities.good.devices[SN]
    key = serialization.load_pem_private_key(own.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsFileError, match="must not be encrypted"):
        client_context(TlsSettings(client_cert=own.certificate, client_key=locked), "x")


@pytest.mark.parametrize(
    "name", ["", "ü.example", "a..b", ".example", "a b", "x" * 64, "a." * 127 + "b", "1:2"]
)
def test_server_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="neither a host name nor an IP address"):
        TlsSettings(server_name=name)


def test_certificate_and_key_go_together() -> None:
    for half in ({"client_cert": Path("a")}, {"client_key": Path("a")}):
        with pytest.raises(UsageError, match="go together"):
            TlsSettings(**half)  # type: ignore[arg-type]
