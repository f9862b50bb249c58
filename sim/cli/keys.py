"""`--key`, `--iv` and `--key-file` of the commands that open or make packages."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click

from cloudsdk.errors import UsageError
from cloudsdk.ota.keys import PackageKeys, ascii_secret, read_key_file
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from sim.cli.output import echo_warning

KEY_VARIABLE: Final = "CLOUDSIM_KEY"
IV_VARIABLE: Final = "CLOUDSIM_IV"


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """Key and IV, and where they come from."""

    keys: PackageKeys
    source: Literal["command line", "environment", "default"]


def key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The three options, which reach `command` as one argument `given: GivenKeys`."""

    @click.option("--key", metavar="TEXT", help="AES-256 key, 32 ASCII characters.")
    @click.option("--iv", metavar="TEXT", help="AES IV, 16 ASCII characters.")
    @click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        help="File with a line each for key and IV, or JSON with both. Like the variables "
        f"{KEY_VARIABLE} and {IV_VARIABLE} it keeps them out of sight of `ps`. "
        "Default: the public key of the bootloaders.",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, key: str | None, iv: str | None, key_file: Path | None, **options: Any) -> Any:
        return command(*args, given=_given(key, iv, key_file), **options)

    return wrapper


def _given(key: str | None, iv: str | None, key_file: Path | None) -> GivenKeys:
    if key_file is not None:
        if key is not None or iv is not None:
            raise UsageError("--key-file holds key and IV: leave --key and --iv out")
        keys, warnings = read_key_file(key_file)
        for warning in warnings:
            echo_warning(warning)
        return GivenKeys(keys, "command line")
    source: Literal["command line", "environment", "default"] = "default"
    if key is not None or iv is not None:
        source = "command line"
    elif os.environ.get(KEY_VARIABLE) or os.environ.get(IV_VARIABLE):
        source = "environment"
    return GivenKeys(
        PackageKeys(
            _secret(key, KEY_VARIABLE, "key", DEFAULT_KEY), _secret(iv, IV_VARIABLE, "IV", DEFAULT_IV)
        ),
        source,
    )


def _secret(option: str | None, variable: str, what: str, default: bytes) -> bytes:
    text = option if option is not None else os.environ.get(variable) or None
    return ascii_secret(text, what) if text is not None else default
