"""`cloudsim cloud device`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from sim.cli.cloud.access import Admin, open_admin
from sim.cli.cloud.options import (
    any_product_option,
    common_options,
    confirm,
    product_option,
    which_product_option,
    yes_option,
)
from sim.cli.cloud.output import show, show_rows
from sim.cli.output import echo_json, echo_warning
from sim.cloud.shapes import BIND_SECONDS, DeviceChanges, DeviceFilter, DeviceInfo, DeviceState

_sn = click.argument("sn", metavar="SN")
_tags = click.option("--tag", "tags", multiple=True, help="Repeat it.")


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
@_tags
def device_add(product: str, sn: str, data: Path, as_json: bool, tags: tuple[str, ...], **texts: str) -> None:
    """Enter a device, so that it can activate itself."""
    with open_admin(data) as admin:
        _show(admin.add_device(product, sn, tags=tags, **texts), as_json)


@device.command("import")
@click.argument("table", metavar="FILE.csv", type=click.Path(path_type=Path))
@product_option
@common_options
def device_import(table: Path, product: str, data: Path, as_json: bool) -> None:
    """Enter the devices of a CSV table, all or none.

    Its first row names the columns: sn, and if wanted name, mac, description and tags.
    """
    from sim.cloud.device_table import MAX_TABLE
    from sim.cloud.errors import DevicesRefusedError

    try:
        with open_regular(table) as file:
            content = file.read(MAX_TABLE + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {table}: {exc.strerror}") from exc
    with open_admin(data) as admin:
        try:
            show(admin.add_devices(product, content), as_json)
        except DevicesRefusedError as exc:
            for bad in exc.rows:
                echo_warning(f"{table}, row {bad['row']}: {bad['reason']}")
            raise


@device.command("list")
@any_product_option
@click.option("--search", help="Part of SN, name or DeviceID.")
@click.option("--tag")
@click.option("--version", help="Version that the device reports.")
@click.option("--state", type=click.Choice([state.value for state in DeviceState]))
@click.option("--online/--offline", default=None)
@common_options
def device_list(
    product: str | None,
    search: str | None,
    tag: str | None,
    version: str | None,
    state: str | None,
    online: bool | None,
    data: Path,
    as_json: bool,
) -> None:
    """List the devices that fit all options."""
    wanted = DeviceFilter(
        product=product,
        search=search,
        tag=tag,
        version=version,
        state=DeviceState(state) if state is not None else None,
        online=online,
    )
    columns = ("sn", "product", "device_id", "name", "tags", "state", "online", "version", "last_login_at")
    with open_admin(data) as admin:
        rows = list(_every(admin, wanted))
    shown = rows if as_json else [{**row, "tags": " ".join(row["tags"])} for row in rows]
    show_rows(shown, columns, as_json)


def _every(admin: Admin, wanted: DeviceFilter) -> Iterator[DeviceInfo]:
    from sim.cloud.pages import MAX_PAGE

    after: int | None = 0
    while after is not None:
        page = admin.page_devices(wanted, after=after, limit=MAX_PAGE)
        yield from page["items"]
        after = page["next"]


@device.command("show")
@_sn
@which_product_option
@common_options
@click.option("--show-key", is_flag=True, help="Show the DeviceKey as well.")
def device_show(sn: str, product: str | None, data: Path, as_json: bool, show_key: bool) -> None:
    """Show the device with this SN."""
    with open_admin(data) as admin:
        _show(admin.show_device(sn, product=product, keys=show_key), as_json)


def _show(info: DeviceInfo, as_json: bool) -> None:
    show(info if as_json else {**info, "tags": " ".join(info["tags"])}, as_json)


@device.command("edit")
@_sn
@which_product_option
@common_options
@click.option("--sn", "new_sn", help="The new SN; only until the device is activated or published.")
@click.option("--mac", help="MAC address; only until the device is activated or published.")
@click.option("--name")
@click.option("--description")
@_tags
@click.option("--no-tags", is_flag=True, help="Remove all tags.")
def device_edit(
    sn: str,
    product: str | None,
    data: Path,
    as_json: bool,
    new_sn: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
    **given: Any,
) -> None:
    """Modify the device with this SN. What is not given stays; tags that are given replace all tags."""
    found = {name: value for name, value in {"sn": new_sn, **given}.items() if value is not None}
    if tags and no_tags:
        raise UsageError("--tag and --no-tags exclude each other")
    if tags or no_tags:
        found["tags"] = list(tags)
    if not found:
        raise UsageError("nothing to change: give at least one option, such as --name")
    with open_admin(data) as admin:
        _show(admin.update_device(sn, product=product, **cast(DeviceChanges, found)), as_json)


@device.command("publish")
@_sn
@which_product_option
@common_options
def device_publish(sn: str, product: str | None, data: Path, as_json: bool) -> None:
    """Publish the device with this SN: SN and MAC stay from now on."""
    with open_admin(data) as admin:
        _show(admin.publish_device(sn, product=product), as_json)


@device.command("delete")
@_sn
@which_product_option
@yes_option
@common_options
def device_delete(sn: str, product: str | None, data: Path, as_json: bool, yes: bool) -> None:
    """Delete the device with this SN: it is disconnected and let in no more."""
    with open_admin(data) as admin:
        info = admin.show_device(sn, product=product)
        confirm(f"Delete device {info['sn']} of product {info['product']} ({info['state']})?", yes)
        admin.delete_device(info["device_id"])
    if as_json:
        echo_json({"deleted": info["device_id"]})


@device.command("qr")
@_sn
@which_product_option
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Image to write: FILE.svg or FILE.png.")
@common_options
def device_qr(sn: str, product: str | None, output: Path | None, data: Path, as_json: bool) -> None:
    """Show the address of the device's binding page as a QR code."""
    from sim.cloud.qr import MEDIA_TYPES, qr_image, qr_terminal

    kind = output.suffix.lstrip(".").lower() if output is not None else "svg"
    if kind not in MEDIA_TYPES:
        raise UsageError(f"{output} must end in {' or '.join('.' + name for name in MEDIA_TYPES)}")
    with open_admin(data) as admin:
        info = admin.binding_url(sn, product=product)
    if output is not None:
        with replacing(output) as file:
            file.write(qr_image(info["url"], kind))
    if as_json:
        echo_json(info)
    elif output is None:
        click.echo(qr_terminal(info["url"]))
        click.echo(info["url"])


