"""`TlsSettings` as an `ssl` context, and its failures as one line each."""

import ssl
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from cloudsdk.errors import CloudSdkError
from cloudsdk.files import open_regular
from cloudsdk.tls import TlsSettings, TlsVersion

MAX_PEM: Final = 1 << 20  # bytes of a file with certificates or a key
_MINIMUM: Final = {
    TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3,
}
#: X509_V_ERR codes (OpenSSL, x509_vfy.h) in the words of this project.
_REFUSALS: Final = {
    9: "not valid yet",
    10: "expired",
    18: "unknown CA",  # self-signed
    19: "unknown CA",  # self-signed, at the end of the chain
    20: "unknown CA",
    21: "unknown CA",  # one certificate that leads nowhere
    62: "issued for another host",
    64: "issued for another host",  # an IP address
}
_REASONS: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server wants another TLS version",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server refuses, perhaps for want of a client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not know the CA of the client certificate",
    "UNSUPPORTED_PROTOCOL": "the server speaks only older TLS versions",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection",
}


class TlsFileError(CloudSdkError):
    """A certificate or key file that cannot be used."""

    code: ClassVar[str] = "tls.file"
    exit_status: ClassVar[int] = 2


class NamedContext(ssl.SSLContext):
    """Asks for and checks one name, whatever address the libraries connect to."""

    server_name: str

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *args, **{**options, "server_hostname": self.server_name})


_Context = TypeVar("_Context", bound=NamedContext)


def client_context(
    settings: TlsSettings,
    host: str,
    kind: type[_Context] = NamedContext,  # type: ignore[assignment]
) -> _Context:
    """A context for connections to `host`, the host of the URL.

    Raises `TlsFileError` for files that cannot be read or hold something else.
    """
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = settings.server_name or host
    context.check_hostname = settings.check_server_name
    context.minimum_version = _MINIMUM[settings.minimum]
    if settings.ca is not None:
        trust(context, settings.ca)
    else:
        context.load_default_certs()
    if settings.client_cert is not None and settings.client_key is not None:
        present(context, settings.client_cert, settings.client_key)
    return context


def trust(context: ssl.SSLContext, ca: Path) -> None:
    """Trust the CAs in a PEM file. Raises `TlsFileError`."""
    try:
        context.load_verify_locations(cadata=_read(ca).decode("ascii"))
    except (ssl.SSLError, ValueError):  # nothing in it, or not ASCII
        raise TlsFileError(f"{str(ca)!r} holds no CA certificates in PEM form") from None


def present(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Show a certificate to the other side. Raises `TlsFileError`."""
    if b"PRIVATE KEY-----" not in _read(key):
        raise TlsFileError(f"{str(key)!r} holds no private key in PEM form")
    if b"BEGIN CERTIFICATE-----" not in _read(certificate):
        raise TlsFileError(f"{str(certificate)!r} holds no certificate in PEM form")
    try:
        # A password is never asked for: OpenSSL would do so on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):  # `ssl.SSLError` is an OSError
        raise TlsFileError(
            f"certificate {str(certificate)!r} and key {str(key)!r} cannot be used: they must belong "
            "together, and the key must not be encrypted"
        ) from None


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_PEM + 1)
    except OSError as error:
        raise TlsFileError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if len(content) > MAX_PEM:
        raise TlsFileError(f"{str(path)!r} has more than {MAX_PEM} bytes: it is no PEM file")
    return content


def tls_failure(error: BaseException, peer: str) -> str | None:
    """One line about what TLS refused at `peer` (`host:port`); None if `error` came from something else.

    Libraries wrap the error: what it was caused by and what it carries is searched as well.
    """
    found = _find(error)
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        why = _REFUSALS.get(found.verify_code, found.verify_message)
        return f"certificate of {peer} refused: {why}"
    reason = found.reason or "UNEXPECTED_EOF_WHILE_READING"
    known = _REASONS.get(reason)
    return f"no TLS with {peer}: {known or reason.replace('_', ' ').lower()}"


def _find(error: BaseException) -> ssl.SSLError | None:
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        if isinstance(each, ssl.SSLError):
            return each
        seen.add(id(each))
        waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
    return None
