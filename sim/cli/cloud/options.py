"""Options that the commands share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cloudsdk.errors import UsageError
from sim.cli.output import json_option

DATA_VARIABLE: Final = "CLOUDSIM_DATA"
DATABASE_VARIABLE: Final = "CLOUDSIM_DATABASE"
URL_VARIABLE: Final = "CLOUDSIM_URL"
CA_VARIABLE: Final = "CLOUDSIM_CA"
VAULT_KEY_VARIABLE: Final = "CLOUDSIM_VAULT_KEY"
TOKEN_VARIABLE: Final = "CLOUDSIM_TOKEN"  # noqa: S105 - its name; tokens do not belong in command lines
_PLACE: Final = "sim.cli.cloud.place"

F = TypeVar("F", bound=Callable[..., Any])


def _default_data() -> Path:
    return Path.home() / ".local" / "share" / "cloudsim" / "cloud"


_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=DATA_VARIABLE,
    default=_default_data,
    show_default="$CLOUDSIM_DATA or ~/.local/share/cloudsim/cloud",
    help="Directory of the cloud's state.",
)
product_option = click.option("--product", required=True, help="Name or ProductID.")
any_product_option = click.option("--product", help="Only of this product: name or ProductID.")
which_product_option = click.option("--product", help="Name or ProductID, where products share this SN.")


@dataclass(frozen=True, slots=True)
class Place:
    """Which cloud a command works on, beside `--data`: the URL of one elsewhere and the CA certificate (PEM)
    that it is known by, or the key file of a local one."""

    url: str | None = None
    ca: Path | None = None
    vault_key: Path | None = None


def place() -> Place:
    """What the options of the running command say."""
    return Place(**click.get_current_context().meta.get(_PLACE, {}))


def _remember(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
    ctx.meta.setdefault(_PLACE, {})[parameter.name] = value


_url = click.option(
    "--url",
    envvar=URL_VARIABLE,
    expose_value=False,
    callback=_remember,
    help=f"Work on the cloud at this URL, with the API token in ${TOKEN_VARIABLE}.",
)
_ca = click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CA_VARIABLE,
    expose_value=False,
    callback=_remember,
    help="CA certificate (PEM) of that cloud.",
)
_vault_key = click.option(
    "--vault-key",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=VAULT_KEY_VARIABLE,
    expose_value=False,
    callback=_remember,
    help="Key file for the keys in the database, if not vault.key in the data directory.",
)


def local_options(command: F) -> F:
    """`--data`, `--vault-key` and `--json`, for what works on this machine only."""
    return _data(_vault_key(json_option(command)))


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal unless `yes`. Raises `UsageError` where nobody can answer, `click.Abort` for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this deletes for good and there is no terminal to ask on: give --yes")
    click.confirm(question, abort=True, err=True)


def common_options(command: F) -> F:
    """The local options, and `--url` and `--ca`."""
    return local_options(_url(_ca(command)))


def reach_options(command: F) -> F:
    """`--data`, `--url` and `--ca`, for what needs a running cloud."""
    return _data(_url(_ca(command)))
