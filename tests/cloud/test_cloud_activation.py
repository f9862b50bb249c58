"""Activation and firmware over HTTP, as the original client sees it (cloudsdk-protocol 1 and 3.3)."""

import hashlib
import json
import logging
import re
import socket
import struct
from pathlib import Path

import pytest
import requests
from cloud_helpers import SN, encrypted, raw_request, write_package

from cloudsdk.activation import Credentials, parse_response, request_body, sign
from cloudsdk.ota.pack import pack
from sim.cloud.client import AdminClient
from sim.cloud.datadir import DataDir
from sim.cloud.firmware import entity_tag
from sim.cloud.model import devices, library, transfers
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo, TransferInfo


def original_request(body: bytes) -> bytes:
    """The request of 1.2, byte for byte; the server closes after it only because it is told to."""
    head = (
        "POST /devices/active HTTP/1.1\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        "Host: 118.31.42.51\r\n"
        "User-Agent: RT-Thread HTTP Agent\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode() + body


def activation(product: ProductInfo, sn: str = SN) -> bytes:
    return request_body(product_id=product["product_id"], product_key=product["product_key"], sn=sn)


def activate(server: CloudServer, body: bytes) -> tuple[int, bytes]:
    head, _, content = raw_request(server.http_url, original_request(body)).partition(b"\r\n\r\n")
    return int(head.split()[1]), content


@pytest.fixture(scope="module")
def credentials(server: CloudServer, lamp: ProductInfo) -> Credentials:
    status, content = activate(server, activation(lamp))
    assert status == 200
    return parse_response(content)


def test_ids_have_exact_lengths_and_stay_the_same(
    server: CloudServer, lamp: ProductInfo, credentials: Credentials
) -> None:
    assert (len(credentials.device_id), len(credentials.device_key)) == (16, 32)
    status, content = activate(server, activation(lamp))
    expected = f'{{"DeviceId":"{credentials.device_id}","DeviceKey":"{credentials.device_key}"}}'
    assert (status, content.decode()) == (200, expected)


def test_header_names_are_spelt_for_the_original_client(server: CloudServer, lamp: ProductInfo) -> None:
    """It looks for "Content-Length" in exactly this case (1.3)."""
    response = raw_request(server.http_url, original_request(activation(lamp)))
    head, _, content = response.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    fields = dict(line.split(": ", 1) for line in lines[1:])
    assert fields["Content-Length"] == str(len(content))
    assert fields["Content-Type"] == "application/json"
    assert all(re.fullmatch("[A-Z][a-z]*(-[A-Z][a-z]*)*", name) for name in fields)
    assert "Transfer-Encoding" not in fields


def test_activation_is_shown(server: CloudServer, admin: AdminClient, credentials: Credentials) -> None:
    device = admin.show_device(SN)
    assert (device["state"], device["device_id"]) == ("activated", credentials.device_id)
    assert device["activated_at"] is not None
    assert "device_key" not in device
    assert admin.show_device(SN, keys=True)["device_key"] == credentials.device_key


def test_refusals_are_never_200(server: CloudServer, admin: AdminClient, lamp: ProductInfo) -> None:
    good = json.loads(activation(lamp))
    other = admin.create_product("activation-other")
    key = lamp["product_key"]
    cases = {
        "cloud.bad-sign": [
            {**good, "Sign": "0" * 32},
            {**good, "Sign": good["Sign"].upper()},
            {**good, "Sign": sign(key, SN + "x")},
            {**good, "SN": SN[:-1]},
            {**good, "ProductId": other["product_id"]},
        ],
        "cloud.unknown-device": [{**good, "SN": "nobody", "Sign": sign(key, "nobody")}],
        "cloud.unknown-product": [{**good, "ProductId": "0" * 16}],
        "cloud.bad-request": [
            {},
            {**good, "Sign": None},
            {**good, "SN": 1},
            {**good, "SN": ""},
            {**good, "SN": "x" * 65},
            {**good, "SN": "\ud800"},
            {**good, "ProductId": ["x"]},
        ],
    }
    for code, bodies in cases.items():
        for body in bodies:
            status, content = activate(server, json.dumps(body).encode())
            assert (status, json.loads(content)["code"]) == (400, code), body
            assert key.encode() not in content


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xff", b"[" * 4000, b'{"SN":' * 600, b"SN=1&Sign=2", b"9" * 4096],
)
def test_malformed_body_is_refused(server: CloudServer, lamp: ProductInfo, body: bytes) -> None:
    status, content = activate(server, body)
    assert (status, json.loads(content)["code"]) == (400, "cloud.bad-request")


@pytest.mark.parametrize("size", [4097, 300_000])
def test_oversized_body_is_refused(server: CloudServer, lamp: ProductInfo, size: int) -> None:
    body = activation(lamp)
    status, content = activate(server, body + b" " * (size - len(body)))
    assert (status, json.loads(content)["code"]) == (400, "cloud.too-large")


def test_body_of_exactly_the_limit_is_read(server: CloudServer, lamp: ProductInfo) -> None:
    body = activation(lamp)
    assert activate(server, body + b" " * (4096 - len(body)))[0] == 200


def test_wrong_method_and_path_are_not_200(server: CloudServer) -> None:
    wrong = requests.get(server.activation_url, timeout=5)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
    assert requests.post(server.http_url + "/devices/active/", timeout=5).status_code == 404


# Firmware


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = bytes(index * 31 % 253 for index in range(100_001))
    return write_package(tmp_path_factory.mktemp("packages"), "app", "2.0.0", raw)


@pytest.fixture(scope="module")
def url(server: CloudServer, admin: AdminClient, credentials: Credentials, plain: Path) -> str:
    """The URL that the device is sent, taken from the database since no device listens here."""
    firmware = admin.upload_firmware(plain, "lamp")
    admin.create_task("lamp", firmware_ids=[firmware["id"]], selection=Selection((SN,)), version="5.0")
    service = Service(DataDir(server.config.data))
    device = admin.show_device(SN)
    topic = f"/cloud/{device['product_id']}/{device['device_id']}/ota"
    report = b'{"data":[{"DP":1011,"value":{"version":"0.0"}}]}'
    message = service.device_message(device["device_id"], topic, report)[0]
    service.close()
    return str(json.loads(message.payload)["data"][0]["value"]["firmwares"][0]["file_url"])


@pytest.fixture(scope="module")
def whole(plain: Path, credentials: Credentials) -> bytes:
    return encrypted(plain.read_bytes(), credentials.device_key)


def finished(admin: AdminClient, number: int) -> TransferInfo:
    """The transfer with this index, once the server has closed it. It does so right after the response."""
    while True:
        transfers = admin.transfers(SN)
        if len(transfers) > number and transfers[number]["outcome"] != "running":
            return transfers[number]


def test_url_is_built_from_configuration_and_not_from_host(server: CloudServer, url: str) -> None:
    assert url.startswith(server.http_url + "/fw/")


def test_whole_download(url: str, whole: bytes, admin: AdminClient) -> None:
    before = len(admin.transfers(SN))
    response = requests.get(url, headers={"Host": "10.0.0.5"}, timeout=5)
    assert response.status_code == 200
    assert response.content == whole
    assert response.headers["Content-Length"] == str(len(whole))
    assert "Transfer-Encoding" not in response.headers
    transfer = finished(admin, before)
    assert (transfer["status"], transfer["first_byte"], transfer["bytes_sent"], transfer["outcome"]) == (
        200,
        0,
        len(whole),
        "complete",
    )
    assert admin.show_task(1)["devices"][0]["state"] == "installing"


def test_resume_and_its_count(url: str, whole: bytes, admin: AdminClient) -> None:
    before = len(admin.transfers(SN))
    response = requests.get(url, headers={"Range": "bytes=4096-"}, timeout=5)
    assert response.status_code == 206
    assert response.content == whole[4096:]
    assert response.headers["Content-Range"] == f"bytes 4096-{len(whole) - 1}/{len(whole)}"
    transfer = finished(admin, before)
    assert (transfer["status"], transfer["first_byte"], transfer["bytes_sent"]) == (
        206,
        4096,
        len(whole) - 4096,
    )


def test_range_headers_are_spelt_for_the_original_client(url: str) -> None:
    path = url.partition("/fw/")[2]
    request = f"GET /fw/{path} HTTP/1.1\r\nRange: bytes=16-31\r\nHost: h\r\nConnection: close\r\n\r\n"
    head = raw_request(url, request.encode()).partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 206 Partial Content\r\n")
    for name in ("Content-Length", "Content-Type", "Content-Range", "Accept-Ranges", "ETag"):
        assert f"\r\n{name}: " in head


def test_validators_over_http(url: str, whole: bytes, credentials: Credentials, plain: Path) -> None:
    tag = requests.head(url, timeout=5).headers["ETag"]
    assert requests.get(url, headers={"If-None-Match": tag}, timeout=5).status_code == 304
    resumed = {"Range": "bytes=16-"}
    assert requests.get(url, headers={**resumed, "If-Range": tag}, timeout=5).status_code == 206
    assert requests.get(url, headers={**resumed, "If-Range": '"old"'}, timeout=5).content == whole
    beyond = requests.get(url, headers={"Range": f"bytes={len(whole)}-"}, timeout=5)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    assert beyond.headers["Content-Length"] == "0"
    assert tag == entity_tag(credentials.device_key, _sha256(plain))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_head_tells_the_length_and_sends_nothing(url: str, whole: bytes, admin: AdminClient) -> None:
    before = len(admin.transfers(SN))
    response = requests.head(url, timeout=5)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(whole)))
    assert finished(admin, before)["bytes_sent"] == 0


