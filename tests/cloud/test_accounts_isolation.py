"""Every route of the API, tried by whoever should get nothing from it.

The routes come from the OpenAPI document, so a new one is tried as well. A new path parameter needs a value
in `World.values`, a new route that changes something a line in `NEEDS`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from cloud_helpers import write_package
from sqlalchemy import create_engine, select

from cloudsdk.activation import request_body
from sim.cloud.client import AdminClient
from sim.cloud.database import sqlite_url
from sim.cloud.model.tables import Base
from sim.cloud.model.work import Scope
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer

PASSWORD: Final = "correct horse"
SN: Final = "VICTIMSN1"
#: Who asks is noted, and so is when a token was used. Samples come every minute.
NOT_COMPARED: Final = {"audit", "online_samples"}
CHANGING: Final = {"last_used_at", "last_login_at"}

PUBLIC: Final = {"POST /session", "POST /registrations"}
OPERATOR_ONLY: Final = None
#: What a token needs for a route; without a line a GET needs `read`.
NEEDS: Final[dict[str, set[Scope] | None]] = {
    "GET /session": set(),
    "DELETE /session": set(),
    "PUT /session/password": {Scope.ACCOUNT},
    "POST /accounts": OPERATOR_ONLY,
    "PATCH /accounts/{account_id}": OPERATOR_ONLY,
    "GET /tokens": {Scope.ACCOUNT},
    "POST /tokens": {Scope.ACCOUNT},
    "DELETE /tokens/{token_id}": {Scope.ACCOUNT},
    "POST /products": {Scope.MANAGE},
    "GET /products/find": {Scope.READ, Scope.KEYS},  # asked for with the key
    "GET /products/{product_id}/key": {Scope.KEYS},
    "PATCH /products/{product_id}": {Scope.MANAGE},
    "DELETE /products/{product_id}": {Scope.MANAGE},
    "POST /products/{product_id}/publish": {Scope.MANAGE},
    "POST /devices": {Scope.MANAGE},
    "POST /devices/import": {Scope.MANAGE},
    "GET /devices/{device_id}/key": {Scope.KEYS},
    "PATCH /devices/{device_id}": {Scope.MANAGE},
    "DELETE /devices/{device_id}": {Scope.MANAGE},
    "POST /devices/{device_id}/publish": {Scope.MANAGE},
    "POST /devices/{device_id}/bind": {Scope.MANAGE, Scope.KEYS},
    "GET /devices/find": {Scope.READ, Scope.KEYS},
    "POST /firmware": {Scope.FIRMWARE},
    "POST /tasks": {Scope.TASKS},
    "POST /tasks/{task_id}/cancel": {Scope.TASKS},
    "POST /tasks/{task_id}/pause": {Scope.TASKS},
    "POST /tasks/{task_id}/resume": {Scope.TASKS},
    "POST /tasks/{task_id}/retry": {Scope.TASKS},
    "DELETE /firmware/{firmware_id}": {Scope.FIRMWARE},
    "POST /packages": {Scope.FIRMWARE},
    "PUT /devices/{device_id}/log": {Scope.CONSOLE},
    "DELETE /devices/{device_id}/log/lines": {Scope.CONSOLE},
}
ENDLESS: Final = {"GET /devices/{device_id}/log/live"}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API, with a request that is good but for who makes it."""

    name: str
    method: str
    path: str
    query: dict[str, Any]
    body: dict[str, Any]

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class World:
    """A server with the account of a victim, who has one of everything."""

    server: CloudServer
    admin: AdminClient
    account: int
    values: dict[str, Any]
    texts: tuple[str, ...]
    secrets: tuple[str, ...] = field(repr=False)
    package: bytes = field(repr=False)

    def send(self, route: Route, token: str | None = None, cookie: str | None = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        cookies = {} if cookie is None else {"cloudsim_session": cookie}
        url = self.server.http_url + "/api/v1" + route.path
        given: dict[str, Any] = {"params": route.query, "headers": headers, "cookies": cookies, **route.body}
        response = requests.request(route.method, url, timeout=10, stream=route.name in ENDLESS, **given)
        if route.name in ENDLESS and response.ok:
            response._content = response.raw.read1(1024)
            response.close()
        return response

    def token(self, account: str, name: str, *scopes: Scope) -> str:
        return self.admin.create_token(name, scopes, account=account)["token"]

    def routes(self) -> list[Route]:
        document = requests.get(self.server.http_url + "/api/v1/openapi.json", timeout=10).json()
        found = [
            self._route(document, method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]
        assert len(found) > 15
        return found

    def _route(self, document: Any, method: str, path: str, operation: Any) -> Route:
        name = f"{method} {path}"
        query = {}
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert parameter["name"] in self.values, f"{name}: say in World.values what the parameter is"
                path = path.replace("{" + parameter["name"] + "}", str(self.values[parameter["name"]]))
            elif parameter["name"] in self.values or parameter.get("required"):
                query[parameter["name"]] = self._value(document, parameter["name"], parameter["schema"])
        return Route(name, method, path, query, self._body(document, operation))

    def _body(self, document: Any, operation: Any) -> dict[str, Any]:
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return {}
        if "application/json" in content:
            return {"json": self._value(document, "", content["application/json"]["schema"])}
        if "text/csv" in content:
            return {"data": b"sn\nSTRANGE1\n"}
        return {"data": self.package}

    def _value(self, document: Any, name: str, schema: Any) -> Any:
        if name in self.values:
            return self.values[name]
        if "$ref" in schema:
            target = document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self._value(document, name, target)
        for choice in schema.get("anyOf", ()):
            return self._value(document, name, choice)
        if "properties" in schema:
            return {part: self._value(document, part, found) for part, found in schema["properties"].items()}
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if schema.get("type") == "array":
            return [self._value(document, "", schema["items"])]
        return {"string": "x", "integer": 1, "number": 1.0, "boolean": True}.get(schema.get("type", ""))

    def owned(self) -> dict[str, list[dict[str, Any]]]:
        """Every row that belongs to the victim's account, by way of foreign keys."""
        engine = create_engine(sqlite_url(self.server.config.data / "cloud.db"))
        rows: dict[str, list[dict[str, Any]]] = {}
        known: set[tuple[str, str, Any]] = {("accounts", "id", self.account)}
        with engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                keys = [(key.parent.name, key.column) for key in table.foreign_keys]
                found = [dict(row) for row in connection.execute(select(table)).mappings()]
                mine = [
                    row
                    for row in found
                    if any((key.table.name, key.name, row[name]) in known for name, key in keys)
                    or ("accounts", "id", row["id"] if table.name == "accounts" else None) in known
                ]
                known |= {(table.name, name, value) for row in mine for name, value in row.items()}
                rows[table.name] = [
                    {name: value for name, value in row.items() if name not in CHANGING} for row in mine
                ]
        engine.dispose()
        return {name: found for name, found in rows.items() if name not in NOT_COMPARED}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("isolation")
    with CloudServer(CloudConfig(directory / "cloud", http_port=0, mqtt_port=0)) as server:
        admin = AdminClient(server.http_url, server.admin_token)
        account = admin.create_account("victor", PASSWORD)
        admin.create_account("mallory", PASSWORD)
        secret = admin.create_token("victims-token", list(Scope), account="victor")
        victim = AdminClient(server.http_url, secret["token"])
        product = victim.create_product("victims-lamp", description="victims-text")
        device = victim.add_device("victims-lamp", SN, name="victims-device")
        activation = request_body(product_id=product["product_id"], product_key=product["product_key"], sn=SN)
        answer = requests.post(server.activation_url, activation, timeout=10).json()
        package = write_package(directory, "app", "7.7.7")
        firmware = victim.upload_firmware(package, "victims-lamp")
        task = victim.create_task(
            "victims-lamp",
            firmware_ids=[firmware["id"]],
            selection=Selection(sns=(SN,)),
            version="victims-version",
        )
        values = {
            "account": "victor",
            "advance_at": 100,
            "account_id": account["id"],
            "device": device["device_id"],
            "device_id": device["device_id"],
            "ends_at": None,
            "everyone": False,
            "expires_at": None,
            "failure_limit": None,
            "firmware_id": firmware["id"],
            "firmware_ids": [firmware["id"]],
            "keys": True,
            "kind": "svg",
            "percent": 100,
            "product": product["product_id"],
            "product_id": product["product_id"],
            "ref": product["product_id"],
            "scopes": ["read"],
            "sn": SN,
            "sns": [SN],
            "soak": 0,
            "stages": [100],
            "starts_at": None,
            "tags": [],
            "task_id": task["id"],
            "token_id": secret["id"],
            "versions": [],
        }
        yield World(
            server,
            admin,
            account["id"],
            values,
            texts=(
                *("victor", "victims-token", "victims-lamp", "victims-text", "victims-device"),
                *("victims-version", "7.7.7", SN, device["device_id"], product["product_id"]),
            ),
            secrets=(secret["token"], product["product_key"], answer["DeviceKey"], PASSWORD),
            package=package.read_bytes(),
        )
        victim.close()
        admin.close()


def test_the_walk_sees_what_the_victim_has(world: World) -> None:
    """A walk that finds nothing proves nothing."""
    owned = world.owned()
    for table in ("accounts", "products", "devices", "firmware", "tasks", "task_devices", "api_tokens"):
        assert len(owned[table]) == 1, table
    token = world.token("victor", "seeing", *Scope)
    shown = "".join(world.send(route, token).text for route in world.routes() if route.method == "GET")
    assert all(text in shown for text in (*world.texts, *world.secrets[1:3]))


def test_a_stranger_gets_and_changes_nothing(world: World) -> None:
    token = world.token("mallory", "stranger", *Scope)
    before = world.owned()
    for route in world.routes():
        response = world.send(route, token)
        assert response.status_code < 500, route.name
        # An error repeats what was asked; what was answered must hold nothing of the victim.
        forbidden = world.secrets if not response.ok else (*world.texts, *world.secrets)
        assert not [text for text in forbidden if text in response.text], route.name
        assert world.owned() == before, route.name


def test_what_is_not_ones_own_is_unknown_rather_than_forbidden(world: World) -> None:
    token = world.token("mallory", "asking", *Scope)
    asked = [route for route in world.routes() if re.search(r"\{\w+\}", route.name)]
    assert asked
    for route in asked:
        assert world.send(route, token).status_code == 404, route.name


def test_without_log_in_there_is_nothing(world: World) -> None:
    before = world.owned()
    for route in world.routes():
        for token, cookie in ((None, None), ("cs_wrong", None), (None, "wrong")):
            response = world.send(route, token, cookie)
            if route.name not in PUBLIC:
                assert response.status_code == 401, route.name
            assert not [text for text in (*world.texts, *world.secrets) if text in response.text], route.name
    assert world.owned() == before


def test_a_session_without_csrf_token_changes_nothing(world: World) -> None:
    credentials = {"name": "victor", "password": PASSWORD}
    response = requests.post(world.server.http_url + "/api/v1/session", json=credentials, timeout=10)
    before = world.owned()
    for route in world.routes():
        if route.changes and route.name not in PUBLIC:
            refused = world.send(route, cookie=response.cookies["cloudsim_session"])
            assert (refused.status_code, refused.json()["code"]) == (403, "cloud.cross-site"), route.name
    assert world.owned() == before


@pytest.mark.parametrize("scope", Scope)
def test_a_token_does_what_its_scope_says_and_no_more(world: World, scope: Scope) -> None:
    """The victim's own token, for everything that its only scope does not suffice for."""
    token = world.token("victor", f"only {scope}", scope)
    before = world.owned()
    for route in world.routes():
        if route.name in PUBLIC:
            continue
        assert route.name in NEEDS or not route.changes, f"{route.name}: say in NEEDS what it needs"
        needs = NEEDS.get(route.name, {Scope.READ})
        if needs is not None and needs <= {scope}:
            continue
        response = world.send(route, token)
        assert response.status_code == 403, route.name
        assert not [secret for secret in world.secrets if secret in response.text], route.name
    assert world.owned() == before


def test_all_scopes_of_an_account_do_not_make_an_operator(world: World) -> None:
    token = world.token("victor", "all", *Scope)
    before = world.owned()
    for route in world.routes():
        if NEEDS.get(route.name, set()) is OPERATOR_ONLY:
            assert world.send(route, token).status_code == 403, route.name
    assert world.owned() == before
