"""What responses tell browsers, under which names the cloud answers, and what its log gives away."""

import asyncio
import logging
from pathlib import Path

import pytest
import requests
from cloud_helpers import raw_request, write_package
from starlette.types import Message, Scope

from cloudsdk.activation import mqtt_password, request_body, sign
from sim.cloud.client import AdminClient
from sim.cloud.model.sessions import csrf_token
from sim.cloud.security import (
    API_POLICY,
    LOCAL_NAMES,
    Hardened,
    allowed_hosts,
    api_policy,
    console_policy,
    from_another_site,
    host_name,
)
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.sessions import cleared_cookie, cookie_value, session_cookie

PASSWORD = "correct horse"


@pytest.mark.parametrize("path", ["/api/v1/products", "/api/v1/openapi.json", "/healthz", "/nothing/here"])
def test_every_response_is_hardened(server: CloudServer, path: str) -> None:
    headers = requests.get(server.http_url + path, headers={"Origin": "http://evil"}, timeout=10).headers
    assert headers["Content-Security-Policy"] == API_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "Server" not in headers


def test_answers_to_devices_stay_small(server: CloudServer) -> None:
    for path in ("/devices/active", "/fw/none/app.rbl"):
        answer = raw_request(server.http_url, f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        assert b"X-Content-Type-Options: nosniff\r\n" not in answer or len(answer) < 512
        assert b"Content-Security-Policy" not in answer


def host_request(server: CloudServer, path: str, host: str) -> bytes:
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return raw_request(server.http_url, request.encode()).split(b"\r\n", 1)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8090"])
def test_a_local_cloud_answers_under_local_names(server: CloudServer, host: str) -> None:
    assert b" 200 " in host_request(server, "/healthz", host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:80", "[::2]"])
def test_a_local_cloud_answers_under_no_other_name_but_to_devices(server: CloudServer, host: str) -> None:
    assert b" 421 " in host_request(server, "/api/v1/openapi.json", host)
    assert b" 404 " in host_request(server, "/fw/none/app.rbl", host)


def test_names_of_the_cloud() -> None:
    assert allowed_hosts("127.0.0.1", None, ()) == LOCAL_NAMES
    assert allowed_hosts("::1", "https://cloud.example:8090/x", ()) == LOCAL_NAMES | {"cloud.example"}
    assert allowed_hosts("192.0.2.1", None, ()) is None
    assert allowed_hosts("192.0.2.1", "http://[2001:db8::1]:1", ["A.example:80"]) == LOCAL_NAMES | {
        "192.0.2.1",
        "[2001:db8::1]",
        "a.example",
    }
    assert allowed_hosts("127.0.0.2", None, ()) == LOCAL_NAMES | {"127.0.0.2"}
    assert host_name("[::1]:80") == "[::1]"
    assert host_name("A.Example:80") == "a.example"


def test_a_websocket_under_a_foreign_name_is_closed() -> None:
    sent: list[Message] = []

    async def inner(_scope: Scope, _receive: object, _send: object) -> None:
        raise AssertionError("let through")

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/_nicegui_ws", "headers": [(b"host", b"evil.example")]}
    asyncio.run(Hardened(inner, LOCAL_NAMES, api_policy)(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": "http://a:80", "host": "a"}, False),
        ({"origin": "https://a", "host": "a:443"}, False),
        ({"origin": "http://a:81", "host": "a"}, True),
        ({"origin": "http://b", "host": "a"}, True),
        ({"origin": "null", "host": "a"}, True),
        ({"origin": "http://a:x", "host": "a:x"}, True),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://a", "host": "a"}, True),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], foreign: bool) -> None:
    assert from_another_site(headers) is foreign


def test_policies_load_nothing_from_elsewhere() -> None:
    for policy in (API_POLICY, console_policy()):
        sources = {source for part in policy.split("; ") for source in part.split()[1:]}
        assert sources <= {"'none'", "'self'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
        assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in API_POLICY


def test_cookies_are_for_this_site_and_no_script() -> None:
    for cookie in (session_cookie("t", secure=True), cleared_cookie(secure=True)):
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Secure"} <= set(cookie.split("; "))
    assert "Secure" not in session_cookie("t", secure=False)
    assert cookie_value("a=b; cloudsim_session=xyz; c=d") == "xyz"
    for header in (None, "", "cloudsim_session=", "other=1", "\x00;;=;"):
        assert cookie_value(header) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_registration_is_open_on_loopback_only(host: str) -> None:
    from sim.cloud.server import _registration

    assert _registration(CloudConfig(Path(), host)) == ("open" if host == "127.0.0.1" else "closed")
    assert _registration(CloudConfig(Path(), host, registration="closed")) == "closed"


def test_no_secret_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A whole run at the most talkative level, refusals and failures included."""
    caplog.set_level(logging.DEBUG)
    sn = "SN1"
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)) as server:
        url = server.http_url + "/api/v1"
        credentials = {"name": "anna", "password": PASSWORD}
        assert requests.post(url + "/registrations", json=credentials, timeout=10).status_code == 201
        browser = requests.Session()
        csrf = browser.post(url + "/session", json=credentials, timeout=10).json()["csrf_token"]
        headers = {"X-CSRF-Token": csrf}
        cookie = browser.cookies["cloudsim_session"]
        assert csrf_token(cookie) == csrf
        body = {"name": "ci", "scopes": ["read", "manage", "keys", "firmware", "tasks"]}
        token = browser.post(url + "/tokens", json=body, headers=headers, timeout=10).json()["token"]
        client = AdminClient(server.http_url, token)
        product = client.create_product("lamp")
        client.add_device("lamp", sn)
        activation = request_body(product_id=product["product_id"], product_key=product["product_key"], sn=sn)
        requests.post(server.activation_url, activation, timeout=10)
        requests.post(server.activation_url, activation.replace(b"SN1", b"SN2"), timeout=10)
        key = client.show_device(sn, keys=True)["device_key"]
        client.upload_firmware(write_package(tmp_path), "lamp")
        requests.post(url + "/session", json={**credentials, "password": PASSWORD + "x"}, timeout=10)
        requests.get(url + "/products", headers={"Authorization": f"Bearer {token}x"}, timeout=10)
        requests.post(url + "/session", json={"password": PASSWORD}, timeout=10)
        change = {"old": PASSWORD, "new": "another password"}
        assert browser.put(url + "/session/password", json=change, headers=headers, timeout=10).ok
        admin_token = server.admin_token
        vault_key = (tmp_path / "cloud" / "vault.key").read_text().strip()
    secrets = (
        *(PASSWORD, "another password", cookie, csrf, token, admin_token, vault_key),
        *(product["product_key"], key, mqtt_password(key), sign(product["product_key"], sn)),
    )
    assert "activation refused" in caplog.text
    # The client's own library writes paths of requests, so the log of the cloud alone counts.
    logged = "\n".join(
        str(record.__dict__) for record in caplog.records if record.name != "urllib3.connectionpool"
    )
    assert not [secret for secret in secrets if secret in logged]
    database = b"".join(path.read_bytes() for path in (tmp_path / "cloud").glob("cloud.db*"))
    assert not [secret for secret in secrets if secret.encode() in database]
