"""`cloudsim proxy`: faults between any device and any cloud on this machine."""

import json
import re
import signal
import threading
from typing import Any, Final

import click

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.route import Address, Link
from sim.cli.faults import GivenFaults, fault_options
from sim.faults.network import FaultProxy
from sim.faults.network.events import as_json as event_fields

MAX_PORT: Final = 65535
_PORT: Final = re.compile("[0-9]{1,5}")


def _address(_context: click.Context, option: click.Parameter, text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not _PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise UsageError(f"--{option.name} {text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


@click.command()
@click.option(
    "--listen",
    callback=_address,
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where devices connect; port 0 takes any free one.",
)
@click.option("--to", required=True, callback=_address, metavar="HOST:PORT", help="Where the cloud is.")
@click.option(
    "--link",
    type=click.Choice([each.value for each in Link]),
    help="What passes here, for rules of one link only.",
)
@fault_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event, a line each.")
def proxy(listen: Address, to: Address, link: str | None, faults: GivenFaults, as_json: bool) -> None:
    """Lead TCP connections through faults until Ctrl-C, on loopback only."""
    rules = faults.read()
    if link is None and any(rule.link is not None for rule in rules.rules):
        raise UsageError("a fault is for one link: tell with --link what passes here")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def echo(event: str, **details: Any) -> None:
        try:
            if as_json:
                click.echo(json.dumps({"event": event, **details}))
            else:
                texts = (f"{key}={value}" for key, value in details.items() if value is not None)
                click.echo(f"{event}: {' '.join(texts)}")
        except BrokenPipeError:
            stop.set()  # nobody listens any more

    def reloaded(error: CloudSdkError | None) -> None:
        if error is None:
            echo("reloaded", rules=len(running.faults.rules), seed=running.faults.seed)
        else:
            echo("not-reloaded", error=str(error), code=error.code)

    with FaultProxy(rules, on_event=lambda event: echo(**event_fields(event))) as running:
        host, port = running.listen(
            to, link=Link(link) if link is not None else None, host=listen[0], port=listen[1]
        )
        faults.reread_on_hangup(running, reloaded)
        echo("listening", host=host, port=port, rules=len(rules.rules), seed=rules.seed)
        stop.wait()
