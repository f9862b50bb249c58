"""Arguments that several `cloudsim board` commands share."""

from pathlib import Path

import click

board_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
