"""`cloudsim cloud`: the reference cloud on the command line.

While a server runs on the data directory, commands go to it; otherwise they work on the database themselves.
"""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode
from sim.cli.output import echo_json, json_option
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT

if TYPE_CHECKING:  # the cloud's dependencies are an extra; other commands do without
    from sim.cloud.service import Admin
    from sim.cloud.shapes import FirmwareInfo

DATA_VARIABLE: Final = "CLOUDSIM_DATA"
_PIPE_WIDTH: Final = 240  # columns, so that tables in a pipe are not wrapped

F = TypeVar("F", bound=Callable[..., Any])


def _default_data() -> Path:
    return Path.home() / ".local" / "share" / "cloudsim" / "cloud"


_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=DATA_VARIABLE,
    default=_default_data,
    show_default="$CLOUDSIM_DATA or ~/.local/share/cloudsim/cloud",
    help="Directory of the cloud's state.",
)
_product = click.option("--product", required=True, help="Name or ProductID.")
_file = click.Path(path_type=Path)
_any_product = click.option("--product", help="Only of this product: name or ProductID.")


def _common(command: F) -> F:
    return _data(json_option(command))


@click.group()
def cloud() -> None:
    """The reference cloud: serve it, and manage products, devices, firmware and OTA tasks."""


@cloud.command()
@_common
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option("--mqtt-port", type=click.IntRange(0, 65535), default=1883, show_default=True)
@click.option("--broker", type=click.Choice(["embedded", "mosquitto"]), default="embedded", show_default=True)
@click.option("--public-url", help="URL under which devices reach the HTTP port, if not host and port.")
@click.option("--tls-cert", type=_file, help="Certificate (PEM): HTTP and MQTT with TLS. Needs --tls-key.")
@click.option("--tls-key", type=_file, help="Its key (PEM).")
@click.option("--tls-client-ca", type=_file, help="Devices must show a certificate of this CA (PEM).")
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
) -> None:
    """Run the cloud until SIGINT or SIGTERM. Port 0 takes any free port."""
    from sim.cloud.server import CloudConfig, CloudServer
    from sim.cloud.tls import ServerTls

    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = ServerTls(tls_cert, tls_key, tls_client_ca)
    elif tls_cert is not None or tls_key is not None or tls_client_ca is not None:
        raise UsageError("TLS needs --tls-cert and --tls-key, both")
    server = CloudServer(CloudConfig(data, host, http_port, mqtt_port, broker, public_url, tls))
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
        _echo_fields(facts)
    server.wait()


# Products


@cloud.group()
def product() -> None:
    """Classes of devices."""


@product.command("create")
@click.argument("name")
@_common
@click.option("--kind", default="", help="Type, such as smart home.")
@click.option("--model", default="")
@click.option("--connection", default="", help="Connection type, such as Wi-Fi.")
@click.option("--description", default="")
@click.option("--device-limit", type=click.IntRange(1), default=DEFAULT_DEVICE_LIMIT, show_default=True)
def product_create(name: str, data: Path, as_json: bool, device_limit: int, **texts: str) -> None:
    """Create product NAME and show its ProductKey."""
    with _admin(data) as admin:
        _show(admin.create_product(name, device_limit=device_limit, **texts), as_json)


@product.command("list")
@_common
def product_list(data: Path, as_json: bool) -> None:
    """List the products."""
    with _admin(data) as admin:
        _show_rows(
            admin.list_products(), ("name", "product_id", "devices", "device_limit", "created_at"), as_json
        )


@product.command("show")
@click.argument("product")
@_common
@click.option("--show-key", is_flag=True, help="Show the ProductKey as well.")
def product_show(product: str, data: Path, as_json: bool, show_key: bool) -> None:
    """Show PRODUCT, a name or ProductID."""
    with _admin(data) as admin:
        _show(admin.show_product(product, keys=show_key), as_json)


# Devices


@cloud.group()
def device() -> None:
    """Instances of a product, known by their SN."""


@device.command("add")
@_product
@click.option("--sn", required=True, help="Serial number as in the device's port, up to 32 characters.")
@_common
@click.option("--name", default="")
@click.option("--mac", default="", help="MAC address.")
@click.option("--description", default="")
def device_add(product: str, sn: str, data: Path, as_json: bool, **texts: str) -> None:
    """Enter a device, so that it can activate itself."""
    with _admin(data) as admin:
        _show(admin.add_device(product, sn, **texts), as_json)


