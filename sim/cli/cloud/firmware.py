"""`cloudsim cloud firmware`."""

from pathlib import Path

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import any_product_option, common_options, product_option
from sim.cli.cloud.output import show, show_rows


@click.group()
def firmware() -> None:
    """Packages (.rbl) kept in the cloud."""


@firmware.command("upload")
@click.argument("file", type=click.Path(path_type=Path))
@product_option
@common_options
def firmware_upload(file: Path, product: str, data: Path, as_json: bool) -> None:
    """Upload the package FILE. Partition and version are those in the package."""
    with open_admin(data) as admin:
        show(admin.upload_firmware(file, product), as_json)


@firmware.command("list")
@any_product_option
@common_options
def firmware_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the packages."""
    columns = ("id", "product", "name", "version", "file_size", "raw_size", "sha256", "created_at")
    with open_admin(data) as admin:
        show_rows(admin.list_firmware(product), columns, as_json)
