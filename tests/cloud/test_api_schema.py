"""The running cloud does what its OpenAPI document says, whatever it is asked (schemathesis).

With --full ten times as many requests are made.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
from cloud_helpers import SN, write_package
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sim.cloud.api.document import PROBLEM_TYPE
from sim.cloud.client import AdminClient
from sim.cloud.model.work import Scope
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer

SEED: Final = 20181016
EXAMPLES: Final = 3  # requests for each route and caller
FULL: Final = 10  # times as many
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS: Final = "/devices/{device_id}/log/live"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")  # in an order that leaves something to ask about


@dataclass(frozen=True, slots=True)
class Fleet:
    """A cloud with something in it. `known` are values that path parameters may have."""

    url: str
    known: dict[str, Any]
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("schema")
    with CloudServer(CloudConfig(directory / "cloud", http_port=0, mqtt_port=0)) as server:
        admin = AdminClient(server.http_url, server.admin_token)
        account = admin.create_account("anna", "long enough")
        token = admin.create_token("all", list(Scope), account="anna")
        own = AdminClient(server.http_url, token["token"])
        product = own.create_product("lamp")
        device = own.add_device("lamp", SN, tags=["a"])
        firmware = own.upload_firmware(write_package(directory), "lamp")
        task = own.create_task("lamp", firmware_ids=[firmware["id"]], selection=Selection(sns=(SN,)))
        known = {
            "account_id": account["id"],
            "device_id": device["device_id"],
            "firmware_id": firmware["id"],
            "kind": "png",
            "product_id": product["product_id"],
            "task_id": task["id"],
            "token_id": 0,
        }
        yield Fleet(server.http_url, known, {"account": token["token"], "operator": server.admin_token})
        own.close()
        admin.close()


def operations(fleet: Fleet) -> list[Any]:
    schema = schemathesis.openapi.from_url(fleet.url + "/api/v1/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda each: METHODS.index(each.method.upper()))


@pytest.mark.parametrize("caller", ["account", "operator"])
def test_answers_are_what_the_document_says(fleet: Fleet, caller: str, pytestconfig: pytest.Config) -> None:
    examples = EXAMPLES * (FULL if pytestconfig.getoption("--full") else 1)
    problems = []
    seen: set[int] = set()
    for operation in operations(fleet):
        name = f"{operation.method.upper()} {operation.path}"
        try:
            ask(fleet, operation, fleet.tokens[caller], examples, seen)
        except (Exception, ExceptionGroup) as exc:
            problems.append(f"{name}: {exc}\n{getattr(exc, '__notes__', '')}")
    assert not problems, "\n".join(problems)
    assert seen >= {200, 204, 400, 404, 422}, "too little has been tried"


def ask(fleet: Fleet, operation: Any, token: str, examples: int, seen: set[int]) -> None:
    """Ask again and again, for what there is and for what there is not."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        for exists in (False, True):
            if exists and operation.path == ENDLESS:
                continue
            for name in case.path_parameters or {}:
                if exists:
                    case.path_parameters[name] = fleet.known[name]
            headers = {"Authorization": f"Bearer {token}"}
            response = case.call(headers=headers, timeout=40)
            seen.add(response.status_code)
            case.validate_response(response, checks=CHECKS)
            if response.status_code >= 400:
                assert response.headers["content-type"][0] == PROBLEM_TYPE
                assert set(response.json()) >= {"status", "code", "detail"}

    check()


def test_the_client_gets_images_and_whole_lists(fleet: Fleet) -> None:
    with contextlib.closing(AdminClient(fleet.url, fleet.tokens["operator"])) as client:
        client.create_product("switch")
        device = client.add_device("switch", "SN2")
        assert client.binding_qr(device["device_id"], "png").startswith(b"\x89PNG")
        assert client.list_firmware("switch") == []


def test_the_document_names_the_errors_of_every_route(fleet: Fleet) -> None:
    document = requests.get(fleet.url + "/api/v1/openapi.json", timeout=10).json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/api/v1"}]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status in ("400", "401", "403", "404", "409", "413", "422", "429"):
                assert PROBLEM_TYPE in operation["responses"][status]["content"], f"{method} {path}"
            public = (method, path) in (("post", "/session"), ("post", "/registrations"))
            assert ("security" in operation) is not public, f"{method} {path}"
