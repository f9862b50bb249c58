"""HTTP connections that ask for nothing, ask slowly, or are too many."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from cloud_helpers import raw_request

from sim.cloud import bodies, connections, server
from sim.cloud.connections import MAX_HTTP, MAX_MQTT, ConnectionLimits, shared
from sim.cloud.server import CloudConfig, CloudServer

MOST = 8
PATIENCE = 10.0  # seconds for anything awaited here


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudServer]:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.5)
    monkeypatch.setattr(bodies, "BODY_PATIENCE", 0.5)
    monkeypatch.setattr(server, "connection_limits", lambda: ConnectionLimits(MOST, MOST))
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)) as running:
        yield running


def connected(cloud: CloudServer) -> socket.socket:
    parts = urlsplit(cloud.http_url)
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def healthy(cloud: CloudServer) -> bool:
    return requests.get(cloud.http_url + "/healthz", timeout=PATIENCE).ok


def drip(connection: socket.socket) -> None:
    """Send a byte now and then, until the other end has closed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        connection.sendall(b"{")
        time.sleep(0.02)  # the pace of the attack


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_connection_without_a_whole_request_is_closed(cloud: CloudServer, begun: bytes) -> None:
    with connected(cloud) as connection:
        connection.sendall(begun)
        assert is_closed(connection)


def test_so_is_one_that_stops_in_its_second_request(cloud: CloudServer) -> None:
    with connected(cloud) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        assert is_closed(connection)
        assert time.monotonic() - began > connections.HEAD_TIMEOUT / 2


def test_beyond_the_limit_connections_are_closed_at_once_and_others_go_on(cloud: CloudServer) -> None:
    with contextlib.ExitStack() as stack, requests.Session() as session:
        address = cloud.http_url + "/healthz"
        assert session.get(address, timeout=PATIENCE).ok
        held = [stack.enter_context(connected(cloud)) for _ in range(4 * MOST)]
        began = time.monotonic()
        assert session.get(address, timeout=PATIENCE).ok
        assert sum(is_closed(connection) for connection in held[MOST:]) == 3 * MOST
        assert time.monotonic() - began < PATIENCE
        assert all(is_closed(connection) for connection in held)
    assert healthy(cloud)


def test_a_body_that_drips_is_given_up(cloud: CloudServer) -> None:
    with connected(cloud) as connection:
        connection.sendall(b"POST /devices/active HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(connection)
    whole = b"POST /devices/active HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert b" 400 " in raw_request(cloud.http_url, whole)


def test_files_are_shared_between_http_and_devices() -> None:
    assert shared(None) == ConnectionLimits(MAX_HTTP, MAX_MQTT)
    for files in (0, 256, 1024, 4096, 65536, 2**20):
        limits = shared(files)
        assert 0 < limits.http <= MAX_HTTP
        assert 0 < limits.mqtt <= MAX_MQTT
        assert files < 256 or limits.http + limits.mqtt < files