def test_unknown_token_is_404(server: CloudServer) -> None:
    for path in ("/fw/AAAAAAAAAAAAAAAAAAAAAA/app.rbl", "/fw/..%2f..%2fcloud.db/x", "/fw/a", "/fw/%ff/x"):
        assert requests.get(server.http_url + path, timeout=5).status_code == 404


def test_broken_off_download_is_counted_and_resumes(
    server: CloudServer, admin: AdminClient, credentials: Credentials, tmp_path: Path
) -> None:
    """More than the socket buffers hold, so that the server notices."""
    package = tmp_path / "large.rbl"
    raw = bytes(24 * 1024 * 1024)
    package.write_bytes(pack(raw, name="filesystem", version="1", timestamp=1, flavour="qboot"))
    firmware = admin.upload_firmware(package, "lamp")
    service = Service(DataDir(server.config.data))
    token = _token(service, firmware["id"])
    service.close()
    before = len(admin.transfers(SN))
    request = f"GET /fw/{token}/f.rbl HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", int(server.http_url.rpartition(":")[2])), 5) as device:
        # Reset on close, as a device does that loses its power.
        device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        device.sendall(request)
        assert device.recv(1000)
    transfer = finished(admin, before)
    size = package.stat().st_size
    assert transfer["outcome"] == "aborted"
    assert 0 <= transfer["bytes_sent"] < size
    whole = encrypted(package.read_bytes(), credentials.device_key)
    start = size - 100_000
    url = f"{server.http_url}/fw/{token}/f.rbl"
    rest = requests.get(url, headers={"Range": f"bytes={start}-"}, timeout=10).content
    assert rest == whole[start:]


