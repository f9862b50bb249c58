"""`cloudsim board env`: the variables in a board's ENV partition, or in a dump of one."""

import os
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.env import DEVICE_KEY, PASSWORD
from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from sim.board import open_board
from sim.cli.output import echo_json, json_option
from sim.flash.env_image import DEFAULT_BLOCK_SIZE, MAX_IMAGE_SIZE, EnvImage, Variable, read_env

ENV_PARTITION: Final = "easyflash"
#: Some boards keep the ProductKey; `wlan_cfg_info` holds passwords of wireless networks (easyflash-format 7).
SECRETS: Final = frozenset({PASSWORD, DEVICE_KEY, "cld_pkey", "wlan_cfg_info"})
_MASK: Final = "********"


class _Bytes(click.IntRange):
    """A number of bytes that may be written in hexadecimal."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str):
            try:
                value = int(value, 0)
            except ValueError:
                self.fail(f"{value!r} is not a number such as 4096 or 0x1000", param, ctx)
        return int(super().convert(value, param, ctx))


@click.command()
@click.argument("source", metavar="DIR|FILE", type=click.Path(path_type=Path))
@click.option("--offset", type=_Bytes(min=0), help="Where the partition begins in FILE.")
@click.option(
    "--block-size",
    type=_Bytes(min=1, max=MAX_IMAGE_SIZE),
    help=f"Erase block of the flash FILE is from; default {DEFAULT_BLOCK_SIZE}.",
)
@click.option("--show-secrets", is_flag=True, help="Print passwords and keys, too.")
@json_option
def env(source: Path, offset: int | None, block_size: int | None, show_secrets: bool, as_json: bool) -> None:
    """Print the environment variables of the board in DIR, or of the partition dumped to FILE.

    Nothing is written. Which EasyFlash wrote them is found out.
    """
    if source.is_dir():
        if offset is not None or block_size is not None:
            raise UsageError("--offset and --block-size go with a FILE; a board knows its partitions")
        with open_board(source) as opened:
            partition = opened.partition(ENV_PARTITION)
            data = partition.read(0, min(partition.size, MAX_IMAGE_SIZE))
            found = read_env(data, partition.block_size)
    else:
        found = read_env(_read_dump(source, offset or 0), block_size or DEFAULT_BLOCK_SIZE)
    if as_json:
        echo_json({"source": str(source)} | _facts(found, show_secrets))
        return
    for variable in found.variables:
        click.echo(f"{_printable(variable.name)}={_value_text(variable, show_secrets)}")
    click.echo(_summary(found), err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _read_dump(path: Path, offset: int) -> bytes:
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            if offset >= size:
                raise UsageError(f"{str(path)!r} has {size} bytes, there are none at offset {offset}")
            file.seek(offset)
            return file.read(MAX_IMAGE_SIZE)
    except OSError as exc:
        raise UsageError(f"cannot read {str(path)!r}: {exc.strerror}") from exc


def _summary(image: EnvImage) -> str:
    parts = [image.format.description, f"{len(image.variables)} variables"]
    if image.area is not None:
        parts.append(f"area at 0x{image.area:x}")
    if image.saved_count is not None:
        parts.append(f"save {image.saved_count}")
    if image.version is not None:
        parts.append(f"version {image.version}")
    return ", ".join(parts)


def _facts(image: EnvImage, show_secrets: bool) -> dict[str, Any]:
    return {
        "format": image.format.value,
        "area": image.area,
        "saved_count": image.saved_count,
        "version": image.version,
        "variables": [_variable_facts(variable, show_secrets) for variable in image.variables],
        "sectors": [
            {
                "offset": sector.offset,
                "header": sector.has_header,
                "store": sector.store.name.lower(),
                "dirty": sector.dirty.name.lower(),
            }
            for sector in image.sectors
        ],
        "notes": list(image.notes),
    }


def _variable_facts(variable: Variable, show_secrets: bool) -> dict[str, Any]:
    """`value` is null for what is masked or no text; `hex` is null but for what is no text."""
    masked = variable.name in SECRETS and not show_secrets
    text = _text(variable.value)
    return {
        "name": variable.name,
        "value": None if masked else text,
        "hex": variable.value.hex() if text is None and not masked else None,
        "masked": masked,
    }


def _value_text(variable: Variable, show_secrets: bool) -> str:
    if variable.name in SECRETS and not show_secrets:
        return _MASK
    text = _text(variable.value)
    return f"<{len(variable.value)} bytes: {variable.value.hex()}>" if text is None else text


def _text(value: bytes) -> str | None:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _printable(name: str) -> str:
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
