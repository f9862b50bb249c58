"""`cloudsim cloud overview`."""

from pathlib import Path

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import show


@click.command()
@common_options
def overview(data: Path, as_json: bool) -> None:
    """Count products, devices and open tasks, the versions reported, and why tasks failed."""
    with open_admin(data) as admin:
        info = admin.overview()
    words = {"versions": _words(info["versions"]), "failures": _words(info["failures"])}
    show(info if as_json else {**info, **words}, as_json)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
