from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_helpers import SN, new_database
from postgres import PostgresServer, postgres_server

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Where everything that uses `service` or `server` runs twice."""
    kind: str = request.param
    return kind


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, database: str) -> Iterator[Service]:
    data = DataDir(tmp_path / "cloud")
    url = new_database(request, database)
    if url is not None:
        data.remember_database(url)
    found = Service(data, clock)
    yield found
    found.close()


@pytest.fixture
def product(service: Service) -> ProductInfo:
    return service.create_product("lamp")


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: str
) -> Iterator[CloudServer]:
    """A cloud on the embedded broker, for the tests of one module."""
    url = new_database(request, database)
    config = CloudConfig(tmp_path_factory.mktemp("cloud"), http_port=0, mqtt_port=0, database=url)
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
