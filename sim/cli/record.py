"""`cloudsim record`: what device and cloud say to each other, as a file."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import click

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.route import Address, Link
from sim.cli.output import echo_json, echo_warning, json_option
from sim.cli.traffic_options import FILE, PORT, upstream
from sim.traffic.events import Header
from sim.traffic.mask import Mask
from sim.traffic.recorder import HOST, Recorder
from sim.traffic.recording import MAX_FILE, RecordingWriter


@click.command()
@click.option("--to-activation", callback=upstream, metavar="URL", help="HTTP of the cloud.")
@click.option("--to-mqtt", callback=upstream, metavar="URL", help="Its broker.")
@click.option("-o", "--output", required=True, type=FILE, metavar="FILE", help="The recording; a new file.")
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="Address of this machine where devices connect; other machines need one they can reach.",
)
@click.option("--http-port", type=PORT, default=0, help="Port for activation; 0: any.")
@click.option("--mqtt-port", type=PORT, default=0, help="Port for MQTT; 0: any.")
@click.option(
    "--rewrite/--no-rewrite",
    default=True,
    help="Lead the addresses the cloud names (firmware, Web Shell, Web Log) through the recorder.",
)
@click.option("--mask", is_flag=True, help="Replace DeviceKeys, the ProductKey, Signs and passwords.")
@click.option(
    "--product-key",
    envvar="CLOUDSIM_PRODUCT_KEY",
    help="With --mask: masked wherever it is. Or set CLOUDSIM_PRODUCT_KEY.",
)
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=MAX_FILE >> 20,
    show_default=True,
    help="MiB after which nothing more is recorded.",
)
@json_option
def record(
    to_activation: Address | None,
    to_mqtt: Address | None,
    output: Path,
    host: str,
    http_port: int,
    mqtt_port: int,
    rewrite: bool,
    mask: bool,
    product_key: str | None,
    max_size: int,
    as_json: bool,
) -> None:
    """Stand between device and cloud and write down what they say, until Ctrl-C."""
    places = [
        (Link.HTTP, to_activation, http_port, "activation_url", "http"),
        (Link.MQTT, to_mqtt, mqtt_port, "mqtt_url", "mqtt"),
    ]
    if to_activation is None and to_mqtt is None:
        raise UsageError("nothing to record: give --to-activation, --to-mqtt or both")
    if rewrite and host in ("0.0.0.0", "::", ""):  # noqa: S104 - refused, not bound to
        raise UsageError("--host must be the one address that devices are to be led to")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    header = Header(time.time(), masked=mask)
    with RecordingWriter(output, header, max_size=max_size << 20) as writer:
        masking = Mask(product_key) if mask else None
        with Recorder(writer, host=host, rewrite=rewrite, mask=masking) as recorder:
            facts: dict[str, Any] = {"file": str(output.absolute())}
            try:
                for link, target, port, name, scheme in places:
                    if target is not None:
                        found_host, found_port = recorder.listen(link, target, port)
                        facts[name] = f"{scheme}://{found_host}:{found_port}"
            except CloudSdkError:
                output.unlink()
                raise
            if as_json:
                echo_json(facts)
            else:
                for name, value in facts.items():
                    click.echo(f"{name}: {value}")
            _wait(stop, writer)
        stopped, events = writer.stopped, writer.events
    if stopped is not None:
        raise stopped
    if not as_json:
        click.echo(f"{events} events")


def _wait(stop: threading.Event, writer: RecordingWriter) -> None:
    """Until the signal; a recording that has stopped is told at once, and the traffic goes on."""
    told = False
    while not stop.wait(1.0):
        if writer.stopped is not None and not told:
            told = True
            echo_warning(f"nothing more is recorded: {writer.stopped}")
