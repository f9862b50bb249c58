"""`cloudsim cloud audit`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from sim.cli.cloud.access import open_admin
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import show, show_rows

_time = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command()
@click.option("--action", help="Only actions that begin so, such as `device.`.")
@click.option("--subject", help="Only of this ProductID, DeviceID, account, ...")
@click.option("--since", type=_time, help="UTC.")
@click.option("--until", type=_time, help="UTC.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", type=click.IntRange(0), default=0, help="`next` of the page before.")
@common_options
def audit(
    action: str | None,
    subject: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: int,
    data: Path,
    as_json: bool,
) -> None:
    """Show who did what, newest first."""
    with open_admin(data) as admin:
        page = admin.page_audit(
            action=action,
            subject=subject,
            since=_seconds(since),
            until=_seconds(until),
            limit=limit,
            after=after,
        )
    if as_json:
        show(page, as_json)
        return
    rows = [{**row, "logged_at": row["at"]} for row in page["items"]]
    show_rows(rows, ("logged_at", "actor", "address", "action", "subject", "detail"), as_json)


def _seconds(time: datetime | None) -> int | None:
    return int(time.replace(tzinfo=UTC).timestamp()) if time is not None else None
