"""`cloudsim cloud firmware`."""

import time
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.pack import PackOptions
from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import any_product_option, common_options, product_option
from sim.cli.cloud.output import echo_fields, show, show_rows
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_json, echo_warning

_COMPRESSIONS: Final = ("none", "gzip", "quicklz", "fastlz")
_ENCRYPTIONS: Final = ("none", "aes256")
_IN_HEX: Final = ("hash_code", "hdr_crc32", "body_crc32")

_allow_lower = click.option(
    "--allow-lower", is_flag=True, help="Also a version that is not higher than the latest in the cloud."
)
_description = click.option("--description", default="")
_id = click.argument("firmware_id", metavar="ID", type=int)
_output = click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write.")


@click.group()
def firmware() -> None:
    """Packages (.rbl) kept in the cloud."""


@firmware.command("upload")
@click.argument("file", type=click.Path(path_type=Path))
@product_option
@click.option("--name", help="Refuse the package if its firmware name is another.")
@click.option("--version", help="Refuse the package if its version is another.")
@_description
@_allow_lower
@key_options
@common_options
def firmware_upload(
    file: Path,
    product: str,
    name: str | None,
    version: str | None,
    description: str,
    allow_lower: bool,
    given: GivenKeys,
    data: Path,
    as_json: bool,
) -> None:
    """Upload the package FILE. Partition and version are those in the package.

    The key opens an encrypted package once, to verify it; it is not kept.
    """
    from sim.cloud.model.packages import Expected

    key, iv = (None, None) if given.source == "default" else (given.keys.key, given.keys.iv)
    with open_admin(data) as admin:
        info = admin.upload_firmware(
            file,
            product,
            expected=Expected(name, version, key, iv),
            description=description,
            allow_lower=allow_lower,
        )
        for finding in info["findings"]:
            echo_warning(f"{finding['severity']}: {finding['id']}: {finding['message']}")
        _show(info, as_json)


@firmware.command("list")
@any_product_option
@common_options
def firmware_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the packages."""
    columns = ("id", "product", "name", "version", "file_size", "raw_size", "sha256", "created_at")
    with open_admin(data) as admin:
        show_rows(admin.list_firmware(product), columns, as_json)


@firmware.command("show")
@_id
@common_options
def firmware_show(firmware_id: int, data: Path, as_json: bool) -> None:
    """Show a package: who uploaded it, its checksums, and what was found wrong with it."""
    with open_admin(data) as admin:
        _show(admin.show_firmware(firmware_id), as_json)


@firmware.command("delete")
@_id
@common_options
def firmware_delete(firmware_id: int, data: Path, as_json: bool) -> None:
    """Delete a package that no open task needs."""
    with open_admin(data) as admin:
        admin.delete_firmware(firmware_id)
    show({"deleted": firmware_id}, as_json)


@firmware.command("download")
@_id
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="File to write, or replace."
)
@common_options
def firmware_download(firmware_id: int, output: Path, data: Path, as_json: bool) -> None:
    """Get the package back as it was uploaded."""
    with open_admin(data) as admin:
        info = admin.download_firmware(firmware_id, output)
    show({"output": str(output), "size": info["file_size"], "sha256": info["sha256"]}, as_json)


@firmware.command("pack")
@click.argument("file", type=click.Path(path_type=Path))
@_output
@click.option("--product", help="Store it as firmware of this product: name or ProductID.")
@click.option("--name", required=True, help="Firmware name, which is the partition.")
@click.option("--version", required=True)
@click.option("--compress", type=click.Choice(_COMPRESSIONS), default="none", show_default=True)
@click.option("--encrypt", type=click.Choice(_ENCRYPTIONS), default="none", show_default=True)
@click.option("--timestamp", type=click.IntRange(0), help="Seconds since 1970. Default: now.")
@_description
@_allow_lower
@key_options
@common_options
def firmware_pack(
    file: Path,
    output: Path | None,
    product: str | None,
    name: str,
    version: str,
    compress: str,
    encrypt: str,
    timestamp: int | None,
    description: str,
    allow_lower: bool,
    given: GivenKeys,
    data: Path,
    as_json: bool,
) -> None:
    """Have the cloud make a package of the raw firmware FILE; write it to a file, store it, or both."""
    if output is None and product is None:
        raise click.UsageError("give --output, --product, or both")
    encrypted = encrypt != "none"
    options = PackOptions(
        name=name,
        version=version,
        timestamp=int(time.time()) if timestamp is None else timestamp,
        compression=Compression[compress.upper()],
        encryption=Encryption[encrypt.upper()],
        key=given.keys.key if encrypted else None,
        iv=given.keys.iv if encrypted else None,
    )
    if encrypted and given.source == "default":
        echo_warning("encrypted with the public key of the bootloaders: give --key-file for a secret one")
    with open_admin(data) as admin:
        packed = admin.pack_package(
            file, options, output=output, product=product, description=description, allow_lower=allow_lower
        )
    for warning in packed["warnings"]:
        echo_warning(warning)
    if as_json:
        echo_json(packed)
        return
    stored = packed["firmware"]
    echo_fields({**_numbers(packed["package"]), "firmware": stored["id"] if stored else None})


def _show(info: Any, as_json: bool) -> None:
    if as_json:
        echo_json(info)
        return
    fields = {name: value for name, value in info.items() if name not in ("package", "findings")}
    findings = "\n".join(f"{row['severity']}: {row['id']}: {row['message']}" for row in info["findings"])
    echo_fields({**fields, **_numbers(info["package"] or {}), "findings": findings})


def _numbers(package: Any) -> dict[str, Any]:
    """The six results of a packer as it shows them (platform 7.2)."""
    return {name.upper(): f"0x{value:08x}" if name in _IN_HEX else value for name, value in package.items()}
