"""`cloudsim fleet run`: many devices against any compatible cloud."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import click

from cloudsdk.profile import PROFILES, profile_named
from cloudsdk.tls import TlsSettings
from sim.cli.fleet_scenario import ScenarioCall, refuse, run_scenario
from sim.cli.output import echo_json, json_option
from sim.fleet.events import FleetEvent, Kind, Phase
from sim.fleet.fleet import Fleet, FleetConfig
from sim.fleet.identities import Population, numbered, read_identities
from sim.fleet.ramps import Linear, Ramp, parse_ramp

T = TypeVar("T")

PROGRESS_PERIOD: Final = 0.5  # seconds between two progress lines
DEFAULT_RATE: Final = 100.0  # devices a second
_FILE: Final = click.Path(path_type=Path)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def _duration(text: str) -> float:
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r} is no duration: give 90s, 10m or 2h")
    return seconds


@click.group()
def fleet() -> None:
    """Thousands of simulated devices in one process."""


@fleet.command()
@click.argument("scenario", required=False)
@click.option("--activation-url", help="http[s]://host:port, or the whole URL.")
@click.option("--mqtt-url", help="mqtt[s]://host:port")
@click.option("--product-id", help="ProductID, from the cloud.")
@click.option(
    "--product-key",
    envvar="CLOUDSIM_PRODUCT_KEY",
    help="ProductKey; better set CLOUDSIM_PRODUCT_KEY, which no process list shows.",
)
@click.option(
    "--identities", type=_FILE, help="CSV file with the serial numbers (column `sn`, or the first)."
)
@click.option("--pattern", help="Numbered serial numbers instead of a file, as LOAD######; needs --count.")
@click.option("--count", type=click.IntRange(min=1), help="Devices; of a file, its first ones.")
@click.option(
    "--ramp",
    type=parse_ramp,
    metavar="RAMP",
    help="Default: linear:100/s. Others: step:500/10s, spike, spike:5s, poisson:100/s or poisson:100/s:SEED.",
)
@click.option(
    "--duration",
    type=_duration,
    metavar="TIME",
    help="Of the whole run: 90s, 10m, 2h. Default: until Ctrl-C.",
)
@click.option("--board", help="Board layout of all devices. Default: iot-board.")
@click.option("--app-version", help="Application they come with. Default: 1.0.0.")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Default: manual.")
@click.option("--ca", type=_FILE, help="CAs that are trusted (PEM). Default: those of the system.")
@click.option("--server-name", help="Name in the certificates of the servers, if not that of the URL.")
@click.option(
    "--events",
    "events_file",
    type=click.File("w"),
    help="Write every event as a line of JSON; - for standard output.",
)
@click.option(
    "--report",
    type=_FILE,
    help="Of a scenario: write report.html, result.json, junit.xml, ... into this folder.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Of a scenario: Prometheus metrics on this loopback port.",
)
@json_option
def run(
    scenario: str | None,
    activation_url: str | None,
    mqtt_url: str | None,
    product_id: str | None,
    product_key: str | None,
    identities: Path | None,
    pattern: str | None,
    count: int | None,
    ramp: Ramp | None,
    duration: float | None,
    board: str | None,
    app_version: str | None,
    profile: str | None,
    ca: Path | None,
    server_name: str | None,
    events_file: TextIO | None,
    report: Path | None,
    metrics_port: int | None,
    as_json: bool,
) -> None:
    """Run a SCENARIO, a file or one of `cloudsim scenario list`; or, without one, devices as the options say.

    Each is a whole device: activation, MQTT, downloads into flash, bootloader, version reports. Ctrl-C ends
    the run, with the summary. A scenario's thresholds decide about the exit status.
    """
    tell = _writer(events_file) if events_file is not None else None
    if scenario is not None:
        names = ("activation_url", "mqtt_url", "product_id", "identities", "pattern", "count", "ramp")
        more = ("duration", "board", "app_version", "profile", "ca", "server_name")
        given = click.get_current_context().params
        refuse({name: given[name] for name in (*names, *more)})
        run_scenario(ScenarioCall(scenario, report, metrics_port, tell, as_json), _on_loop)
        return
    if activation_url is None or mqtt_url is None or product_id is None or product_key is None:
        raise click.UsageError(
            "give a scenario, or --activation-url, --mqtt-url, --product-id and CLOUDSIM_PRODUCT_KEY"
        )
    if report is not None or metrics_port is not None:
        raise click.UsageError("--report and --metrics-port are for scenarios")
    population = Population(product_id, _serial_numbers(identities, pattern, count))
    running = Fleet(
        FleetConfig(
            [population],
            {product_id: product_key},
            activation_url,
            mqtt_url,
            ramp=ramp or Linear(DEFAULT_RATE),
            board=board or "iot-board",
            app_version=app_version or "1.0.0",
            profile=profile_named(profile or "manual"),
            tls=TlsSettings(ca=ca, server_name=server_name),
            tell=tell,
        )
    )
    summary = _on_loop(_run(running, duration, progress=sys.stderr.isatty()))
    if as_json:
        echo_json(summary)
    else:
        _echo_summary(summary)


def _serial_numbers(identities: Path | None, pattern: str | None, count: int | None) -> tuple[str, ...]:
    if (identities is None) == (pattern is None):
        raise click.UsageError("give either --identities or --pattern")
    if identities is not None:
        return read_identities(identities, count=count)
    if pattern is None or count is None:
        raise click.UsageError("--pattern needs --count")
    return numbered(pattern, count)


def _writer(file: TextIO) -> Callable[[FleetEvent], None]:
    def write(event: FleetEvent) -> None:
        file.write(event.json_line())

    return write


def _on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it is installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _run(running: Fleet, duration: float | None, *, progress: bool) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.stop)
    shower = asyncio.create_task(_show(running)) if progress else None
    try:
        return await running.run(duration)
    finally:
        if shower is not None:
            shower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await shower
            click.echo("", err=True)


async def _show(running: Fleet) -> None:
    while True:
        phases, counts = running.metrics.phases, running.metrics.counts
        line = (
            f"{phases[Phase.ONLINE]} of {running.config.count} online, "
            f"{phases[Phase.ACTIVATING]} activating, "
            f"{counts[Kind.TASK]} downloads, {counts[Kind.REBOOTED]} reboots, {phases[Phase.FAILED]} failed"
        )
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        await asyncio.sleep(PROGRESS_PERIOD)


def _echo_summary(summary: dict[str, Any]) -> None:
    phases = ", ".join(f"{count} {phase}" for phase, count in summary["phases"].items())
    click.echo(f"{summary['devices']} devices: {phases}")
    messages = summary["messages"]
    click.echo(
        f"messages: {messages['published']} published, {messages['acknowledged']} acknowledged in time, "
        f"{messages['received']} received; {summary['downloaded_bytes']} bytes of firmware"
    )
    for name, times in summary["latency"].items():
        if times["count"]:
            parts = (f"{part} {times[part] * 1000:.1f}" for part in ("p50", "p90", "p99", "max"))
            click.echo(f"{name}: {times['count']} times, ms {', '.join(parts)}")
    for cause, count in summary["causes"].items():
        click.echo(f"{count} times: {cause}")