@device.command("list")
@_any_product
@_common
def device_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the devices."""
    columns = ("sn", "product", "device_id", "name", "state", "online", "version", "last_login_at")
    with _admin(data) as admin:
        _show_rows(admin.list_devices(product), columns, as_json)


@device.command("show")
@click.argument("sn")
@click.option("--product", help="Name or ProductID, where several products have this SN.")
@_common
@click.option("--show-key", is_flag=True, help="Show the DeviceKey as well.")
def device_show(sn: str, product: str | None, data: Path, as_json: bool, show_key: bool) -> None:
    """Show the device with this SN."""
    with _admin(data) as admin:
        _show(admin.show_device(sn, product=product, keys=show_key), as_json)


@device.command("transfers")
@click.argument("sn")
@click.option("--product", help="Name or ProductID, where several products have this SN.")
@_common
def device_transfers(sn: str, product: str | None, data: Path, as_json: bool) -> None:
    """List the firmware requests of the device with this SN."""
    columns = ("id", "name", "version", "status", "first_byte", "bytes_sent", "outcome", "started_at")
    with _admin(data) as admin:
        _show_rows(admin.transfers(sn, product=product), columns, as_json)


# Firmware


@cloud.group()
def firmware() -> None:
    """Packages (.rbl) kept in the cloud."""


@firmware.command("upload")
@click.argument("file", type=click.Path(path_type=Path))
@_product
@_common
def firmware_upload(file: Path, product: str, data: Path, as_json: bool) -> None:
    """Upload the package FILE. Partition and version are those in the package."""
    with _admin(data) as admin:
        _show(admin.upload_firmware(file, product), as_json)


@firmware.command("list")
@_any_product
@_common
def firmware_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the packages."""
    columns = ("id", "product", "name", "version", "file_size", "raw_size", "sha256", "created_at")
    with _admin(data) as admin:
        _show_rows(admin.list_firmware(product), columns, as_json)


# Tasks


@cloud.group()
def task() -> None:
    """OTA tasks."""


@task.command("create")
@_product
@click.option(
    "--firmware",
    "firmwares",
    required=True,
    multiple=True,
    help="Id, NAME:VERSION, or NAME if there is one. Repeat it; they are installed in this order.",
)
@click.option("--device", "sns", required=True, multiple=True, help="SN of a device. Repeat it.")
@click.option("--version", help="Version of the set, up to 23 characters. Default: the next free one.")
@click.option(
    "--mode",
    type=click.Choice([mode.name.lower() for mode in UpgradeMode]),
    default="forced",
    show_default=True,
)
@_common
def task_create(
    product: str,
    firmwares: tuple[str, ...],
    sns: tuple[str, ...],
    version: str | None,
    mode: str,
    data: Path,
    as_json: bool,
) -> None:
    """Send firmware to devices."""
    with _admin(data) as admin:
        known = admin.list_firmware(product)
        ids = [_find_firmware(known, ref) for ref in firmwares]
        _show_task(admin.create_task(product, version, ids, sns, UpgradeMode[mode.upper()]), as_json)


@task.command("list")
@_any_product
@_common
def task_list(product: str | None, data: Path, as_json: bool) -> None:
    """List the tasks."""
    with _admin(data) as admin:
        tasks = admin.list_tasks(product)
    rows = tasks if as_json else [_task_summary(row) for row in tasks]
    _show_rows(
        rows, ("id", "product", "version", "mode", "firmware", "done", "devices", "created_at"), as_json
    )


@task.command("show")
@click.argument("task_id", metavar="ID", type=int)
@_common
def task_show(task_id: int, data: Path, as_json: bool) -> None:
    """Show a task and how far it is on each device."""
    with _admin(data) as admin:
        _show_task(admin.show_task(task_id), as_json)


@task.command("cancel")
@click.argument("task_id", metavar="ID", type=int)
@_common
def task_cancel(task_id: int, data: Path, as_json: bool) -> None:
    """Take a task back from the devices that are not done with it."""
    with _admin(data) as admin:
        _show_task(admin.cancel_task(task_id), as_json)


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


# Where the operations come from


@contextlib.contextmanager
def _admin(data: Path) -> "Iterator[Admin]":
    """The operations: those of the server that runs on `data`, else those of the database itself."""
    from sim.cloud.client import AdminClient
    from sim.cloud.datadir import DataDir
    from sim.cloud.service import Service

    directory = DataDir(data)
    endpoint = directory.endpoint()
    if endpoint is not None:
        with contextlib.closing(AdminClient(endpoint.admin_url, endpoint.admin_token)) as client:
            if client.healthy(endpoint.instance):
                yield client
                return
    with contextlib.closing(Service(directory)) as service:
        yield service


# Output


def _show(info: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(info)
    else:
        _echo_fields(info)


def _show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        echo_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row[column]) for column in columns))
    _console().print(table)


def _show_task(info: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(info)
        return
    _echo_fields(_task_summary(info))
    _show_rows(info["devices"], ("sn", "state", "version", "sent_at", "done_at"), as_json)


def _task_summary(info: Mapping[str, Any]) -> dict[str, Any]:
    devices = info["devices"]
    return {
        **info,
        "firmware": ", ".join(f"{row['name']}:{row['version']}" for row in info["firmware"]),
        "devices": len(devices),
        "done": sum(row["state"] == "done" for row in devices),
    }


def _echo_fields(fields: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(name.replace("_", " "), _cell(name, value))
    _console().print(table)


def _cell(name: str, value: object) -> Text:
    """Text as it is: names from devices and users are no markup."""
    if value is None or value == "":
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if name.endswith("_at") and isinstance(value, int):
        return Text(datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ"))
    return Text(str(value))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
