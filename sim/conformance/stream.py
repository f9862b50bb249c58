"""A connection to a server, bounded by the time of its case."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError
from sim.conformance.scope import Scope

CONNECT_TIMEOUT: Final = 6.0  # seconds; the original's socket timeout (cloudsdk-protocol 1.2)
_PIECE: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883, "tcp": 1883}
_SECURE: Final = ("https", "mqtts")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and the path of its URL. `ca` is a PEM file of trusted CAs."""

    host: str
    port: int
    path: str = "/"
    secure: bool = False
    ca: Path | None = None

    @classmethod
    def of(cls, url: str, ca: Path | None = None) -> "Address":
        """Raises `UsageError` for what is not a URL of a known scheme."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise UsageError("the URL is not one: give scheme://host:port") from None
        if not port or not parts.hostname:
            raise UsageError(f"the URL must look like scheme://host:port, scheme one of {', '.join(_PORTS)}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, port, path, parts.scheme in _SECURE, ca)


class Stream:
    """A TCP connection, with TLS where the address wants it."""

    def __init__(self, scope: Scope, address: Address) -> None:
        self._scope = scope
        connection = socket.create_connection(
            (address.host, address.port), timeout=scope.at_most(CONNECT_TIMEOUT)
        )
        if address.secure:
            context = ssl.create_default_context(cafile=str(address.ca) if address.ca else None)
            connection = context.wrap_socket(connection, server_hostname=address.host)
        scope.own(connection)
        self._socket = connection

    def send(self, data: bytes) -> None:
        self._socket.settimeout(self._scope.remaining())
        self._socket.sendall(data)

    def receive(self, seconds: float) -> bytes | None:
        """What has come, b"" at the end of the stream, None if nothing came within `seconds`."""
        self._socket.settimeout(max(self._scope.at_most(seconds), 0.001))
        try:
            return self._socket.recv(_PIECE)
        except TimeoutError:
            return None

    def finish(self) -> None:
        """Half-close: nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()
