"""What the commands for recordings share."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from cloudsdk.errors import UsageError
from cloudsdk.route import Address

FILE: Final = click.Path(path_type=Path)
PORT: Final = click.IntRange(0, 65535)
_PORTS: Final = {"http": 80, "mqtt": 1883}
_HOST: Final = re.compile(r"[^\s/?#@]+")


def upstream(_context: click.Context, option: click.Parameter, text: str | None) -> Address | None:
    """Callback of an option: HOST:PORT, or a URL without TLS. Raises `UsageError`."""
    if text is None:
        return None
    name = f"--{(option.name or '').replace('_', '-')}"  # the text is not told: it may hold a password
    scheme, separator, _ = text.rpartition("://")
    if scheme in ("https", "mqtts"):
        raise UsageError(f"{name} has TLS, through which nothing can be seen: give the port without it")
    try:
        parts = urlsplit(text if separator else f"//{text}")
        host, port = parts.hostname, parts.port or _PORTS.get(scheme)
    except ValueError:
        host = port = None
    if not host or not port or not _HOST.fullmatch(host) or (separator and scheme not in _PORTS):
        raise UsageError(f"{name} is neither HOST:PORT nor a URL with http:// or mqtt://")
    return host, port
