"""`cloudsim board env-key`: a key to seal the secrets of a board with."""

import secrets
from pathlib import Path

import click

from cloudsdk.env_key import KEY_LENGTH, write_env_key
from sim.cli.output import echo_json, json_option


@click.command("env-key")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def env_key(file: Path, as_json: bool) -> None:
    """Make a board key in FILE, for `cloudsim device run --env-key-file`. It replaces none."""
    write_env_key(file, secrets.token_bytes(KEY_LENGTH))
    if as_json:
        echo_json({"file": str(file)})
    else:
        click.echo(f"made a board key in {file}")
