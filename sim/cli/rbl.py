"""`cloudsim rbl`: look into firmware packages, check them, take the firmware out; the group of them all."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import replacing
from cloudsdk.ota.errors import VerifyError
from cloudsdk.ota.header import RblHeader
from cloudsdk.ota.package import Check, Package, failures, read_package
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_json, json_option
from sim.cli.rbl_lint import diff, lint
from sim.cli.rbl_pack import convert, pack

_NOT_FOR_FILE_NAMES: Final = re.compile(r"[^A-Za-z0-9._+-]")
_STDOUT: Final = "-"

_file = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def rbl() -> None:
    """Firmware packages (.rbl): make them, look into them, check them."""


for _command in (pack, convert, lint, diff):
    rbl.add_command(_command)


@rbl.command()
@_file
@json_option
def info(file: Path, as_json: bool) -> None:
    """Show the header of FILE, be it right or wrong."""
    package = read_package(file)
    fields = _describe(package.header)
    problems = [check.detail for check in failures(package.header_checks())]
    if as_json:
        echo_json({"file": str(file), **fields, "problems": problems})
        return
    fields["timestamp"] = f"{package.header.timestamp} ({_utc(package.header.timestamp)})"
    _echo_fields({"file": click.format_filename(file), **fields})
    for problem in problems:
        click.echo(f"{click.style('problem', fg='red')}: {problem}")


@rbl.command()
@_file
@key_options
@json_option
def verify(file: Path, given: GivenKeys, as_json: bool) -> None:
    """Check FILE: header, length, body CRC, decoding, hash of the firmware. Exits with 1 if a check fails."""
    checks = read_package(file).verify(given.keys.key, given.keys.iv)
    failed = failures(checks)
    if as_json:
        rows = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        echo_json({"file": str(file), "ok": not failed, "checks": rows})
    else:
        _echo_checks(checks)
    if failed:
        names = ", ".join(check.name for check in failed)
        raise VerifyError(f"{file}: {len(failed)} of {len(checks)} checks failed: {names}")


@rbl.command()
@_file
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="Where the firmware goes, - for standard output. Without it: NAME-VERSION.bin beside FILE.",
)
@key_options
@json_option
def extract(file: Path, output: str | None, given: GivenKeys, as_json: bool) -> None:
    """Write the firmware inside FILE. Nothing is written unless all of it decodes and has the right hash."""
    if output == _STDOUT and as_json:
        raise UsageError("--json and -o - both want standard output: give -o a file")
    package = read_package(file)
    header = package.header
    key, iv = given.keys.key, given.keys.iv
    if output == _STDOUT:
        _to_stdout(package, key, iv)
        return
    target = Path(output) if output is not None else file.parent / _default_name(header)
    with replacing(target) as destination:
        destination.writelines(package.extract(key, iv))
    raw_hash = f"0x{header.raw_hash:08x}"
    if as_json:
        echo_json({"file": str(file), "output": str(target), "size": header.raw_size, "raw_hash": raw_hash})
    else:
        click.echo(f"{click.format_filename(target)}: {header.raw_size} bytes, hash {raw_hash}")


def _describe(header: RblHeader) -> dict[str, Any]:
    compression, encryption = header.compression, header.encryption
    return {
        "magic": header.magic.hex(" "),
        "algo": f"0x{header.algo:04x}",
        "algo2": f"0x{header.algo2:04x}",
        "flavour": header.flavour,
        "compression": None if compression is None else compression.name.lower(),
        "encryption": None if encryption is None else encryption.name.lower(),
        "timestamp": header.timestamp,
        "name": header.name_text,
        "version": header.version_text,
        "product_code": header.product_code_text,
        "body_crc32": f"0x{header.body_crc32:08x}",
        "raw_hash": f"0x{header.raw_hash:08x}",
        "raw_size": header.raw_size,
        "body_size": header.body_size,
        "header_crc32": f"0x{header.header_crc32:08x}",
        "header_crc_ok": header.crc_ok,
    }


def _utc(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _echo_fields(fields: dict[str, Any]) -> None:
    width = max(map(len, fields))
    words = {None: "unknown", True: "yes", False: "no"}
    for name, value in fields.items():
        shown = words[value] if value is None or isinstance(value, bool) else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {shown}")


def _echo_checks(checks: Iterable[Check]) -> None:
    for check in checks:
        mark = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red")
        click.echo(f"{mark} {check.name:<10}  {check.detail}")


def _default_name(header: RblHeader) -> str:
    """A plain file name, whatever the package claims to be called."""
    name = _NOT_FOR_FILE_NAMES.sub("_", f"{header.name_text}-{header.version_text}")
    return f"{name.lstrip('.')}.bin"


def _to_stdout(package: Package, key: bytes, iv: bytes) -> None:
    for _ in package.extract(key, iv):  # a pipe cannot take back what it was given, so check everything first
        pass
    stdout = sys.stdout.buffer
    for piece in package.extract(key, iv):
        stdout.write(piece)
    stdout.flush()
