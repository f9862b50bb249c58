"""Where the consoles listen, and the address devices are told: dotted IPv4 (cloudsdk-protocol 2.4)."""

import asyncio
import ipaddress
import logging
import socket
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError

SHELL_PORT: Final = 8091  # the ports beside the HTTP port's default
LOG_PORT: Final = 8092
LOCAL: Final = "127.0.0.1"
ANY: Final = "0.0.0.0"  # noqa: S104 - only where the cloud as a whole is to listen everywhere
_SAME_IN_IPV4: Final = {"::": ANY, "::1": LOCAL, "localhost": LOCAL}

_log = logging.getLogger(__name__)


def listening_host(host: str) -> str:
    """The IPv4 form of the host the cloud listens on. Raises `UsageError` when there is none."""
    if ":" in host and host not in _SAME_IN_IPV4:
        raise UsageError(
            f"devices reach their consoles by IPv4 only, not on {host}: listen on an IPv4 address or on ::"
        )
    return _SAME_IN_IPV4.get(host, host)


async def announced_host(listening: str, gateway_host: str | None, public_url: str | None) -> str:
    """What devices are told: `gateway_host`, else the host of the public URL, else where the cloud listens.

    Names are resolved now. Raises `UsageError` for a `gateway_host` without an IPv4 address.
    """
    if gateway_host is not None:
        found = await _resolve(gateway_host)
        if found is None:
            raise UsageError(f"{gateway_host!r} has no IPv4 address: devices need one to open their consoles")
        return found
    if public_url is not None:
        name = urlsplit(public_url).hostname or ""
        found = await _resolve(name)
        if found is not None:
            return found
        _log.warning("%s has no IPv4 address here: give --gateway-host, or consoles may not open", name)
    return LOCAL if listening == ANY else await _resolve(listening) or listening


async def _resolve(name: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])
