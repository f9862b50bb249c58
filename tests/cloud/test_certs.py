"""Test certificates, judged by a verifier that is not ours."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from cloudsdk.errors import UsageError
from sim.certs import CertificateExistsError, CertificatePlan, MadeCertificates, make_certificates

NOW = datetime(2026, 3, 1, 12, 0)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def judge(made: MadeCertificates, moment: datetime) -> PolicyBuilder:
    store = Store([certificate(made.ca.certificate)])
    return PolicyBuilder().store(store).time(moment.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "name", ["localhost", "cloud.test", "a.devices.test", "127.0.0.1", "10.0.0.5", "::1"]
)
def test_server_is_known_by_every_name(tmp_path: Path, name: str) -> None:
    plan = CertificatePlan(names=("cloud.test", "*.devices.test", "10.0.0.5", "::1", "cloud.test"))
    made = make_certificates(tmp_path, plan, NOW)
    try:
        subject: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    server = certificate(made.server.certificate)
    judge(made, NOW).build_server_verifier(subject).verify(server, [])
    with pytest.raises(VerificationError):
        judge(made, NOW).build_server_verifier(x509.DNSName("other.test")).verify(server, [])
    with pytest.raises(VerificationError):
        judge(made, NOW).build_client_verifier().verify(server, [])


@pytest.mark.parametrize(
    ("plan", "first", "last"),
    [
        (CertificatePlan(days=10), timedelta(hours=-1), timedelta(days=10)),
        (CertificatePlan(days=10, expired=True), timedelta(days=-10, hours=-1), timedelta(hours=-1)),
    ],
    ids=["valid", "expired"],
)
def test_validity(tmp_path: Path, plan: CertificatePlan, first: timedelta, last: timedelta) -> None:
    made = make_certificates(tmp_path, plan, NOW)
    server = certificate(made.server.certificate)
    second = timedelta(seconds=1)
    for moment, good in ((first - second, False), (first, True), (last, True), (last + second, False)):
        verifier = judge(made, NOW + moment).build_server_verifier(x509.DNSName("localhost"))
        if good:
            verifier.verify(server, [])
        else:
            with pytest.raises(VerificationError):
                verifier.verify(server, [])


def test_one_file_that_is_there_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "device-A.key").symlink_to("nowhere")
    with pytest.raises(CertificateExistsError, match=r"device-A\.key"):
        make_certificates(tmp_path, CertificatePlan(devices=("A",)), NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["device-A.key"]


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot make directory"):
        make_certificates(tmp_path / "file", CertificatePlan(), NOW)
