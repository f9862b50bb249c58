"""The console beside the rest of the cloud, in one process."""

import contextlib
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sim.cloud.errors import ConsoleInUseError
from sim.cloud.server import CloudConfig, CloudServer


def cloud(folder: Path, *, console: bool) -> CloudServer:
    return CloudServer(CloudConfig(folder, http_port=0, mqtt_port=0, console=console))


def test_a_process_has_one_console_at_a_time(tmp_path: Path) -> None:
    for turn in range(2):
        with cloud(tmp_path / "first", console=True) as first:
            page = requests.get(first.http_url + "/login", timeout=30)
            assert (turn, page.status_code) == (turn, 200)
            with pytest.raises(ConsoleInUseError), cloud(tmp_path / "second", console=True):
                pass
            with cloud(tmp_path / "third", console=False) as third:
                assert requests.get(third.http_url + "/login", timeout=30).status_code == 404
            assert requests.get(first.http_url + "/login", timeout=30).status_code == 200


def test_devices_are_answered_as_without_a_console(tmp_path: Path) -> None:
    answers = []
    for console in (True, False):
        with cloud(tmp_path / str(console), console=console) as server:
            refused = requests.post(server.activation_url, data=b"{}", timeout=30)
            unknown = requests.get(server.http_url + "/fw/none/app.rbl", timeout=30)
            unbound = requests.get(server.http_url + "/devices?sn=SN1", timeout=30)
            answers.append(
                [
                    (answer.status_code, answer.content, sorted(set(answer.raw.headers) - {"Date"}))
                    for answer in (refused, unknown, unbound)
                ]
            )
            assert "Content-Length" in list(refused.raw.headers)
    assert answers[0] == answers[1]


def test_pages_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.cloud.web import console

    monkeypatch.setattr(console, "MAX_PAGES_PER_ADDRESS", 3)
    with cloud(tmp_path, console=True) as server:
        statuses = [requests.get(server.http_url + "/login", timeout=30).status_code for _ in range(5)]
        unknown = [requests.get(server.http_url + "/_nicegui/none", timeout=30) for _ in range(5)]
    assert statuses == [200, 200, 200, 503, 503]
    assert {answer.status_code for answer in unknown} == {404}


def test_the_command_shown_names_the_public_url(tmp_path: Path) -> None:
    config = CloudConfig(tmp_path, http_port=0, mqtt_port=0, console=True, public_url="https://c.example/")
    with CloudServer(config) as server, requests.Session() as session:
        form = {"name": "reader", "password": "a long password"}
        session.post(server.http_url + "/register", data=form, allow_redirects=False, timeout=30)
        api = server.http_url + "/api/v1"
        csrf = session.get(api + "/session", timeout=30).json()["csrf_token"]
        fields = {"X-CSRF-Token": csrf}
        product = session.post(api + "/products", json={"name": "lamp"}, headers=fields, timeout=30).json()
        page = session.get(f"{server.http_url}/products/{product['product_id']}", timeout=30).text
        assert "--activation-url https://c.example/devices/active " in page
        assert f"--mqtt-url mqtt://c.example:{urlsplit(server.mqtt_url).port}" in page


SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport="


def socket_status(server: CloudServer, stack: contextlib.ExitStack) -> int:
    """The answer to a web socket, which stays open."""
    parts = urlsplit(server.http_url)
    connection = stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
    fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    request = f"GET {SOCKET}websocket HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}{key}\r\n"
    connection.sendall(request.encode())
    return int(connection.recv(4096).split()[1])


def test_sockets_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.cloud.web import console

    monkeypatch.setattr(console, "MAX_PAGES_PER_ADDRESS", 2)
    with cloud(tmp_path, console=True) as server:
        with contextlib.ExitStack() as stack:
            assert [socket_status(server, stack) for _ in range(6)] == [101] * 4 + [403] * 2
        deadline = time.monotonic() + 30
        with contextlib.ExitStack() as stack:
            while socket_status(server, stack) != 101:  # those that are closed no longer count
                assert time.monotonic() < deadline
        polled = requests.get(f"{server.http_url}{SOCKET}polling", timeout=30)
    assert polled.status_code == 400


def test_a_form_of_another_site_is_refused(tmp_path: Path) -> None:
    with cloud(tmp_path, console=True) as server:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = requests.post(server.http_url + "/login", headers=headers, data="name=a", timeout=30)
            assert answer.status_code == 403
        long = requests.post(server.http_url + "/login", data="name=" + "a" * 10_000, timeout=30)
        assert long.status_code == 413


def test_a_log_in_leads_to_pages_only(tmp_path: Path) -> None:
    with cloud(tmp_path, console=True) as server:
        form = {"name": "reader", "password": "a long password"}
        session = requests.Session()
        for wanted, place in (("//evil.example", "/"), ("https://evil.example", "/"), ("/tasks", "/tasks")):
            path = "/register" if wanted.startswith("//") else "/login"
            answer = session.post(
                server.http_url + path, data={**form, "next": wanted}, allow_redirects=False, timeout=30
            )
            assert (answer.status_code, answer.headers["Location"]) == (303, place)
