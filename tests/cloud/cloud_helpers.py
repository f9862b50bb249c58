"""What the cloud tests share: packages, a device's own messages, and plain HTTP over a socket."""

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from postgres import PostgresServer

from cloudsdk.activation import Credentials, request_body
from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.pack import pack
from cloudsdk.ota.transport import cipher, rounded
from sim.cloud.messages import Outgoing
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo

SN = "EF4016D6658466CA3E3610"


def write_package(directory: Path, name: str = "app", version: str = "1.0.0", raw: bytes = bytes(64)) -> Path:
    path = directory / f"{name}-{version}.rbl"
    path.write_bytes(pack(raw, name=name, version=version, timestamp=1529386280))
    return path


def encrypted(plain: bytes, device_key: str) -> bytes:
    """The whole transport body, made in one go."""
    return cipher(device_key).encryptor().update(plain.ljust(rounded(len(plain)), b"\0"))


def online(state: bool) -> bytes:
    return _point(1000, "true" if state else "false")


def version_report(version: str) -> bytes:
    return _point(1011, json.dumps({"version": version}))


def _point(dp: int, value: str) -> bytes:
    return f'{{"device":"d","vendor":"rtt","data":[{{"DP":{dp},"value":{value}}}]}}'.encode()


@dataclass(slots=True)
class Twin:
    """A device at the level of the service: it sends payloads and keeps what comes back."""

    service: Service
    product_id: str
    device_id: str
    answers: list[Outgoing] = field(default_factory=list)

    def send(self, payload: bytes, channel: str = "system", *, stale_will: bool = False) -> list[int]:
        """DP codes of the answers."""
        topic = f"/cloud/{self.product_id}/{self.device_id}/{channel}"
        self.answers = self.service.device_message(self.device_id, topic, payload, stale_will=stale_will)
        prefix = f"/device/{self.product_id}/{self.device_id}/"
        assert all(answer.topic.startswith(prefix) for answer in self.answers)
        return [json.loads(answer.payload)["data"][0]["DP"] for answer in self.answers]

    def boot(self, version: str) -> list[int]:
        """Come online, be asked, report; DP codes of the answers to the report."""
        assert self.send(online(True)) == [1010]
        return self.send(version_report(version), "ota")


def activate(service: Service, product: ProductInfo, sn: str) -> Credentials:
    fields = json.loads(
        request_body(product_id=product["product_id"], product_key=product["product_key"], sn=sn)
    )
    return service.activate(fields["ProductId"], fields["SN"], fields["Sign"])


def twin(service: Service, product: ProductInfo, sn: str) -> Twin:
    service.add_device(product["product_id"], sn)
    return Twin(service, product["product_id"], activate(service, product, sn).device_id)


def raw_request(url: str, request: bytes) -> bytes:
    """Send `request` as it is and return everything up to the end of the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)


def new_database(request: pytest.FixtureRequest, kind: str) -> str | None:
    """What to open a service or server on: None is the SQLite file in its data directory."""
    if kind == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_cloud()


def code_of(call: object, *args: object, **kwargs: object) -> str:
    assert callable(call)
    with pytest.raises(CloudSdkError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return error.value.code
