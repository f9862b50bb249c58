"""`cloudsim cloud log`: the console of a device, as the cloud keeps it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cloudsdk.errors import UsageError
from sim.cli.cloud.access import Admin, open_admin, open_client
from sim.cli.cloud.options import common_options, confirm, which_product_option, yes_option
from sim.cli.cloud.output import show
from sim.cli.output import echo_json, echo_warning

if TYPE_CHECKING:
    from sim.cloud.logs import LogFilter
    from sim.cloud.shapes import LogInfo, LogLineInfo

FOLLOWED: Final = 10  # stored lines that are shown before those that come

_time = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command()
@click.argument("sn", metavar="SN")
@which_product_option
@click.option("--on/--off", "switch", default=None, help="Turn the log on or off.")
@click.option("--state", "show_state", is_flag=True, help="Show whether the log is on, in place of lines.")
@click.option("--follow", is_flag=True, help="Show lines as they come, until Ctrl-C.")
@click.option("--since", type=_time, help="UTC.")
@click.option("--until", type=_time, help="UTC.")
@click.option("--search", default="", help="Only lines with this text.")
@click.option("--limit", type=click.IntRange(1, 1000), help="The newest so many lines. Default: 100.")
@click.option(
    "--download", "output", type=click.Path(path_type=Path), help="Write all of these lines to this file."
)
@click.option("--clear", is_flag=True, help="Delete the stored lines, with --until those before.")
@yes_option
@common_options
def log(
    sn: str,
    product: str | None,
    switch: bool | None,
    show_state: bool,
    follow: bool,
    since: datetime | None,
    until: datetime | None,
    search: str,
    limit: int | None,
    output: Path | None,
    clear: bool,
    yes: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Show what the device with this SN has printed, or turn its log on or off.

    A log that is on stays so over reboots, and is turned off after five minutes without a line.
    """
    from sim.cloud.logs import LogFilter

    if sum((show_state, output is not None, clear, follow)) > 1:
        raise UsageError("--state, --download, --clear and --follow exclude each other")
    wanted = LogFilter(_milliseconds(since), _milliseconds(until), search)
    if follow and wanted != LogFilter():
        raise UsageError("--follow shows every line from now on: leave --since, --until and --search out")
    if clear and (since is not None or search):
        raise UsageError("--clear deletes every line, or with --until those before")
    with open_admin(data) as admin:
        info = admin.switch_log(sn, switch, product=product) if switch is not None else None
        if clear:
            confirm(f"Delete the stored lines of {sn}?", yes)
            show(admin.clear_log(sn, until_ms=wanted.until_ms, product=product), as_json)
        elif output is not None:
            size = admin.download_log(sn, output, wanted, product=product)
            show({"output": str(output), "size": size}, as_json)
        elif show_state or (info is not None and not follow):
            _show_state(info or admin.log_state(sn, product=product), as_json)
        elif not follow:
            _show_page(admin, sn, product, wanted, limit or 100, as_json)
    if follow:
        if info is not None and info["note"]:
            echo_warning(info["note"])
        _follow(data, sn, product, limit or FOLLOWED, as_json)


def _show_state(info: "LogInfo", as_json: bool) -> None:
    if as_json:
        show(info, as_json)
        return
    since = info["since_ms"]
    show(
        {
            "device_id": info["device_id"],
            "wanted": info["wanted"],
            "state": info["state"],
            "entered_at": since // 1000 if since is not None else None,
            "note": info["note"],
        },
        as_json,
    )


def _show_page(
    admin: Admin, sn: str, product: str | None, wanted: "LogFilter", limit: int, as_json: bool
) -> None:
    page = admin.page_log(sn, wanted, product=product, limit=limit)
    if as_json:
        echo_json(page)
    else:
        _show_lines(page["items"][::-1], as_json)


def _follow(data: Path, sn: str, product: str | None, limit: int, as_json: bool) -> None:
    with open_client(data) as admin:
        stored = admin.page_log(sn, product=product, limit=limit)["items"][::-1]
        _show_lines(stored, as_json)
        seen = stored[-1]["id"] if stored else None
        for batch in admin.follow_log(sn, product=product, seen=seen):
            if batch["lost"]:
                echo_warning(f"{batch['lost']} lines came too fast to be shown")
            _show_lines(batch["lines"], as_json)


def _show_lines(lines: "Sequence[LogLineInfo]", as_json: bool) -> None:
    """As they are in the text file; with `as_json` one object a line."""
    from sim.cloud.logs import LogLine, as_text

    for line in lines:
        if as_json:
            click.echo(json.dumps(line))
        else:
            click.echo(as_text(LogLine(line["at_ms"], line["text"])), nl=False)


def _milliseconds(time: datetime | None) -> int | None:
    return int(time.replace(tzinfo=UTC).timestamp()) * 1000 if time is not None else None