@device.command("bind")
@_sn
@which_product_option
@click.option("--seconds", type=click.IntRange(0), default=BIND_SECONDS, show_default=True, help="0 ends it.")
@common_options
def device_bind(sn: str, product: str | None, seconds: int, data: Path, as_json: bool) -> None:
    """Let the device with this SN fetch its keys by the SN alone, for a while.

    Only boards with the binding page need it: they ask for their keys in place of activating themselves.
    """
    with open_admin(data) as admin:
        show(admin.bind_device(sn, product=product, seconds=seconds), as_json)


@device.command("transfers")
@_sn
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


@device.command("counts")
@any_product_option
@common_options
def device_counts(product: str | None, data: Path, as_json: bool) -> None:
    """Count the devices: all, activated, online."""
    with open_admin(data) as admin:
        show(admin.count_devices(DeviceFilter(product=product)), as_json)


@device.command("tags")
@any_product_option
@common_options
def device_tags(product: str | None, data: Path, as_json: bool) -> None:
    """List the tags in use."""
    with open_admin(data) as admin:
        show_rows(admin.list_tags(product), ("tag", "devices"), as_json)


@device.command("history")
@any_product_option
@click.option("--hours", type=click.IntRange(1, 8784), default=24, show_default=True)
@common_options
def device_history(product: str | None, hours: int, data: Path, as_json: bool) -> None:
    """List how many devices were online, at most each minute."""
    with open_admin(data) as admin:
        points = admin.online_history(product, int(time.time()) - hours * 3600)
    rows = points if as_json else [{**point, "counted_at": point["at"]} for point in points]
    show_rows(rows, ("counted_at", "online", "activated"), as_json)
