"""Binding by QR code (cloudsdk-protocol 8), and requests to the API of products and devices."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cloud_helpers import raw_request
from registry_helpers import Clock, as_account, audited, refused

from cloudsdk.activation import mqtt_password
from sim.cloud.client import AdminClient
from sim.cloud.errors import DevicesRefusedError, ForbiddenError
from sim.cloud.model.work import Scope
from sim.cloud.qr import qr_image, qr_terminal
from sim.cloud.rate import MAX_ADDRESSES, RateLimit
from sim.cloud.server import CloudServer
from sim.cloud.service import Service
from sim.cloud.shapes import DeviceFilter, DeviceState, ProductInfo


def ask(server: CloudServer, sn: str) -> tuple[int, dict[str, str], bytes]:
    """The original's question, verbatim; status, headers as spelled, body."""
    request = f"GET /devices?sn={sn} HTTP/1.1\r\nHost: 10.0.0.5\r\nUser-Agent: RT-Thread HTTP Agent\r\n"
    answer = raw_request(server.http_url, f"{request}Connection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.fixture
def fresh(server: CloudServer, admin: AdminClient) -> Iterator[str]:
    """The DeviceID of a device of the running server, with SN QR1."""
    product = admin.create_product("bound", device_limit=10)["product_id"]
    yield admin.add_device(product, "QR1")["device_id"]
    admin.delete_product(product, cascade=True)


# At the service


def test_window_closes_by_itself(service: Service, product: ProductInfo, clock: Clock) -> None:
    device = service.add_device("lamp", "SN1")["device_id"]
    assert service.binding_url("SN1")["bind_until"] is None
    assert refused(service.hand_out, "SN1", "10.0.0.1") == "cloud.unknown-device"
    assert service.bind_device("SN1", seconds=60)["bind_until"] == int(clock.now) + 60
    clock.now += 59
    product_id, ids = service.hand_out("SN1", "10.0.0.1")
    assert (product_id, ids.device_id) == (product["product_id"], device)
    clock.now += 1
    assert refused(service.hand_out, "SN1", "10.0.0.1") == "cloud.unknown-device"
    assert service.binding_url("SN1")["bind_until"] is None
    assert audited(service)[-2:] == ["device.bind-window", "device.bind"]


def test_window_closes_when_the_device_logs_in(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    service.bind_device("SN1")
    _, ids = service.hand_out("SN1", "10.0.0.1")
    assert service.hand_out("SN1", "10.0.0.1")[1] == ids  # its first answer may have been lost
    service.device_connected(ids.device_id, "10.0.0.1")
    assert refused(service.hand_out, "SN1", "10.0.0.1") == "cloud.unknown-device"


def test_window_is_closed_by_hand(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    service.bind_device("SN1")
    assert service.bind_device("SN1", seconds=0)["bind_until"] is None
    assert refused(service.hand_out, "SN1", "10.0.0.1") == "cloud.unknown-device"
    for seconds in (-1, 3601, True, "5"):
        assert refused(service.bind_device, "SN1", seconds=seconds) == "cloud.bad-request", seconds


def test_handing_out_is_the_activation(service: Service, product: ProductInfo, clock: Clock) -> None:
    service.add_device("lamp", "SN1")
    service.bind_device("SN1")
    _, ids = service.hand_out("SN1", "10.0.0.1")
    shown = service.show_device("SN1")
    assert (shown["state"], shown["activated_at"]) == ("activated", int(clock.now))
    assert service.login(ids.device_id, mqtt_password(ids.device_key).encode()) == product["product_id"]


def test_an_sn_that_is_bound_twice_is_nobodys(service: Service, product: ProductInfo) -> None:
    service.create_product("other")
    for name in ("lamp", "other"):
        service.add_device(name, "SN1")
        service.bind_device("SN1", product=name)
    assert refused(service.hand_out, "SN1", "10.0.0.1") == "cloud.unknown-device"
    service.bind_device("SN1", product="other", seconds=0)
    assert service.hand_out("SN1", "10.0.0.1")[0] == product["product_id"]


def test_window_needs_the_scope_for_keys(service: Service) -> None:
    anna = as_account(service, "anna", frozenset({Scope.READ, Scope.MANAGE}))
    anna.create_product("lamp")
    anna.add_device("lamp", "SN1")
    with pytest.raises(ForbiddenError):
        anna.bind_device("SN1")
    assert anna.binding_url("SN1")["url"].endswith("/m/#/login?sn=SN1")


def test_binding_url_quotes_the_sn(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "a&b #1")
    assert service.binding_url("a&b #1")["url"] == "http://127.0.0.1:8090/m/#/login?sn=a%26b%20%231"


# Over HTTP


def test_device_gets_its_keys_while_the_window_is_open(
    server: CloudServer, admin: AdminClient, fresh: str
) -> None:
    assert ask(server, "QR1")[0] == 404
    admin.bind_device("QR1")
    status, headers, body = ask(server, "QR1")
    assert status == 200
    assert int(headers["Content-Length"]) == len(body) < 256
    answer = json.loads(body)
    assert list(answer) == ["ProductId", "DeviceId", "DeviceKey"]
    assert answer["ProductId"] == admin.show_product("bound")["product_id"]
    assert answer["DeviceId"] == fresh
    assert answer["DeviceKey"] == admin.device_key(fresh)["device_key"]


def test_refusal_is_never_an_empty_body(server: CloudServer, fresh: str) -> None:
    unknown, unbound = ask(server, "NOSUCH"), ask(server, "QR1")
    assert unknown[2] == unbound[2]
    for status, headers, body in (unknown, unbound, ask(server, ""), ask(server, "x" * 65)):
        assert status in (400, 404)
        assert int(headers["Content-Length"]) == len(body) > 0
    head = requests.head(server.http_url + "/devices?sn=QR1", timeout=5)
    assert head.status_code == 405
    assert requests.get(server.http_url + "/devices", timeout=5).status_code == 400


def test_asking_too_often_is_refused(server: CloudServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimit, "allow", lambda *_: False)
    status, headers, body = ask(server, "QR1")
    assert status == 429
    assert int(headers["Content-Length"]) == len(body)
    assert json.loads(body)["code"] == "cloud.too-many-requests"


def test_rate_limit_lets_a_burst_through_and_fills_up_again() -> None:
    limit = RateLimit(burst=3, rate=0.5)
    assert [limit.allow("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.allow("b", 0.0)
    assert not limit.allow("a", 1.9)
    assert limit.allow("a", 2.0)
    assert [limit.allow("a", 1000.0) for _ in range(4)] == [True, True, True, False]


def test_rate_limit_remembers_a_bounded_number_of_addresses() -> None:
    limit = RateLimit(burst=1, rate=0.001)
    for number in range(MAX_ADDRESSES + 5):
        limit.allow(str(number), 0.0)
    assert len(limit._buckets) == MAX_ADDRESSES
    assert limit.allow("0", 0.0)


def test_qr_images_are_images() -> None:
    url = "http://127.0.0.1:8090/m/#/login?sn=SN1"
    assert qr_image(url, "svg").lstrip().startswith(b"<?xml")
    assert qr_image(url, "png").startswith(b"\x89PNG")
    lines = qr_terminal(url).splitlines()
    assert len({len(line) for line in lines}) == 1


def call(server: CloudServer, method: str, path: str, **arguments: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.admin_token}", **arguments.pop("headers", {})}
    return requests.request(
        method, f"{server.http_url}/api/v1{path}", headers=headers, timeout=10, **arguments
    )


def test_qr_code_comes_as_svg_and_png(server: CloudServer, fresh: str) -> None:
    for kind, media in (("svg", "image/svg+xml"), ("png", "image/png")):
        answer = call(server, "GET", f"/devices/{fresh}/qr.{kind}")
        assert answer.headers["Content-Type"] == media
        assert answer.content == qr_image(f"{server.http_url}/m/#/login?sn=QR1", kind)  # type: ignore[arg-type]
    assert call(server, "GET", f"/devices/{fresh}/qr.gif").status_code == 400
    assert call(server, "GET", "/devices/nosuch/qr.svg").status_code == 404


def test_patch_changes_only_what_is_given(server: CloudServer, fresh: str) -> None:
    path = f"/devices/{fresh}"
    assert call(server, "PATCH", path, json={"name": "n", "tags": ["a"]}).json()["tags"] == ["a"]
    changed = call(server, "PATCH", path, json={"description": "d"}).json()
    assert (changed["name"], changed["tags"], changed["description"]) == ("n", ["a"], "d")
    product = f"/products/{changed['product_id']}"
    assert call(server, "PATCH", product, json={"model": "m"}).json()["name"] == "bound"
    for bad in ({"state": "activated"}, {"name": None}, {"name": 5}, {"tags": "a"}, [], {"device_key": "x"}):
        answer = call(server, "PATCH", path, json=bad)
        assert (answer.status_code, answer.json()["code"]) == (400, "cloud.bad-request"), bad
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_delete_answers_204_without_a_body(server: CloudServer, admin: AdminClient, fresh: str) -> None:
    answer = call(server, "DELETE", f"/devices/{fresh}")
    assert (answer.status_code, answer.content) == (204, b"")
    again = call(server, "DELETE", f"/devices/{fresh}")
    assert (again.status_code, again.json()["code"]) == (404, "cloud.unknown-device")


def test_client_does_what_the_operations_do(
    admin: AdminClient, server: CloudServer, fresh: str, tmp_path: Path
) -> None:
    assert admin.add_devices("bound", b"sn,tags\nT1,a\nT2,a\n")["added"] == 2
    with pytest.raises(DevicesRefusedError) as error:
        admin.add_devices("bound", b"sn\nT1\nT3\n")
    assert [problem["row"] for problem in error.value.rows] == [2]
    page = admin.page_devices(DeviceFilter(product="bound", tag="a"), limit=1)
    assert ([row["sn"] for row in page["items"]], page["next"] is None) == (["T1"], False)
    assert page["next"] is not None
    page = admin.page_devices(DeviceFilter(product="bound", tag="a"), after=page["next"], limit=1)
    assert ([row["sn"] for row in page["items"]], page["next"]) == (["T2"], None)
    assert [row["sn"] for row in admin.list_devices("bound")] == ["QR1", "T1", "T2"]
    wanted = DeviceFilter(product="bound", online=False, state=DeviceState.INACTIVE, search="t")
    assert admin.count_devices(wanted) == {"total": 2, "activated": 0, "online": 0}
    assert admin.list_tags("bound") == [{"tag": "a", "devices": 2}]
    assert admin.update_device("T1", name="n")["name"] == "n"
    assert admin.publish_device("T1")["published"]
    assert admin.binding_url("T1")["url"] == f"{server.http_url}/m/#/login?sn=T1"
    admin.delete_device("T1")
    assert refused(admin.show_device, "T1") == "cloud.unknown-device"
    assert admin.update_product("bound", model="m")["model"] == "m"
    assert len(admin.product_key("bound")["product_key"]) == 36
    assert refused(admin.delete_product, "bound") == "cloud.not-empty"
    assert [row["name"] for row in admin.page_products(search="boun")["items"]] == ["bound"]
    other = admin.create_product("frozen")["product_id"]
    assert admin.publish_product("frozen")["published"]
    assert refused(admin.update_product, other, name="x") == "cloud.published"


def test_table_over_http_is_bounded(server: CloudServer, fresh: str) -> None:
    answer = call(server, "POST", "/devices/import?product=bound", data=b"sn\n" + b"1\n" * 1_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "cloud.too-large")
    whole = b"sn,description\n" + b"".join(b"L%d,%s\n" % (number, b"x" * 500) for number in range(4000))
    answer = call(server, "POST", "/devices/import?product=bound", data=whole)  # of 2 MB, read to its end
    assert answer.json()["code"] == "cloud.device-limit"
