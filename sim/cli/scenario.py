"""`cloudsim scenario ...`: look at fleet scenarios; `cloudsim fleet run NAME` runs them."""

import click

from sim.cli.output import echo_json, json_option


@click.group()
def scenario() -> None:
    """Scenarios for a fleet: files that say what devices do and what they must reach."""


@scenario.command("list")
@json_option
def list_(as_json: bool) -> None:
    """The scenarios that come with cloudsim."""
    from sim.scenario.source import find_scenario, load_scenario, ready_names

    found = {name: load_scenario(find_scenario(name)).description for name in ready_names()}
    if as_json:
        echo_json(found)
        return
    for name, description in found.items():
        click.echo(f"{name:12} {description}")


@scenario.command()
@click.argument("file")
def show(file: str) -> None:
    """Print a scenario as it is, to begin one's own with."""
    from sim.scenario.source import find_scenario, load_scenario

    path = find_scenario(file)
    load_scenario(path)
    click.echo(path.read_text(encoding="utf-8"), nl=False)


@scenario.command()
@click.argument("file")
@json_option
def validate(file: str, as_json: bool) -> None:
    """Check a scenario file; every problem is a line with its place in the file."""
    from sim.scenario.errors import ScenarioError
    from sim.scenario.source import find_scenario, load_scenario

    try:
        found = load_scenario(find_scenario(file))
    except ScenarioError as error:
        if as_json:
            problems = [{"line": each.line, "message": each.message} for each in error.problems]
            echo_json({"ok": False, "file": file, "problems": problems})
        else:
            for problem in error.problems:
                click.echo(str(problem))
        raise click.exceptions.Exit(error.exit_status) from None
    if as_json:
        echo_json({"ok": True, "file": file, "name": found.name, "devices": found.count, "problems": []})
    else:
        click.echo(f"{file}: {found.name}, {found.count} devices, {len(found.phases)} phases, no problems")


@scenario.command()
@click.argument("file")
@json_option
def explain(file: str, as_json: bool) -> None:
    """Say in words what a scenario will do, what it must reach, and what it needs of this machine."""
    from dataclasses import asdict

    from sim.scenario.explain import Needs
    from sim.scenario.explain import explain as lines_of
    from sim.scenario.source import find_scenario, load_scenario

    found = load_scenario(find_scenario(file))
    if as_json:
        echo_json({"name": found.name, **asdict(Needs.of(found)), "lines": list(lines_of(found))})
        return
    for line in lines_of(found):
        click.echo(line)


@scenario.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from sim.scenario.models import json_schema

    echo_json(json_schema())
