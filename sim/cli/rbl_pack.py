"""`cloudsim rbl pack` and `convert`: make packages."""

import os
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import replacing
from cloudsdk.ota.convert import convert as convert_package
from cloudsdk.ota.header import (
    NAME_SIZE,
    VERSION_SIZE,
    Compression,
    Encryption,
    Flavour,
    RblHeader,
)
from cloudsdk.ota.image import ELF_MAGIC, image_format, read_image
from cloudsdk.ota.pack import (
    DEFAULT_PRODUCT_CODE,
    PackOptions,
    official_text,
    pack_stream,
    size_warnings,
    text_limits,
)
from cloudsdk.ota.package import read_package
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_json, echo_warning, json_option

EPOCH_VARIABLE: Final = "SOURCE_DATE_EPOCH"
_COMPRESSIONS: Final = {
    "none": Compression.NONE,
    "quicklz": Compression.QUICKLZ,
    "fastlz": Compression.FASTLZ,
    "gzip": Compression.GZIP,
}
_ENCRYPTIONS: Final = {"none": Encryption.NONE, "aes256": Encryption.AES256}

_output = click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="The package to write.",
)


def _flavour(**attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--flavour",
        type=click.Choice(["official", "qboot"]),
        help="Whose bootloader it is for: they differ in hash and padding.",
        **attributes,
    )


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@_output
@click.option("--name", required=True, help="Destination partition, e.g. app.")
@click.option("--version", required=True, help="Version of the firmware.")
@click.option("--compress", type=click.Choice([*_COMPRESSIONS]), default="none", show_default=True)
@click.option("--encrypt", type=click.Choice([*_ENCRYPTIONS]), default="none", show_default=True)
@_flavour(default="official", show_default=True)
@click.option(
    "--timestamp",
    type=int,
    metavar="SECONDS",
    help=f"Unix time to store. Default: {EPOCH_VARIABLE}, else the time INPUT was last written. "
    "(The official packer takes local time for UTC+8, which is the same on a PC at UTC+8 only.)",
)
@click.option("--product-code", default=DEFAULT_PRODUCT_CODE, show_default=True)
@key_options
@json_option
def pack(
    source: Path,
    output: Path,
    name: str,
    version: str,
    compress: str,
    encrypt: str,
    flavour: str,
    timestamp: int | None,
    product_code: str,
    given: GivenKeys,
    as_json: bool,
) -> None:
    """Make a package of INPUT: raw binary, Intel HEX (.hex, .ihex, .ihx) or ELF (.elf, .axf, .out).

    Of an ELF file the loadable segments are packed by physical address; gaps are filled with 0xFF. The same
    INPUT and options give the same bytes.
    """
    kind = cast(Flavour, flavour)
    limits = text_limits(kind)
    warnings: list[str] = []
    options = PackOptions(
        name=_text("name", name, limits.name, NAME_SIZE, warnings),
        version=_text("version", version, limits.version, VERSION_SIZE, warnings),
        timestamp=_timestamp(timestamp, source),
        compression=_COMPRESSIONS[compress],
        encryption=_ENCRYPTIONS[encrypt],
        key=given.keys.key,
        iv=given.keys.iv,
        flavour=kind,
        product_code=_text("product code", product_code, limits.product_code, None, warnings),
    )
    if options.encryption is Encryption.AES256 and given.source == "default":
        warnings.append("encrypted with the public key of the bootloaders: give --key-file for a secret one")
    if options.encryption is Encryption.NONE and given.source == "command line":
        warnings.append("a key is given, but the package is not encrypted: add --encrypt aes256")
    pieces = read_image(source)
    first = next(pieces, b"")
    if image_format(source) == "bin" and first.startswith(ELF_MAGIC):
        warnings.append(
            f"{source} is packed as it is, but begins like an ELF file: name it .elf to pack its segments"
        )
    _refuse_same_file(source, output)
    with replacing(output) as target:
        header = pack_stream(chain([first], pieces), target, options)
    _report(source, output, header, warnings, as_json)


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@_output
@_flavour(required=True)
@key_options
@json_option
def convert(source: Path, output: Path, flavour: str, given: GivenKeys, as_json: bool) -> None:
    """Write package IN as the packer of the other flavour would have: hash, algo2 and padding.

    Name, version, timestamp, product code and compressed blocks stay. An encrypted package needs its key.
    """
    package = read_package(source)
    _refuse_same_file(source, output)
    with replacing(output) as target:
        header = convert_package(package, target, cast(Flavour, flavour), given.keys.key, given.keys.iv)
    _report(source, output, header, [], as_json)


def _text(what: str, text: str, limit: int, unterminated: int | None, warnings: list[str]) -> str:
    """`text` as it is stored, with a warning for everything that happens to it (rbl-format 1.3, 2.7)."""
    stored = official_text(text, limit)
    if not text.isascii():
        warnings.append(f"the {what} is not all ASCII: stored as {stored!r}, as the official packer does")
    if len(text) > limit:
        warnings.append(f"the {what} has {len(text)} characters: cut to {limit}, {stored!r}")
    if len(stored) == unterminated:
        warnings.append(f"the {what} fills its field, without a NUL: bootloaders read on behind it")
    return stored


def _timestamp(option: int | None, source: Path) -> int:
    if option is not None:
        return option
    epoch = os.environ.get(EPOCH_VARIABLE)
    if epoch:
        if not (epoch.isascii() and epoch.isdecimal()):
            raise UsageError(f"{EPOCH_VARIABLE} must be a number of seconds, not {epoch!r}")
        return int(epoch)
    try:
        return int(source.stat().st_mtime)
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror or error}") from None


def _refuse_same_file(source: Path, output: Path) -> None:
    try:
        same = output.samefile(source)
    except OSError:
        return  # one of them does not exist
    if same:
        raise UsageError(f"{output} is the input itself: give the output another name")


def _report(source: Path, output: Path, header: RblHeader, warnings: Sequence[str], as_json: bool) -> None:
    warnings = [*warnings, *size_warnings(header)]
    for warning in warnings:
        echo_warning(warning)
    result = {
        "HASH_CODE": f"0x{header.raw_hash:08x}",
        "HDR_CRC32": f"0x{header.header_crc32:08x}",
        "BODY_CRC32": f"0x{header.body_crc32:08x}",
        "RAW_SIZE": header.raw_size,
        "PKG_SIZE": header.body_size,
        "TIMESTAMP": header.timestamp,
    }
    if as_json:
        shown = {name.lower(): value for name, value in result.items()}
        echo_json({"file": str(source), "output": str(output), **shown, "warnings": warnings})
        return
    for name, value in result.items():
        click.echo(f"{name + ':':<11} {value}")
