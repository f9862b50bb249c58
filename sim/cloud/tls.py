"""TLS of the cloud: for devices over HTTP and MQTT alike."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cloudsdk.errors import UsageError
from cloudsdk.tls_context import present, trust


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files: the server's certificate and key; with `client_ca`, devices must show a certificate of it.

    Raises `UsageError` for a path that cannot stand in Mosquitto's configuration.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key, self.client_ca):
            if path is not None and not str(path.absolute()).isprintable():
                raise UsageError(f"the path {str(path)!r} has characters that cannot be printed: rename it")

    def context(self) -> ssl.SSLContext:
        """For a listener. Raises `TlsFileError` for files that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        present(context, self.certificate, self.key)
        if self.client_ca is not None:
            trust(context, self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
