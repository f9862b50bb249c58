"""`cloudsim cloud rekey`."""

from pathlib import Path

import click

from sim.cli.cloud.options import local_options, place
from sim.cli.cloud.output import show


@click.command()
@local_options
def rekey(data: Path, as_json: bool) -> None:
    """Seal all ProductKeys and DeviceKeys with a new vault key. The server must be stopped."""
    from sim.cloud.datadir import DataDir
    from sim.cloud.rekey import rekey as change

    show({"sealed": change(DataDir(data), place().vault_key)}, as_json)
