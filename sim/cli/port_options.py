"""The options that make a port: a file, single values, or values over a file."""

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from cloudsdk.port import Port
from cloudsdk.port_file import PortFields, PortSurroundings, complete_port, read_port_fields
from cloudsdk.tls import TlsSettings, TlsVersion

_FILE: Final = click.Path(path_type=Path)
_OPTIONS: Final = (
    click.option(
        "--port",
        "port_file",
        type=_FILE,
        metavar="FILE",
        help="Port as a YAML file; the options here go before what it says.",
    ),
    click.option("--sn", help="Serial number, as entered in the cloud."),
    click.option("--product-id", help="ProductID, from the cloud."),
    click.option(
        "--product-key",
        envvar="CLOUDSIM_PRODUCT_KEY",
        help="ProductKey; or set CLOUDSIM_PRODUCT_KEY. A terminal is asked.",
    ),
    click.option("--activation-url", help="http[s]://host:port, or the whole URL."),
    click.option("--mqtt-url", help="mqtt[s]://host:port"),
    click.option("--ca", type=_FILE, help="CAs that are trusted (PEM). Default: those of the system."),
    click.option("--client-cert", type=_FILE, help="Certificate of the device (PEM)."),
    click.option("--client-key", type=_FILE, help="Its key (PEM)."),
    click.option(
        "--tls-min",
        "minimum",
        type=click.Choice([version.value for version in TlsVersion]),
        help="Oldest TLS version.  [default: 1.2]",
    ),
    click.option("--server-name", help="Name in the certificates of the servers, if not that of the URL."),
)
_TLS: Final = ("ca", "client_cert", "client_key", "minimum", "server_name")


def port_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options, which reach `command` as one argument `port: Port`."""

    @functools.wraps(command)
    def wrapper(*args: Any, port_file: Path | None, **options: Any) -> Any:
        names = (*PortFields.__annotations__, *_TLS)
        given = {name: options.pop(name) for name in names if name in options}
        return command(*args, port=_port(port_file, given), **options)

    wrapped: Callable[..., Any] = wrapper
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _is_from_environment(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def _port(path: Path | None, options: dict[str, Any]) -> Port:
    fields = PortFields()
    if path is not None:
        fields = read_port_fields(path, PortSurroundings(os.environ, datetime.now))
    given = {name: value for name, value in options.items() if value is not None}
    if _is_from_environment("product_key") and "product_key" in fields:
        del given["product_key"]
    tls = {name: given.pop(name) for name in _TLS if name in given}
    if "minimum" in tls:
        tls["minimum"] = TlsVersion(tls["minimum"])
    fields.update(given)  # type: ignore[typeddict-item]
    if tls:
        fields["tls"] = replace(fields.get("tls", TlsSettings()), **tls)
    if "product_key" not in fields and sys.stdin.isatty():
        fields["product_key"] = click.prompt("ProductKey", hide_input=True, err=True)
    return complete_port(fields)
