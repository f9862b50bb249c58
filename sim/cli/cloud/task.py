"""`cloudsim cloud task`."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode
from sim.cli.cloud.access import Admin, open_admin
from sim.cli.cloud.options import any_product_option, common_options, product_option
from sim.cli.cloud.output import echo_fields, show_rows
from sim.cli.cloud.watch import watch_task
from sim.cli.output import echo_json
from sim.cloud.rollout import (
    DEFAULT_ATTEMPTS,
    DEFAULT_FAILURE_MINIMUM,
    DEFAULT_REPORT_DEADLINE,
    Rollout,
    Selection,
)

if TYPE_CHECKING:
    from sim.cloud.shapes import FirmwareInfo, TaskInfo

_PAGE: Final = 1000  # devices fetched at a time
_DEVICE_COLUMNS: Final = (
    "sn",
    "state",
    "stage",
    "firmware",
    "offset",
    "file_size",
    "attempts",
    "version",
    "sent_at",
    "done_at",
    "reason",
)
_id = click.argument("task_id", metavar="ID", type=int)


@click.group()
def task() -> None:
    """OTA tasks."""


def _time(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Seconds since 1970 of an ISO 8601 time; without an offset it is UTC."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("write a time like 2026-01-31T02:00:00Z") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _stages(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})*", text):
        raise click.BadParameter("write cumulative percentages like 5,25,100")
    return tuple(map(int, text.split(",")))


@task.command("create")
@product_option
@click.option(
    "--firmware",
    "firmwares",
    required=True,
    multiple=True,
    help="Id, NAME:VERSION, or NAME if there is one. Repeat it; they are installed in this order.",
)
@click.option("--device", "sns", multiple=True, help="SN of a device. Repeat it.")
@click.option("--tag", "tags", multiple=True, help="Devices with this tag. Repeat it for another.")
@click.option("--version-is", "versions", multiple=True, help="Devices that report this version. Repeat it.")
@click.option("--percent", type=click.IntRange(1, 100), default=100, help="This share of the devices.")
@click.option("--all", "everyone", is_flag=True, help="All devices of the product.")
@click.option("--version", help="Version of the set, up to 23 characters. Default: the next free one.")
@click.option(
    "--mode",
    type=click.Choice([mode.name.lower() for mode in UpgradeMode]),
    default="forced",
    show_default=True,
)
@click.option("--stages", default="100", callback=_stages, help="Cumulative percentages, such as 5,25,100.")
@click.option(
    "--advance-at",
    type=click.IntRange(1, 100),
    default=100,
    help="Percentage of settled devices that opens the next stage.",
)
@click.option("--soak", type=click.IntRange(0), default=0, help="Seconds to wait before the next stage.")
@click.option(
    "--failure-limit", type=click.IntRange(0, 99), help="Stop when more than this percentage of devices fail."
)
@click.option(
    "--failure-minimum",
    type=click.IntRange(1),
    default=DEFAULT_FAILURE_MINIMUM,
    show_default=True,
    help="Settled devices from which on the limit counts; it always does at the end of a stage.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1),
    default=DEFAULT_ATTEMPTS,
    show_default=True,
    help="Downloads of a firmware after which a device has failed.",
)
@click.option(
    "--report-deadline",
    type=click.IntRange(1),
    default=DEFAULT_REPORT_DEADLINE,
    show_default=True,
    help="Seconds after a download in which a device must report.",
)
@click.option("--start", "starts_at", callback=_time, help="When to start (ISO 8601, UTC). Default: now.")
@click.option("--end", "ends_at", callback=_time, help="When devices that still wait are left out.")
@click.option("--watch", is_flag=True, help="Wait for the end; exits with 1 if not all devices are done.")
@common_options
@click.pass_context
def task_create(
    context: click.Context,
    product: str,
    firmwares: tuple[str, ...],
    sns: tuple[str, ...],
    tags: tuple[str, ...],
    versions: tuple[str, ...],
    percent: int,
    everyone: bool,
    version: str | None,
    mode: str,
    stages: tuple[int, ...],
    advance_at: int,
    soak: int,
    failure_limit: int | None,
    failure_minimum: int,
    attempts: int,
    report_deadline: int,
    starts_at: int | None,
    ends_at: int | None,
    watch: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Send firmware to devices. Conditions on devices must all hold."""
    rollout = Rollout(stages, advance_at, soak, failure_limit, failure_minimum, attempts, report_deadline)
    selection = Selection(sns, tags, versions, percent, everyone)
    with open_admin(data) as admin:
        known = admin.list_firmware(product)
        info = admin.create_task(
            product,
            firmware_ids=[_find_firmware(known, ref) for ref in firmwares],
            selection=selection,
            mode=UpgradeMode[mode.upper()],
            version=version,
            rollout=rollout,
            starts_at=starts_at,
            ends_at=ends_at,
        )
        if watch:
            context.exit(watch_task(admin, info["id"], as_json))
        _show_task(info, as_json)


