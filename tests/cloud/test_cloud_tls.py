"""The reference cloud over TLS, with a whole device on it, on both brokers."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from cloud_helpers import SN, write_package

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import V2_0_0
from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.tls_context import TlsFileError
from flash_images import samples
from sim.board import Board, furnish, make_board
from sim.certs import CertificatePlan, MadeCertificates, make_certificates
from sim.cloud.client import AdminClient
from sim.cloud.rollout import Selection
from sim.cloud.server import BrokerKind, CloudConfig, CloudServer
from sim.cloud.tls import ServerTls
from sim.device import Device
from sim.flash.layout import load_board

PATIENCE = 30.0  # seconds for anything awaited here
LIMITS = Limits(activation_attempts=1, mqtt_reconnect=0.05, download_retry=0.05)
LAYOUT = load_board("iot-board")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> MadeCertificates:
    today = datetime.now(UTC).replace(tzinfo=None)
    return make_certificates(tmp_path_factory.mktemp("ca"), CertificatePlan(devices=(SN,)), today)


@pytest.fixture(scope="module")
def server_tls(certificates: MadeCertificates) -> ServerTls:
    return ServerTls(
        certificates.server.certificate, certificates.server.key, client_ca=certificates.ca.certificate
    )


@pytest.fixture(scope="module")
def device_tls(certificates: MadeCertificates) -> TlsSettings:
    own = certificates.devices[SN]
    return TlsSettings(ca=certificates.ca.certificate, client_cert=own.certificate, client_key=own.key)


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server_tls: ServerTls
) -> Iterator[CloudServer]:
    kind: BrokerKind = request.param
    config = CloudConfig(tmp_path_factory.mktemp(kind), http_port=0, mqtt_port=0, broker=kind, tls=server_tls)
    with CloudServer(config) as server:
        yield server


@pytest.fixture(scope="module")
def operator(secure: CloudServer) -> Iterator[AdminClient]:
    with contextlib.closing(AdminClient(secure.admin_url, secure.admin_token)) as client:
        client.create_product("lamps")
        yield client


def new_board() -> Board:
    board = make_board(LAYOUT)
    furnish(board, app_version="1.0.0")
    return board


class Runner:
    """A device in a thread."""

    def __init__(self, port: Port, board: Board, **options: object) -> None:
        self.text: list[str] = []
        self.device = Device(board, port, limits=LIMITS, console=self.text.append, **options)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.device.run, daemon=True)

    def __enter__(self) -> "Runner":
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.device.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    @property
    def console(self) -> str:
        return "".join(self.text)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def make_port(server: CloudServer, operator: AdminClient, sn: str, tls: TlsSettings) -> Port:
    operator.add_device("lamps", sn)
    product = operator.show_product("lamps", keys=True)
    return Port(
        sn, product["product_id"], product["product_key"], server.activation_url, server.mqtt_url, tls
    )


def test_upgrade_from_activation_to_report_over_tls(
    secure: CloudServer, operator: AdminClient, device_tls: TlsSettings, tmp_path: Path
) -> None:
    assert secure.activation_url.startswith("https://")
    assert secure.mqtt_url.startswith("mqtts://")
    port = make_port(secure, operator, "U1", device_tls)
    raw = samples.application("2.0.0", link_address=LAYOUT.app.link_address, size=5000)
    firmware = operator.upload_firmware(write_package(tmp_path, "app", "2.0.0", raw), "lamps")
    with Runner(port, new_board()) as runner:
        wait_until(lambda: operator.show_device("U1")["version"] is not None)
        task = operator.create_task("lamps", firmware_ids=[firmware["id"]], selection=Selection(("U1",)))
        wait_until(lambda: operator.show_task(task["id"])["devices"][0]["state"] == "done")
    assert "Verify 'app' partition(fw ver: 2.0.0" in runner.console
    assert "[E/tls]" not in runner.console


def test_device_without_certificate_is_not_let_in(
    secure: CloudServer, operator: AdminClient, device_tls: TlsSettings
) -> None:
    port = make_port(secure, operator, "U2", replace(device_tls, client_cert=None, client_key=None))
    runner = Runner(port, new_board())
    runner.device.run()  # gives up
    assert operator.show_device("U2")["state"] != "activated"
    assert "Device activate failed! HTTP response error !" in runner.console


def test_broker_refuses_a_device_without_certificate(
    secure: CloudServer, operator: AdminClient, device_tls: TlsSettings
) -> None:
    port, board = make_port(secure, operator, "U3", device_tls), new_board()
    with Runner(port, board):
        wait_until(lambda: operator.show_device("U3")["online"])
    wait_until(lambda: not operator.show_device("U3")["online"])
    port.tls = replace(device_tls, client_cert=None, client_key=None)
    with Runner(port, board) as runner:
        wait_until(lambda: runner.console.count("MQTT connection is disconnect!") > 1)
    assert "MQTT server connect success" not in runner.console
    assert not operator.show_device("U3")["online"]


def test_plain_clients_get_nowhere(secure: CloudServer, certificates: MadeCertificates) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(secure.http_url.replace("https", "http"), timeout=5)
    with pytest.raises(requests.ConnectionError):
        requests.get(secure.http_url, verify=str(certificates.ca.certificate), timeout=5)


def test_local_tools_need_no_certificate(secure: CloudServer, operator: AdminClient) -> None:
    assert secure.admin_url.startswith("http://127.0.0.1:")
    assert operator.list_products()[0]["name"] == "lamps"


def test_firmware_without_tls_is_refused_at_once(
    secure: CloudServer, operator: AdminClient, device_tls: TlsSettings
) -> None:
    port = make_port(secure, operator, "U4", TlsSettings())
    with pytest.raises(TlsUnsupportedError, match=r"profile v2\.0\.0 has no TLS"):
        Device(new_board(), port, profile=V2_0_0, console=lambda _text: None)


@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
@pytest.mark.parametrize("wrong", ["certificate", "key", "client_ca"])
def test_server_files_that_cannot_be_used(
    server_tls: ServerTls, tmp_path: Path, broker: BrokerKind, wrong: str
) -> None:
    (tmp_path / "bad.pem").write_text("nonsense")
    tls = replace(server_tls, **{wrong: tmp_path / "bad.pem"})
    config = CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, broker=broker, tls=tls)
    with pytest.raises(TlsFileError, match=r"bad\.pem"):
        CloudServer(config).start()