def _token(service: Service, firmware_id: int) -> str:
    """A download without a task."""
    with service.core.work(OPERATOR_CALLER) as work:
        device = devices.find_device(work, SN)
        return transfers.download_token(work, device, library.find_firmware(work, firmware_id))


def test_lost_blob_is_an_error_and_not_a_broken_body(
    server: CloudServer, admin: AdminClient, credentials: Credentials, tmp_path: Path
) -> None:
    firmware = admin.upload_firmware(write_package(tmp_path, "lost", "1"), "lamp")
    service = Service(DataDir(server.config.data))
    token = _token(service, firmware["id"])
    service.blobs.path(firmware["sha256"]).unlink()
    service.close()
    response = requests.get(f"{server.http_url}/fw/{token}/x.rbl", timeout=5)
    assert (response.status_code, response.json()["code"]) == (500, "cloud.storage")


# Secrets


def test_logs_and_reprs_hold_no_secret(
    server: CloudServer,
    admin: AdminClient,
    lamp: ProductInfo,
    credentials: Credentials,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        activate(server, activation(lamp))
        activate(server, json.dumps({**json.loads(activation(lamp)), "Sign": "0" * 32}).encode())
        requests.get(url, timeout=5)
        requests.get(server.http_url + "/api/v1/products", timeout=5)
    secrets = (
        lamp["product_key"],
        credentials.device_key,
        credentials.password,
        server.admin_token,
        sign(lamp["product_key"], SN),
    )
    text = caplog.text + repr(server) + repr(admin) + repr(credentials) + repr(server._endpoint())
    assert "activation refused" in text
    for secret in secrets:
        assert secret not in text
