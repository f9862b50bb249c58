"""Certificates and servers for the tests of TLS."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recorded_cloud import Listener

from cloudsdk.tls import TlsSettings
from sim.certs import CertificateFiles, CertificatePlan, MadeCertificates, make_certificates

SN = "TLS0001"


@dataclass(frozen=True)
class Authorities:
    """Certificates of a good CA, of the same kind but expired, and of a CA that nobody knows."""

    good: MadeCertificates
    expired: MadeCertificates
    foreign: MadeCertificates


def make_authorities(directory: Path) -> Authorities:
    today = datetime.now(UTC).replace(tzinfo=None)
    plans = {
        "good": CertificatePlan(devices=(SN,)),
        "expired": CertificatePlan(expired=True),
        "foreign": CertificatePlan(devices=(SN,)),
    }
    return Authorities(
        **{name: make_certificates(directory / name, plan, today) for name, plan in plans.items()}
    )


def trusting(made: MadeCertificates, **changes: object) -> TlsSettings:
    return TlsSettings(ca=made.ca.certificate, **changes)  # type: ignore[arg-type]


def as_device(made: MadeCertificates, **changes: object) -> TlsSettings:
    """Trusts the CA and shows the certificate that it gave the device."""
    files = made.devices[SN]
    return trusting(made, client_cert=files.certificate, client_key=files.key, **changes)


def tls_listener(
    files: CertificateFiles,
    serve: Callable[[ssl.SSLSocket], None],
    *,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    client_ca: Path | None = None,
) -> Listener:
    """Hands out connections after the handshake. One that fails ends in a FIN: a reset loses the alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.maximum_version = newest
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED

    def accept(connection: socket.socket) -> None:
        with connection.dup() as spare:
            try:
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    serve(wrapped)
            except OSError:
                spare.shutdown(socket.SHUT_WR)
                while spare.recv(4096):
                    pass

    return Listener(accept)