@task.command("list")
@any_product_option
@common_options
def task_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the tasks."""
    with open_admin(data) as admin:
        tasks = admin.list_tasks(product)
    rows = tasks if as_json else [_task_summary(row) for row in tasks]
    columns = ("id", "product", "version", "mode", "firmware", "state", "devices", "done", "created_at")
    show_rows(rows, columns, as_json)


@task.command("show")
@_id
@common_options
def task_show(task_id: int, data: Path, as_json: bool) -> None:
    """Show a task and how far it is on its first 100 devices."""
    with open_admin(data) as admin:
        _show_task(admin.show_task(task_id), as_json)


@task.command("devices")
@_id
@click.option("--state", help="Only those in this state.")
@common_options
def task_devices(task_id: int, state: str | None, data: Path, as_json: bool) -> None:
    """Show how far a task is on each device."""
    rows: list[Any] = []
    after: int | None = 0
    with open_admin(data) as admin:
        while after is not None:
            page = admin.page_task_devices(task_id, state, after=after, limit=_PAGE)
            rows += page["items"]
            after = page["next"]
    show_rows(rows, _DEVICE_COLUMNS, as_json)


@task.command("watch")
@_id
@common_options
@click.pass_context
def task_watch(context: click.Context, task_id: int, data: Path, as_json: bool) -> None:
    """Follow a task to its end. Exits with 0 if all devices are done, else with 1."""
    with open_admin(data) as admin:
        status = watch_task(admin, task_id, as_json)
    context.exit(status)


def _steering(name: str, text: str, call: "Callable[[Admin, int], TaskInfo]") -> None:
    @task.command(name, help=text)
    @_id
    @common_options
    def steer(task_id: int, data: Path, as_json: bool) -> None:
        with open_admin(data) as admin:
            _show_task(call(admin, task_id), as_json)


_steering(
    "pause",
    "Send nothing new. Downloads under way go on.",
    lambda admin, number: admin.pause_task(number),
)
_steering(
    "resume",
    "Let a paused or stopped task go on. What failed so far is not held against it.",
    lambda admin, number: admin.resume_task(number),
)
_steering(
    "cancel",
    "Take a task back from devices that have not begun to download. Others cannot be called back.",
    lambda admin, number: admin.cancel_task(number),
)
_steering(
    "retry",
    "Give a task to its failed devices again.",
    lambda admin, number: admin.retry_task(number),
)


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
    show_rows(info["devices"], _DEVICE_COLUMNS, as_json)


def _task_summary(info: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("selection", "rollout", "counts", "device_count", "eta", "rate")
    rollout = info["rollout"]
    return {
        **{name: value for name, value in info.items() if name not in hidden},
        "stages": ", ".join(f"{percent} %" for percent in rollout["stages"]),
        "failure_limit": rollout["failure_limit"],
        "firmware": ", ".join(f"{row['name']}:{row['version']}" for row in info["firmware"]),
        "devices": info["device_count"],
        "done": info["counts"]["done"],
        "states": ", ".join(f"{count} {state}" for state, count in info["counts"].items() if count),
    }
