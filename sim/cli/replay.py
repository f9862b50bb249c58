"""`cloudsim replay`: one side of a recording against the live other side."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from cloudsdk.errors import UsageError
from cloudsdk.route import Address, Link
from sim.cli.traffic_options import FILE, PORT, upstream
from sim.faults.network.rules import Direction
from sim.traffic.bindings import Identity
from sim.traffic.recorder import HOST
from sim.traffic.recording import load_recording
from sim.traffic.replay import TIMEOUT, Replay
from sim.traffic.script import Connects, script


@click.command()
@click.argument("file", type=FILE)
@click.option("--as", "role", required=True, type=click.Choice(["device", "cloud"]), help="The side to play.")
@click.option("--to-activation", callback=upstream, metavar="URL", help="As device: HTTP of the live cloud.")
@click.option("--to-mqtt", callback=upstream, metavar="URL", help="As device: its broker.")
@click.option("--sn", help="As device: SN, if not the recorded one.")
@click.option("--product-id", help="As device: ProductID, if not the recorded one.")
@click.option("--product-key", envvar="CLOUDSIM_PRODUCT_KEY", help="Its key; or set CLOUDSIM_PRODUCT_KEY.")
@click.option("--host", default=HOST, show_default=True, help="As cloud: where the live device connects.")
@click.option("--http-port", type=PORT, default=0, help="As cloud; 0: any.")
@click.option("--mqtt-port", type=PORT, default=0, help="As cloud; 0: any.")
@click.option("--skip-activation", is_flag=True, help="The device has been activated before.")
@click.option("--pace", is_flag=True, help="Keep the recorded pauses before what is sent.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=TIMEOUT, show_default=True, help="Seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event, a line each.")
def replay(
    file: Path,
    role: str,
    to_activation: Address | None,
    to_mqtt: Address | None,
    sn: str | None,
    product_id: str | None,
    product_key: str | None,
    host: str,
    http_port: int,
    mqtt_port: int,
    skip_activation: bool,
    pace: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Play one side of FILE against the live other side. Exit status 1: it does something else."""
    ours = Direction.UP if role == "device" else Direction.DOWN
    steps = script(load_recording(file).events, activation=not skip_activation)
    targets = {Link.HTTP: to_activation, Link.MQTT: to_mqtt}
    if role == "device":
        for step in steps:
            if isinstance(step, Connects) and targets.get(step.link, step.to) is None:
                option = "--to-activation" if step.link is Link.HTTP else "--to-mqtt"
                raise UsageError(f"the recording has {step.link} connections: give {option}")
    player = Replay(steps, ours, identity=Identity(sn, product_id, product_key), timeout=timeout, pace=pace)

    def echo(event: str, **details: Any) -> None:
        if as_json:
            click.echo(json.dumps({"event": event, **details}))
        else:
            click.echo(" ".join([event, *(f"{name}={value}" for name, value in details.items())]))

    async def play() -> None:
        for link, target in targets.items():
            if target is not None:
                player.connect_to(link, target)
        if ours is Direction.DOWN:
            ports = {Link.HTTP: http_port, Link.MQTT: mqtt_port}
            places = await player.listen(host, ports)
            names = {Link.HTTP: "activation_url", Link.MQTT: "mqtt_url"}
            urls = {
                names[link]: f"{link}://{place[0]}:{place[1]}"
                for link, place in places.items()
                if link in names
            }
            echo("listening", **urls)
        await player.run()

    asyncio.run(play())
    echo("same", messages=player.matched)
