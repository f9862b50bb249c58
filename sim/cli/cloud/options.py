"""Options that the commands share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cloudsdk.errors import UsageError
from sim.cli.output import json_option

DATA_VARIABLE: Final = "CLOUDSIM_DATA"

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


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal unless `yes`. Raises `UsageError` where nobody can answer, `click.Abort` for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this deletes for good and there is no terminal to ask on: give --yes")
    click.confirm(question, abort=True, err=True)


def common_options(command: F) -> F:
    """`--data` and `--json`."""
    return _data(json_option(command))
