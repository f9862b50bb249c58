"""`cloudsim cloud task`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode
from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import any_product_option, common_options, product_option
from sim.cli.cloud.output import echo_fields, show_rows
from sim.cli.output import echo_json
from sim.cloud.rollout import Selection

if TYPE_CHECKING:
    from sim.cloud.shapes import FirmwareInfo


@click.group()
def task() -> None:
    """OTA tasks."""


@task.command("create")
@product_option
@click.option(
    "--firmware",
    "firmwares",
    required=True,
    multiple=True,
    help="Id, NAME:VERSION, or NAME if there is one. Repeat it; they are installed in this order.",
)
@click.option("--device", "sns", required=True, multiple=True, help="SN of a device. Repeat it.")
@click.option("--version", help="Version of the set, up to 23 characters. Default: the next free one.")
@click.option(
    "--mode",
    type=click.Choice([mode.name.lower() for mode in UpgradeMode]),
    default="forced",
    show_default=True,
)
@common_options
def task_create(
    product: str,
    firmwares: tuple[str, ...],
    sns: tuple[str, ...],
    version: str | None,
    mode: str,
    data: Path,
    as_json: bool,
) -> None:
    """Send firmware to devices."""
    with open_admin(data) as admin:
        known = admin.list_firmware(product)
        ids = [_find_firmware(known, ref) for ref in firmwares]
        info = admin.create_task(
            product,
            firmware_ids=ids,
            selection=Selection(sns),
            mode=UpgradeMode[mode.upper()],
            version=version,
        )
        _show_task(info, as_json)


@task.command("list")
@any_product_option
@common_options
def task_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the tasks."""
    with open_admin(data) as admin:
        tasks = admin.list_tasks(product)
    rows = tasks if as_json else [_task_summary(row) for row in tasks]
    show_rows(
        rows, ("id", "product", "version", "mode", "firmware", "done", "devices", "created_at"), as_json
    )


@task.command("show")
@click.argument("task_id", metavar="ID", type=int)
@common_options
def task_show(task_id: int, data: Path, as_json: bool) -> None:
    """Show a task and how far it is on each device."""
    with open_admin(data) as admin:
        _show_task(admin.show_task(task_id), as_json)


@task.command("cancel")
@click.argument("task_id", metavar="ID", type=int)
@common_options
def task_cancel(task_id: int, data: Path, as_json: bool) -> None:
    """Take a task back from the devices that are not done with it."""
    with open_admin(data) as admin:
        _show_task(admin.cancel_task(task_id), as_json)


def _find_firmware(known: "Sequence[FirmwareInfo]", ref: str) -> int:
    """The id that an option means. Of several packages with one name and version the newest counts."""
    if re.fullmatch("[0-9]{1,9}", ref):
        return int(ref)
    exact = [row["id"] for row in known if f"{row['name']}:{row['version']}" == ref]
    if exact:
        return max(exact)
    named = [row for row in known if row["name"] == ref]
    if len(named) > 1:
        choices = ", ".join(f"{row['name']}:{row['version']}" for row in named)
        raise UsageError(f"several firmwares are called {ref}: choose one of {choices}")
    if not named:
        raise UsageError(f"there is no firmware {ref} in this product: upload it first")
    return named[0]["id"]


def _show_task(info: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(info)
        return
    echo_fields(_task_summary(info))
    show_rows(info["devices"], ("sn", "state", "version", "sent_at", "done_at"), as_json)


def _task_summary(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **info,
        "firmware": ", ".join(f"{row['name']}:{row['version']}" for row in info["firmware"]),
        "devices": info["device_count"],
        "done": info["counts"]["done"],
    }
