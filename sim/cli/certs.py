"""`cloudsim certs`: certificates to try TLS with."""

from datetime import UTC, datetime
from pathlib import Path

import click

from sim.certs import CertificateFiles, CertificatePlan, make_certificates
from sim.cli.output import echo_json, json_option


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", "names", multiple=True, help="Host name or IP address of the server. Repeat it.")
@click.option("--device", "devices", multiple=True, metavar="SN", help="SN of a device. Repeat it.")
@click.option("--days", type=int, default=365, show_default=True, help="How long they are valid.")
@click.option("--expired", is_flag=True, help="Server and device certificates that are not valid any more.")
@json_option
def certs(
    directory: Path,
    names: tuple[str, ...],
    devices: tuple[str, ...],
    days: int,
    expired: bool,
    as_json: bool,
) -> None:
    """Make a test CA in DIR, a server certificate and one for each device.

    The server is always localhost and 127.0.0.1 as well. Nothing is replaced. For tests only.
    """
    plan = CertificatePlan(names, devices, days, expired)
    made = make_certificates(directory, plan, datetime.now(UTC).replace(tzinfo=None))
    if as_json:
        echo_json(
            {
                "directory": str(directory),
                "ca": _paths(made.ca),
                "server": _paths(made.server),
                "devices": {sn: _paths(files) for sn, files in made.devices.items()},
            }
        )
        return
    for files in (made.ca, made.server, *made.devices.values()):
        click.echo(f"{files.certificate}  {files.key}")


def _paths(files: CertificateFiles) -> dict[str, str]:
    return {"certificate": str(files.certificate), "key": str(files.key)}
