"""What the commands print."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.cli.output import echo_json

_PIPE_WIDTH: Final = 240  # columns, so that tables in a pipe are not wrapped


def show(info: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(info)
    else:
        echo_fields(info)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        echo_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row[column]) for column in columns))
    _console().print(table)


def echo_fields(fields: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name.replace("_", " "), _cell(name, value))
    _console().print(table)


def _cell(name: str, value: object) -> Text:
    """Text as it is: names from devices and users are no markup."""
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if name.endswith(("_at", "_until")) and isinstance(value, int):
        return Text(datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ"))
    return Text(str(value))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
