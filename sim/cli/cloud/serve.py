"""`cloudsim cloud serve`."""

import os
import signal
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.errors import UsageError
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import echo_fields
from sim.cli.output import echo_json

_file: Final = click.Path(path_type=Path)


@click.command()
@common_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option("--mqtt-port", type=click.IntRange(0, 65535), default=1883, show_default=True)
@click.option("--broker", type=click.Choice(["embedded", "mosquitto"]), default="embedded", show_default=True)
@click.option("--public-url", help="URL under which devices reach the HTTP port, if not host and port.")
@click.option("--tls-cert", type=_file, help="Certificate (PEM): HTTP and MQTT with TLS. Needs --tls-key.")
@click.option("--tls-key", type=_file, help="Its key (PEM).")
@click.option("--tls-client-ca", type=_file, help="Devices must show a certificate of this CA (PEM).")
@click.option("--console/--no-console", default=True, show_default=True, help="The web console at /.")
def serve(
    data: Path,
    as_json: bool,
    host: str,
    http_port: int,
    mqtt_port: int,
    broker: Any,
    public_url: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    console: bool,
) -> None:
    """Run the cloud until SIGINT or SIGTERM. Port 0 takes any free port."""
    from sim.cloud.server import CloudConfig, CloudServer
    from sim.cloud.tls import ServerTls

    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = ServerTls(tls_cert, tls_key, tls_client_ca)
    elif tls_cert is not None or tls_key is not None or tls_client_ca is not None:
        raise UsageError("TLS needs --tls-cert and --tls-key, both")
    server = CloudServer(
        CloudConfig(data, host, http_port, mqtt_port, broker, public_url, tls, console=console)
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.request_stop())
    server.start()
    facts = {
        "data": str(data.absolute()),
        "http_url": server.http_url,
        "activation_url": server.activation_url,
        "mqtt_url": server.mqtt_url,
        "broker": broker,
        "pid": os.getpid(),
    }
    if as_json:
        echo_json(facts)
    else:
        echo_fields(facts)
    server.wait()
