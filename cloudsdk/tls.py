"""What a device's TLS needs to know: pure data, carried out by `cloudsdk.tls_context`."""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError, UsageError

MAX_SERVER_NAME: Final = 253  # characters of a DNS name (RFC 1035 2.3.4, without the root)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


class TlsUnsupportedError(CloudSdkError):
    """TLS is asked for where the firmware has none."""

    code: ClassVar[str] = "tls.unsupported"
    exit_status: ClassVar[int] = 2


class TlsVersion(StrEnum):
    """The oldest version of the protocol that is spoken."""

    V1_2 = "1.2"
    V1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a device checks servers and shows itself to them.

    `ca` is a PEM file with the CAs that are trusted; without one, those of the system are. `client_cert` and
    `client_key` are PEM files that belong together. A certificate must be for `server_name` or, without one,
    for the host of the URL; with `check_server_name` off any name will do, the CA is checked all the same.
    Raises `UsageError` for what cannot be.
    """

    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    minimum: TlsVersion = TlsVersion.V1_2
    server_name: str | None = None
    check_server_name: bool = True

    def __post_init__(self) -> None:
        if (self.client_cert is None) != (self.client_key is None):
            raise UsageError("a client certificate and its key go together: give both or none")
        name = self.server_name
        if name is not None and not _is_host(name):
            raise UsageError(f"TLS server name {name!r} is neither a host name nor an IP address")


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return len(name) <= MAX_SERVER_NAME and _HOST_NAME.fullmatch(name) is not None
    return True
