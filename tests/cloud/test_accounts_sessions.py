"""Registration, log-in, sessions of browsers and their protection (platform 1)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer

PASSWORD = "correct horse"


class Browser:
    """Keeps the cookie and sends the CSRF token, as a page would."""

    def __init__(self, server: CloudServer) -> None:
        self.url = server.http_url + "/api/v1"
        self.http = requests.Session()
        self.csrf = ""

    def call(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        sent = {"X-CSRF-Token": self.csrf, **headers}
        return self.http.request(method, self.url + path, json=body, headers=sent, timeout=10)

    def log_in(self, name: str, password: str = PASSWORD) -> requests.Response:
        response = self.call("POST", "/session", {"name": name, "password": password})
        if response.ok:
            self.csrf = response.json()["csrf_token"]
        return response

    def register(self, name: str, password: str = PASSWORD) -> requests.Response:
        return self.call("POST", "/registrations", {"name": name, "password": password})


def code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.fixture
def browser(server: CloudServer) -> Iterator[Browser]:
    found = Browser(server)
    yield found
    found.http.close()


@pytest.fixture
def anna(admin: AdminClient, browser: Browser) -> Browser:
    """A browser that is logged in to an account of this test's own."""
    name = f"anna{len(admin.list_accounts())}"
    admin.create_account(name, PASSWORD)
    assert browser.log_in(name).status_code == 201
    return browser


@pytest.fixture
def other(server: CloudServer, admin: AdminClient) -> Iterator[Browser]:
    """Somebody else's browser."""
    found = Browser(server)
    name = f"other{len(admin.list_accounts())}"
    admin.create_account(name, PASSWORD)
    assert found.log_in(name).status_code == 201
    yield found
    found.http.close()


def test_register_log_in_look_and_log_out(browser: Browser) -> None:
    assert browser.register("Berta").json()["name"] == "berta"
    assert code(browser.call("GET", "/session")) == (401, "cloud.unauthorized")
    response = browser.log_in("BERTA")
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("cloudsim_session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    who = browser.call("GET", "/session").json()
    assert (who["account"], who["csrf_token"]) == ("berta", browser.csrf)
    assert browser.call("GET", "/products").json() == []
    token = browser.http.cookies["cloudsim_session"]
    assert browser.call("DELETE", "/session").status_code == 204
    assert "cloudsim_session" not in browser.http.cookies
    browser.http.cookies.set("cloudsim_session", token)
    assert code(browser.call("GET", "/session")) == (401, "cloud.unauthorized")


def test_what_is_changed_needs_the_csrf_token_of_the_session(anna: Browser, other: Browser) -> None:
    for wrong in ("", "x", other.csrf):
        response = anna.call("POST", "/products", {"name": "lamp"}, **{"X-CSRF-Token": wrong})
        assert code(response) == (403, "cloud.cross-site")
    assert anna.call("GET", "/products").json() == []
    assert anna.call("POST", "/products", {"name": "lamp"}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing_and_logs_nobody_in(
    anna: Browser, headers: dict[str, str]
) -> None:
    assert code(anna.call("POST", "/products", {"name": "lamp"}, **headers)) == (403, "cloud.cross-site")
    body = {"name": "anna", "password": PASSWORD}
    for path in ("/session", "/registrations"):
        assert code(anna.call("POST", path, body, **headers)) == (403, "cloud.cross-site")


def test_the_clouds_own_page_is_let_through(anna: Browser, server: CloudServer) -> None:
    headers = {"Origin": server.http_url, "Sec-Fetch-Site": "same-origin"}
    assert anna.call("POST", "/products", {"name": "lamp"}, **headers).status_code == 201


def test_changing_the_password_ends_all_other_sessions(anna: Browser, server: CloudServer) -> None:
    name = anna.call("GET", "/session").json()["account"]
    other = Browser(server)
    assert other.log_in(name).status_code == 201
    wrong = anna.call("PUT", "/session/password", {"old": "not this one", "new": "another password"})
    assert code(wrong) == (401, "cloud.bad-login")
    body = {"old": PASSWORD, "new": "another password"}
    assert anna.call("PUT", "/session/password", body).status_code == 204
    assert anna.call("GET", "/session").status_code == 200
    assert other.call("GET", "/session").status_code == 401
    assert code(other.log_in(name)) == (401, "cloud.bad-login")
    assert other.log_in(name, "another password").status_code == 201


def test_a_product_of_an_account_is_its_own(anna: Browser, other: Browser) -> None:
    made = anna.call("POST", "/products", {"name": "lamp"}).json()
    assert made["account"] == anna.call("GET", "/session").json()["account"]
    assert other.call("GET", "/products").json() == []
    taken = other.call("POST", "/products", {"name": "lamp2", "account": made["account"]})
    assert code(taken) == (404, "cloud.unknown-account")


@pytest.mark.parametrize("name", ["", "-x", "a b", "ü", "a" * 65, "x/y", "\ud800", "operator"])
def test_names_that_cannot_be_registered(browser: Browser, name: str) -> None:
    wanted = (409, "cloud.duplicate-account") if name == "operator" else (400, "cloud.bad-request")
    assert code(browser.register(name)) == wanted


@pytest.mark.parametrize("password", ["", "short", "x" * 129, "longname"])
def test_passwords_that_are_refused_are_not_repeated(browser: Browser, password: str) -> None:
    response = browser.register("longname", password)
    assert code(response) == (400, "cloud.bad-request")
    assert len(password) < 6 or password not in response.text.replace("account name", "")


def test_disabled_account_is_out_at_once(anna: Browser, admin: AdminClient) -> None:
    name = anna.call("GET", "/session").json()["account"]
    [account] = admin.list_accounts(name)
    assert admin.set_account_enabled(account["id"], False)["disabled"]
    assert anna.call("GET", "/session").status_code == 401
    assert code(anna.log_in(name)) == (403, "cloud.account-disabled")
    assert code(anna.log_in(name, "wrong password")) == (401, "cloud.bad-login")
    admin.set_account_enabled(account["id"], True)
    assert anna.log_in(name).status_code == 201


def test_registration_may_be_closed(tmp_path: Path) -> None:
    with CloudServer(CloudConfig(tmp_path, http_port=0, mqtt_port=0, registration="closed")) as server:
        browser = Browser(server)
        assert code(browser.register("anna")) == (403, "cloud.registration-closed")
        operator = AdminClient(server.http_url, server.admin_token)
        operator.create_account("anna", PASSWORD)
        assert browser.log_in("anna").status_code == 201
