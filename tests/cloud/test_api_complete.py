"""docs/cloud-api.md names every operation, route, client method and command, and nothing else."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import click

from sim.cli.cloud import cloud
from sim.cloud.api import make_api
from sim.cloud.client import AdminClient
from sim.cloud.client.http import ApiSession
from sim.cloud.operations import Operations

PAGE = (Path(__file__).parents[2] / "docs/cloud-api.md").read_text()
SOCKET = "WebSocket /devices/{device_id}/shell"


def methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def commands(group: click.Group, *path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name))


def quoted(text: str) -> list[str]:
    return re.findall("`([^`]+)`", text)


def table(heading: str) -> list[list[list[str]]]:
    """What is quoted in the cells of the rows below the header that begins with `heading`."""
    _, _, after = PAGE.partition(f"\n| {heading} |")
    rows = re.match(r"[^\n]*\n\|[-|]+\|\n((?:\|.*\n)+)", after)
    assert rows is not None, heading
    return [[quoted(cell) for cell in line.strip("|").split("|")] for line in rows[1].splitlines()]


OPERATIONS = table("operation | route | client | command")
OF_THE_CLIENT = table("client | route | command")
STEPS = table("operation | why")
(FOR_BROWSERS,) = [quoted(line) for line in PAGE.splitlines() if line.startswith("Routes for browsers")]
(LOCAL,) = [quoted(line) for line in PAGE.splitlines() if line.startswith("Commands of the machine")]


def column(rows: list[list[list[str]]], number: int) -> list[str]:
    return [name for row in rows for name in row[number]]


def test_every_operation_has_a_route_a_client_method_and_a_command_or_a_reason() -> None:
    complete = column(OPERATIONS, 0)
    reasons = column(STEPS, 0)
    assert not set(complete) & set(reasons)
    assert {*complete, *reasons} == methods(Operations)
    for operation, route, method, command in OPERATIONS:
        assert operation == method
        assert all((len(operation) == 1, route, command)), operation


def test_every_client_method_is_an_operation_or_needs_a_server() -> None:
    assert {*column(OPERATIONS, 2), *column(OF_THE_CLIENT, 0)} == methods(AdminClient) - methods(ApiSession)


def test_every_route_is_named() -> None:
    paths = make_api(Mock()).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    named = {*column(OPERATIONS, 1), *column(OF_THE_CLIENT, 1), *FOR_BROWSERS}
    assert named == {*routes, SOCKET}


def test_every_command_is_named() -> None:
    named = {*column(OPERATIONS, 3), *column(OF_THE_CLIENT, 2), *LOCAL}
    assert named == set(commands(cloud))
