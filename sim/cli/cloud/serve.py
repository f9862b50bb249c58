"""`cloudsim cloud serve`."""

import os
import signal
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.errors import UsageError
from sim.cli.cloud.options import DATABASE_VARIABLE, local_options, place
from sim.cli.cloud.output import echo_fields
from sim.cli.log_format import log_format_option, use_log_format
from sim.cli.output import echo_json

_file: Final = click.Path(path_type=Path)


@click.command()
@local_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option("--mqtt-port", type=click.IntRange(0, 65535), default=1883, show_default=True)
@click.option("--broker", type=click.Choice(["embedded", "mosquitto"]), default="embedded", show_default=True)
@click.option("--public-url", help="URL under which devices reach the HTTP port, if not host and port.")
@click.option(
    "--database",
    envvar=DATABASE_VARIABLE,
    metavar="URL",
    help="postgresql+psycopg://user:password@host/name, better in $CLOUDSIM_DATABASE than in the process "
    "list; the data directory remembers it. At first an SQLite file there.",
)
@click.option("--tls-cert", type=_file, help="Certificate (PEM): HTTP and MQTT with TLS. Needs --tls-key.")
@click.option("--tls-key", type=_file, help="Its key (PEM).")
@click.option("--tls-client-ca", type=_file, help="Devices must show a certificate of this CA (PEM).")
@click.option(
    "--shell-port",
    type=click.IntRange(0, 65535),
    help="Where devices bring their shell. Default: 8091, or any with --http-port 0.",
)
@click.option(
    "--log-port",
    type=click.IntRange(0, 65535),
    help="Where devices bring their log. Default: 8092, or any with --http-port 0.",
)
@click.option(
    "--gateway-host",
    help="IPv4 address or name of both that devices are told. Default: that of the public URL, or --host.",
)
@log_format_option
@click.option(
    "--registration",
    type=click.Choice(["open", "closed"]),
    help="Whether anybody may create an account. Default: open on a loopback address, closed elsewhere.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="Name under which browsers may reach the cloud. Repeat it. Default: on a loopback address the local "
    "names and the public URL's, elsewhere any.",
)
@click.option("--console/--no-console", default=True, show_default=True, help="The web console at /.")
def serve(
    data: Path,
    as_json: bool,
    host: str,
    http_port: int,
    mqtt_port: int,
    broker: Any,
    public_url: str | None,
    database: str | None,
    shell_port: int | None,
    log_port: int | None,
    gateway_host: str | None,
    log_format: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    registration: Any,
    allowed_hosts: tuple[str, ...],
    console: bool,
) -> None:
    """Run the cloud until SIGINT or SIGTERM. Port 0 takes any free port."""
    from sim.cloud.server import CloudConfig, CloudServer
    from sim.cloud.tls import ServerTls

    use_log_format(log_format)
    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = ServerTls(tls_cert, tls_key, tls_client_ca)
    elif tls_cert is not None or tls_key is not None or tls_client_ca is not None:
        raise UsageError("TLS needs --tls-cert and --tls-key, both")
    server = CloudServer(
        CloudConfig(
            data,
            host,
            http_port,
            mqtt_port,
            broker,
            public_url,
            tls,
            database=database,
            registration=registration,
            allowed_hosts=allowed_hosts,
            vault_key=place().vault_key,
            shell_port=shell_port,
            log_port=log_port,
            gateway_host=gateway_host,
            console=console,
        )
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.request_stop())
    server.start()
    facts = {
        "data": str(data.absolute()),
        "http_url": server.http_url,
        "activation_url": server.activation_url,
        "mqtt_url": server.mqtt_url,
        "shell_address": server.shell_address,
        "log_address": server.log_address,
        "broker": broker,
        "pid": os.getpid(),
    }
    if as_json:
        echo_json(facts)
    else:
        echo_fields(facts)
    server.wait()
