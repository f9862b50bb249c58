"""`cloudsim cloud token`."""

import time
from pathlib import Path
from typing import Final

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import show, show_rows

_SCOPES: Final = ("read", "manage", "keys", "firmware", "tasks", "console", "account")
_DAY: Final = 24 * 3600  # seconds


@click.group()
def token() -> None:
    """API tokens: what scripts and `--url` log in with."""


@token.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(_SCOPES), multiple=True, help="What it may do. Default: read."
)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it lasts. Default: until it is deleted.")
@click.option("--account", help="Account it belongs to; for the operator of the cloud. Default: one's own.")
@common_options
def token_create(
    name: str, scopes: tuple[str, ...], days: int | None, account: str | None, data: Path, as_json: bool
) -> None:
    """Create token NAME and show it, this once."""
    expires_at = int(time.time()) + days * _DAY if days is not None else None
    with open_admin(data) as admin:
        show(admin.create_token(name, scopes or ("read",), expires_at, account=account), as_json)


@token.command("list")
@common_options
def token_list(data: Path, as_json: bool) -> None:
    """List the tokens."""
    columns = ("id", "account", "name", "scopes", "created_at", "last_used_at", "expires_at")
    with open_admin(data) as admin:
        rows = admin.list_tokens()
    shown = rows if as_json else [{**row, "scopes": " ".join(row["scopes"])} for row in rows]
    show_rows(shown, columns, as_json)


@token.command("delete")
@click.argument("token_id", metavar="ID", type=int)
@common_options
def token_delete(token_id: int, data: Path, as_json: bool) -> None:
    """Delete the token with this ID: from now on it is refused."""
    with open_admin(data) as admin:
        admin.delete_token(token_id)
    show({"deleted": token_id}, as_json)
