"""A fleet over TLS: the whole way in, refusals on the console, sessions that are taken up again."""

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fleet_rig import until

from cloudsdk.limits import Limits
from cloudsdk.tls import TlsSettings
from sim.certs import CertificatePlan, MadeCertificates, make_certificates
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.tls import ServerTls
from sim.fleet.events import Phase
from sim.fleet.fleet import Fleet, FleetConfig
from sim.fleet.identities import Population, numbered
from sim.fleet.sockets import Sockets

NUMBERS = numbered("LAMP#", 5)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> MadeCertificates:
    today = datetime.now(UTC).replace(tzinfo=None)
    return make_certificates(tmp_path_factory.mktemp("ca"), CertificatePlan(), today)


@pytest.fixture
def cloud(tmp_path: Path, certificates: MadeCertificates) -> Iterator[CloudServer]:
    tls = ServerTls(certificates.server.certificate, certificates.server.key)
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, tls=tls)) as running:
        yield running


def fleet_with(cloud: CloudServer, tls: TlsSettings, console: list[str]) -> Fleet:
    admin = AdminClient(cloud.admin_url, cloud.admin_token)
    product = admin.create_product("lamp")
    for sn in NUMBERS:
        admin.add_device("lamp", sn)
    admin.close()
    return Fleet(
        FleetConfig(
            [Population(product["product_id"], NUMBERS)],
            {product["product_id"]: product["product_key"]},
            cloud.activation_url,
            cloud.mqtt_url,
            tls=tls,
            boot_time=0.01,
            limits=Limits(activation_attempts=1),
            console=lambda _sn, text: console.append(text),
        )
    )


def test_all_come_online_over_tls(cloud: CloudServer, certificates: MadeCertificates) -> None:
    fleet = fleet_with(cloud, TlsSettings(ca=certificates.ca.certificate), [])
    asyncio.run(until(fleet, lambda: fleet.metrics.phases[Phase.ONLINE] == len(NUMBERS)))
    assert cloud.mqtt_url.startswith("mqtts:")
    assert not fleet.metrics.causes


def test_an_unknown_ca_is_refused_on_the_console(cloud: CloudServer) -> None:
    console: list[str] = []
    fleet = fleet_with(cloud, TlsSettings(), console)
    asyncio.run(until(fleet, lambda: fleet.metrics.phases[Phase.FAILED] == len(NUMBERS)))
    assert "refused: unknown CA" in "".join(console)
    assert "refused: unknown CA" in fleet.state(NUMBERS[0]).cause


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_second_connection_resumes_the_session_of_the_first(
    certificates: MadeCertificates, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    context.maximum_version = version

    async def run() -> list[bool]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        sockets = Sockets(loop, TlsSettings(ca=certificates.ca.certificate), 4)
        resumed = []
        for _ in range(2):
            transport = await sockets.open(asyncio.Protocol(), "127.0.0.1", port, tls=True)
            resumed.append(transport.get_extra_info("ssl_object").session_reused)
            await asyncio.sleep(0.3)  # longer than the ticket is waited for
            transport.abort()
        server.close()
        return resumed

    assert asyncio.run(run()) == [False, True]
