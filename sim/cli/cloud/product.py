"""`cloudsim cloud product`."""

from pathlib import Path

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import show, show_rows
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT


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
    with open_admin(data) as admin:
        show_rows(
            admin.list_products(), ("name", "product_id", "devices", "device_limit", "created_at"), as_json
        )


@product.command("show")
@click.argument("product")
@common_options
@click.option("--show-key", is_flag=True, help="Show the ProductKey as well.")
def product_show(product: str, data: Path, as_json: bool, show_key: bool) -> None:
    """Show PRODUCT, a name or ProductID."""
    with open_admin(data) as admin:
        show(admin.show_product(product, keys=show_key), as_json)
