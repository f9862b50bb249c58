from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_helpers import SN

from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_539_684_200.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    found = Service(DataDir(tmp_path / "cloud"), clock)
    yield found
    found.close()


@pytest.fixture
def product(service: Service) -> ProductInfo:
    return service.create_product("lamp")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    """A cloud on the embedded broker, for the tests of one module."""
    config = CloudConfig(tmp_path_factory.mktemp("cloud"), http_port=0, mqtt_port=0)
    with CloudServer(config) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: CloudServer) -> Iterator[AdminClient]:
    client = AdminClient(server.http_url, server.admin_token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def lamp(admin: AdminClient) -> ProductInfo:
    """A product of the server with one device, `SN`."""
    product = admin.create_product("lamp", device_limit=1000)
    admin.add_device("lamp", SN)
    return product
