"""`cloudsim cloud device`."""

from pathlib import Path

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import any_product_option, common_options, product_option, which_product_option
from sim.cli.cloud.output import show, show_rows


@click.group()
def device() -> None:
    """Instances of a product, known by their SN."""


@device.command("add")
@product_option
@click.option("--sn", required=True, help="Serial number as in the device's port, up to 32 characters.")
@common_options
@click.option("--name", default="")
@click.option("--mac", default="", help="MAC address.")
@click.option("--description", default="")
def device_add(product: str, sn: str, data: Path, as_json: bool, **texts: str) -> None:
    """Enter a device, so that it can activate itself."""
    with open_admin(data) as admin:
        show(admin.add_device(product, sn, **texts), as_json)


@device.command("list")
@any_product_option
@common_options
def device_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the devices."""
    columns = ("sn", "product", "device_id", "name", "state", "online", "version", "last_login_at")
    with open_admin(data) as admin:
        show_rows(admin.list_devices(product), columns, as_json)


@device.command("show")
@click.argument("sn")
@which_product_option
@common_options
@click.option("--show-key", is_flag=True, help="Show the DeviceKey as well.")
def device_show(sn: str, product: str | None, data: Path, as_json: bool, show_key: bool) -> None:
    """Show the device with this SN."""
    with open_admin(data) as admin:
        show(admin.show_device(sn, product=product, keys=show_key), as_json)


@device.command("transfers")
@click.argument("sn")
@which_product_option
@common_options
def device_transfers(sn: str, product: str | None, data: Path, as_json: bool) -> None:
    """List the firmware requests of the device with this SN."""
    columns = ("id", "name", "version", "status", "first_byte", "bytes_sent", "outcome", "started_at")
    with open_admin(data) as admin:
        show_rows(admin.transfers(sn, product=product), columns, as_json)


@device.command("tasks")
@click.argument("sn")
@which_product_option
@common_options
def device_tasks(sn: str, product: str | None, data: Path, as_json: bool) -> None:
    """List the OTA tasks of the device with this SN, newest first."""
    columns = ("task_id", "version", "task_state", "state", "attempts", "sent_at", "done_at", "reason")
    with open_admin(data) as admin:
        show_rows(admin.tasks_of_device(sn, product=product), columns, as_json)
