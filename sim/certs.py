"""A test CA with certificates for a server and for devices. For tests only: nobody looks after its key."""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import PRIVATE, create_whole
from cloudsdk.tls import MAX_SERVER_NAME

CA_DAYS: Final = 3650  # days the CA is valid, or as long as its certificates
EARLIEST: Final = datetime(1950, 1, 1)  # UTC; the first year of a UTCTime (RFC 5280 4.1.2.5.1)
MAX_DAYS: Final = 36500
LOCAL_NAMES: Final = ("localhost", "127.0.0.1")
_BACKDATED: Final = timedelta(hours=1)  # clocks differ
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_DNS_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


class CertificateExistsError(CloudSdkError):
    """A file that would be replaced."""

    code: ClassVar[str] = "certs.exists"


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    """What is made. `names` are DNS names and IP addresses of the server besides those of this machine;
    `devices` are SNs; `days` is how long certificates are valid. `expired` ones ended an hour ago, the CA
    did not. Raises `UsageError` for what no certificate or file could be named."""

    names: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    days: int = 365
    expired: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.days <= MAX_DAYS:
            raise UsageError(f"certificates are valid for 1 to {MAX_DAYS} days")
        for name in self.names:
            _general_name(name)
        for sn in self.devices:
            if not _FILE_NAME.fullmatch(sn):
                raise UsageError(
                    f"SN {sn!r} cannot name a file: use up to 32 letters, digits and _ . -, not . or - first"
                )


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Certificate and key of one subject, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class MadeCertificates:
    ca: CertificateFiles
    server: CertificateFiles
    devices: dict[str, CertificateFiles]  # by SN


@dataclass(frozen=True, slots=True)
class _Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(directory: Path, plan: CertificatePlan, now: datetime) -> MadeCertificates:
    """Write them into `directory`, which is made if there is none; keys have mode 0600.

    `now` is UTC without a time zone. Raises `CertificateExistsError` before anything is written, and
    `UsageError` when the directory cannot be used or expired certificates would begin before 1950.
    """
    start, end = now - _BACKDATED, now + timedelta(days=plan.days)
    if plan.expired:
        end = now - _BACKDATED
        start = end - timedelta(days=plan.days)
        if start < EARLIEST:
            raise UsageError(f"no certificate begins before {EARLIEST.year}: take fewer days")
    made = MadeCertificates(
        _files(directory, "ca"),
        _files(directory, "server"),
        {sn: _files(directory, f"device-{sn}") for sn in plan.devices},
    )
    for files in (made.ca, made.server, *made.devices.values()):
        for path in (files.certificate, files.key):
            if path.exists() or path.is_symlink():
                raise CertificateExistsError(f"{str(path)!r} exists: choose another directory or remove it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make directory {str(directory)!r}: {error.strerror}") from None
    authority = _authority(start, now + timedelta(days=max(CA_DAYS, plan.days)))
    _write(made.ca, authority)
    names = tuple(dict.fromkeys((*LOCAL_NAMES, *plan.names)))
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    server = _builder(names[0], start, end).add_extension(alternative, critical=False)
    _write(made.server, _issue(server, ExtendedKeyUsageOID.SERVER_AUTH, authority))
    for sn, files in made.devices.items():
        _write(files, _issue(_builder(sn, start, end), ExtendedKeyUsageOID.CLIENT_AUTH, authority))
    return made


def _files(directory: Path, name: str) -> CertificateFiles:
    return CertificateFiles(directory / f"{name}.pem", directory / f"{name}.key")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if len(name) > MAX_SERVER_NAME or not _DNS_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is neither a host name nor an IP address") from None
        return x509.DNSName(name)


def _builder(name: str, start: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _authority(start: datetime, end: datetime) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("cloudsim test CA", start, end)
    certificate = (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudsim test CA")]))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Issued(certificate, key)


def _issue(builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier, authority: _Issued) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        builder.issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    return _Issued(certificate, key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(files: CertificateFiles, issued: _Issued) -> None:
    key = issued.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    create_whole(files.key, key, mode=PRIVATE)
    create_whole(files.certificate, issued.certificate.public_bytes(serialization.Encoding.PEM))
