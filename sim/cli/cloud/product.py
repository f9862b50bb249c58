"""`cloudsim cloud product`."""

from pathlib import Path
from typing import Any, cast

import click

from cloudsdk.errors import UsageError
from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import common_options, confirm, yes_option
from sim.cli.cloud.output import show, show_rows
from sim.cli.output import echo_json
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, ProductChanges


@click.group()
def product() -> None:
    """Classes of devices."""


@product.command("create")
@click.argument("name")
@common_options
@click.option("--kind", default="", help="Type, such as smart home.")
@click.option("--model", default="")
@click.option("--connection", default="", help="Connection type, such as Wi-Fi.")
@click.option("--description", default="")
@click.option("--device-limit", type=click.IntRange(1), default=DEFAULT_DEVICE_LIMIT, show_default=True)
def product_create(name: str, data: Path, as_json: bool, device_limit: int, **texts: str) -> None:
    """Create product NAME and show its ProductKey."""
    with open_admin(data) as admin:
        show(admin.create_product(name, device_limit=device_limit, **texts), as_json)


@product.command("list")
@common_options
def product_list(data: Path, as_json: bool) -> None:
    """List the products."""
    columns = (
        "name",
        "product_id",
        "devices",
        "activated",
        "online",
        "device_limit",
        "published",
        "created_at",
    )
    with open_admin(data) as admin:
        show_rows(admin.list_products(), columns, as_json)


@product.command("show")
@click.argument("product")
@common_options
@click.option("--show-key", is_flag=True, help="Show the ProductKey as well.")
def product_show(product: str, data: Path, as_json: bool, show_key: bool) -> None:
    """Show PRODUCT, a name or ProductID."""
    with open_admin(data) as admin:
        show(admin.show_product(product, keys=show_key), as_json)


@product.command("edit")
@click.argument("product")
@common_options
@click.option("--name", help="The new name.")
@click.option("--kind", help="Type, such as smart home.")
@click.option("--model")
@click.option("--connection", help="Connection type, such as Wi-Fi.")
@click.option("--description")
@click.option("--device-limit", type=click.IntRange(1))
def product_edit(product: str, data: Path, as_json: bool, **given: Any) -> None:
    """Modify PRODUCT while it is not published. What is not given stays."""
    changes = cast(ProductChanges, {name: value for name, value in given.items() if value is not None})
    if not changes:
        raise UsageError("nothing to change: give at least one option, such as --description")
    with open_admin(data) as admin:
        show(admin.update_product(product, **changes), as_json)


@product.command("publish")
@click.argument("product")
@common_options
def product_publish(product: str, data: Path, as_json: bool) -> None:
    """Publish PRODUCT: it can no longer be modified or deleted."""
    with open_admin(data) as admin:
        show(admin.publish_product(product), as_json)


@product.command("delete")
@click.argument("product")
@click.option("--cascade", is_flag=True, help="With its devices, firmware, tasks and all that was recorded.")
@yes_option
@common_options
def product_delete(product: str, data: Path, as_json: bool, cascade: bool, yes: bool) -> None:
    """Delete PRODUCT while it is not published."""
    with open_admin(data) as admin:
        info = admin.show_product(product)
        what = (
            f"product {info['name']} and its {info['devices']} devices"
            if cascade
            else f"product {info['name']}"
        )
        confirm(f"Delete {what}?", yes)
        admin.delete_product(info["product_id"], cascade=cascade)
    if as_json:
        echo_json({"deleted": info["product_id"]})
