"""`cloudsim diff`: two recordings compared by what was said."""

import json
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.route import Link
from sim.cli.output import echo_json, json_option
from sim.cli.traffic_options import FILE
from sim.faults.network.rules import Direction
from sim.traffic.compare import Comparison, Difference, compare
from sim.traffic.recording import load_recording

DIFFERENT: Final = 1  # exit status


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--identifiers", is_flag=True, help="Compare ids, tokens, addresses and times, too.")
@click.option("--timing", type=click.FloatRange(min=0), metavar="SECONDS", help="How far times may differ.")
@click.option("--pings", is_flag=True, help="Compare MQTT pings, too.")
@click.option("--link", "links", multiple=True, type=click.Choice([str(each) for each in Link]))
@click.option("--direction", type=click.Choice([str(each) for each in Direction]), help="Only what goes so.")
@json_option
def diff(
    a: Path,
    b: Path,
    identifiers: bool,
    timing: float | None,
    pings: bool,
    links: tuple[str, ...],
    direction: str | None,
    as_json: bool,
) -> None:
    """Compare what was said in two recordings. Exit status 0: the same, 1: something else."""
    wanted = Comparison(
        identifiers,
        pings,
        timing,
        frozenset(map(Link, links)) or frozenset(Link),
        frozenset(Direction) if direction is None else frozenset({Direction(direction)}),
    )
    found = compare(load_recording(a), load_recording(b), wanted)
    if as_json:
        echo_json({"same": not found, "differences": [each.as_json() for each in found]})
    else:
        for each in found:
            click.echo(_difference_line(each))
    if found:
        click.get_current_context().exit(DIFFERENT)


def _difference_line(found: Difference) -> str:
    place = f"{found.link} {found.connection}"
    if found.direction is not None:
        place += f" {found.direction} {found.message}"
    if found.a is None or found.b is None:
        sign, fields = ("-", found.a) if found.b is None else ("+", found.b)
        return f"{place}: {sign} {json.dumps(fields)}"
    pairs = (f"{path}: {_at(found.a, path)} -> {_at(found.b, path)}" for path in found.members)
    return f"{place}: {found.a.get('message')} {', '.join(pairs)}"


def _at(value: Any, path: str) -> str:
    for name in filter(None, path.split(".")):
        if isinstance(value, list) and name.isdecimal():
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return "nothing"
    return json.dumps(value)
