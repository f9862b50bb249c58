"""What the commands share for printing."""

import json
import sys
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def echo_json(value: Any) -> None:
    """One JSON document, all ASCII: file names need not be text."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def echo_console(text: str) -> None:
    """Console text of the device as it comes, without waiting for a line end."""
    sys.stdout.write(text)
    sys.stdout.flush()


def echo_warning(text: str) -> None:
    """One line on standard error."""
    click.echo(f"cloudsim: warning: {' '.join(text.split())}", err=True)
