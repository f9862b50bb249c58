"""Products: platform 2, row by row."""

import re
from pathlib import Path

import pytest
from cloud_helpers import activate, twin, write_package
from registry_helpers import Clock, as_account, audited, refused
from sqlalchemy import select

from sim.cloud.errors import ForbiddenError, UnknownDownloadError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.model import products, transfers
from sim.cloud.model.tables import Base, Device, Download, Task, TaskDevice, Transfer
from sim.cloud.model.work import OPERATOR_CALLER, Scope
from sim.cloud.rollout import Selection
from sim.cloud.service import Service
from sim.cloud.shapes import Outcome, ProductInfo

GET = FirmwareRequest(method="GET", range=None, if_range=None, if_none_match=None)


def test_2_1_product_is_created_with_all_that_the_page_asks_for(service: Service, clock: Clock) -> None:
    product = service.create_product(
        "Lampe für 灯",
        kind="smart home",
        model="L-1",
        connection="Wi-Fi",
        description="A lamp",
        device_limit=7,
    )
    assert product["product_key"]
    shown = service.show_product(product["product_id"])
    assert shown["name"] == "Lampe für 灯"
    assert (shown["kind"], shown["model"], shown["connection"]) == ("smart home", "L-1", "Wi-Fi")
    assert (shown["description"], shown["device_limit"]) == ("A lamp", 7)
    assert shown["created_at"] == shown["updated_at"] == int(clock.now)


def test_2_2_product_page_counts_devices_activated_and_online(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    activate(service, product, "SN1")
    twin(service, product, "SN2").boot("1.0")
    service.add_device("lamp", "SN3")
    service.create_product("other")
    shown = service.show_product("lamp")
    assert (shown["devices"], shown["activated"], shown["online"]) == (3, 2, 1)
    assert [row["devices"] for row in service.list_products()] == [3, 0]


def test_2_2_product_key_is_shown_on_request_only_and_audited(service: Service, product: ProductInfo) -> None:
    assert "product_key" not in service.show_product("lamp")
    assert "product_key" not in service.page_products()["items"][0]
    assert "product.show-key" not in audited(service)
    assert service.product_key("lamp") == {
        "product_id": product["product_id"],
        "product_key": product["product_key"],
    }
    assert service.show_product("lamp", keys=True)["product_key"] == product["product_key"]
    assert audited(service).count("product.show-key") == 2
    anna = as_account(service, "anna", frozenset({Scope.READ, Scope.MANAGE}))
    with pytest.raises(ForbiddenError):
        anna.product_key(anna.create_product("mine")["product_id"])


def test_2_3_unpublished_product_is_modified_in_part(
    service: Service, product: ProductInfo, clock: Clock
) -> None:
    clock.now += 5
    changed = service.update_product("lamp", name="lantern", device_limit=3)
    assert (changed["name"], changed["device_limit"]) == ("lantern", 3)
    assert changed["product_id"] == product["product_id"]
    assert changed["updated_at"] == product["updated_at"] + 5
    service.update_product("lantern", description="green")
    assert service.show_product("lantern")["device_limit"] == 3
    service.update_product("lantern", name="lantern")


def test_2_3_modified_name_stays_unique(service: Service, product: ProductInfo) -> None:
    service.create_product("other")
    assert refused(service.update_product, "other", name="lamp") == "cloud.duplicate-product"
    assert refused(service.update_product, "other", name="") == "cloud.bad-request"
    assert refused(service.update_product, "other", kind="x\n") == "cloud.bad-request"
    assert service.show_product("other")["kind"] == ""


def test_2_3_published_product_is_neither_modified_nor_deleted(
    service: Service, product: ProductInfo, clock: Clock
) -> None:
    clock.now += 9
    published = service.publish_product("lamp")
    assert (published["published"], published["published_at"]) == (True, int(clock.now))
    clock.now += 1
    assert service.publish_product("lamp") == published
    assert refused(service.update_product, "lamp", description="x") == "cloud.published"
    assert refused(service.delete_product, "lamp", cascade=True) == "cloud.published"
    service.add_device("lamp", "SN1")
    assert activate(service, product, "SN1").device_id


def test_2_4_device_limit_cannot_change_after_publishing(service: Service, product: ProductInfo) -> None:
    service.update_product("lamp", device_limit=5)
    service.publish_product("lamp")
    assert refused(service.update_product, "lamp", device_limit=6) == "cloud.published"
    assert service.show_product("lamp")["device_limit"] == 5


def test_2_5_device_limit_cannot_fall_below_the_devices_there_are(
    service: Service, product: ProductInfo
) -> None:
    service.add_device("lamp", "1")
    service.add_device("lamp", "2")
    assert refused(service.update_product, "lamp", device_limit=1) == "cloud.bad-request"
    service.update_product("lamp", device_limit=2)
    assert refused(service.add_device, "lamp", "3") == "cloud.device-limit"
    service.update_product("lamp", device_limit=3)
    service.add_device("lamp", "3")


def test_product_with_devices_is_deleted_by_cascade_only(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    assert refused(service.delete_product, "lamp") == "cloud.not-empty"
    assert service.show_product("lamp")["devices"] == 1
    service.delete_product("lamp", cascade=True)
    assert refused(service.show_product, "lamp") == "cloud.unknown-product"
    service.create_product("lamp")  # the name is free again


def test_deleted_product_takes_everything_along(
    service: Service, product: ProductInfo, tmp_path: Path
) -> None:
    gone: list[str] = []
    service.core.devices_gone = gone.extend
    own = service.upload_firmware(write_package(tmp_path, "app", "1.0.0"), "lamp")
    shared = service.upload_firmware(write_package(tmp_path, "app", "2.0.0"), "lamp")
    service.create_product("other")
    service.upload_firmware(tmp_path / "app-2.0.0.rbl", "other")
    device = twin(service, product, "SN1")
    service.update_device("SN1", tags=["a"])
    service.create_task("lamp", firmware_ids=[own["id"]], selection=Selection(("SN1",)))
    device.boot("0.0")
    url = re.search(rb'/fw/([^/"]+)/', device.answers[0].payload)
    assert url is not None
    token = url[1].decode()
    opened = service.open_download(token, GET)
    service.delete_product("lamp", cascade=True)
    assert gone == [device.device_id]
    assert not service.blobs.path(own["sha256"]).exists()
    assert service.blobs.path(shared["sha256"]).exists()
    with service.core.work(OPERATOR_CALLER) as work:
        for table in (Device, Task, TaskDevice, Download, Transfer):
            assert work.session.scalars(select(table)).all() == [], table
    with pytest.raises(UnknownDownloadError):
        service.open_download(token, GET)
    service.finish_transfer(opened.transfer, 5, Outcome.ABORTED)  # its download was still running
    assert device.send(b"{}") == []


def test_of_a_devices_transfers_the_latest_stay(
    service: Service, product: ProductInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "MAX_TRANSFERS", 3)
    firmware = service.upload_firmware(write_package(tmp_path), "lamp")
    tokens = []
    for sn in ("SN1", "SN2"):
        device = twin(service, product, sn)
        service.create_task("lamp", firmware_ids=[firmware["id"]], selection=Selection((sn,)))
        device.boot("0.0")
        url = re.search(rb'/fw/([^/"]+)/', device.answers[0].payload)
        assert url is not None
        tokens.append(url[1].decode())
    others = service.open_download(tokens[1], GET).transfer
    service.finish_transfer(others, 5, Outcome.ABORTED)
    running = service.open_download(tokens[0], GET).transfer
    made = [service.open_download(tokens[0], FirmwareRequest("HEAD")).transfer for _ in range(2)]
    for _ in range(5):
        made.append(service.open_download(tokens[0], FirmwareRequest("HEAD")).transfer)
        for transfer in made:
            service.finish_transfer(transfer, 0, Outcome.COMPLETE)
    assert [row["id"] for row in service.transfers("SN1")] == [running, *made[-3:]]
    assert [row["id"] for row in service.transfers("SN2")] == [others]


def test_what_belongs_to_a_device_or_product_goes_with_it() -> None:
    owners = {"devices", "products", "tasks"}
    keys = [key for table in Base.metadata.tables.values() for key in table.foreign_keys]
    found = {
        f"{key.parent.table.name}.{key.parent.name}": key.ondelete
        for key in keys
        if key.column.table.name in owners
    }
    assert "device_tags.device_ref" in found
    assert {name for name, ondelete in found.items() if ondelete != "CASCADE"} == set()


def test_products_of_an_account_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MAX_PRODUCTS", 2)
    for name in ("a", "b"):
        service.create_product(name)
    assert refused(service.create_product, "c") == "cloud.limit-reached"
    service.delete_product("a")
    service.create_product("c")


def test_products_come_in_pages(service: Service) -> None:
    for number in range(5):
        service.create_product(f"p{number}")
    first = service.page_products(limit=2)
    assert [row["name"] for row in first["items"]] == ["p0", "p1"]
    service.delete_product("p0")
    service.create_product("p5")
    assert first["next"] is not None
    second = service.page_products(after=first["next"], limit=2)
    assert [row["name"] for row in second["items"]] == ["p2", "p3"]
    assert second["next"] is not None
    last = service.page_products(after=second["next"], limit=2)
    assert ([row["name"] for row in last["items"]], last["next"]) == (["p4", "p5"], None)
    for limit in (0, 1001, True):
        assert refused(service.page_products, limit=limit) == "cloud.bad-request"


def test_products_are_searched_by_literal_text(service: Service) -> None:
    for name in ("100% lamp", "100 lamp", "a_b", "axb", "back\\slash"):
        service.create_product(name)

    def found(search: str) -> list[str]:
        return [row["name"] for row in service.page_products(search=search)["items"]]

    assert found("0%") == ["100% lamp"]
    assert found("a_b") == ["a_b"]
    assert found("\\") == ["back\\slash"]
    assert found("LAMP") == ["100% lamp", "100 lamp"]
    assert found("/") == []


def test_product_of_another_account_is_unknown(service: Service, product: ProductInfo) -> None:
    anna, bob = as_account(service, "anna"), as_account(service, "bob")
    mine = anna.create_product("lamp")
    assert mine["account"] == "anna"
    for call in (bob.show_product, bob.product_key, bob.publish_product, bob.delete_product):
        assert refused(call, mine["product_id"]) == "cloud.unknown-product"
    assert refused(bob.update_product, mine["product_id"], name="x") == "cloud.unknown-product"
    assert bob.page_products()["items"] == []
    assert refused(bob.create_product, "x", account="anna") == "cloud.unknown-account"
    assert refused(bob.create_product, "x", account="operator") == "cloud.unknown-account"


def test_products_are_managed_with_the_scope_for_it(service: Service) -> None:
    reader = as_account(service, "anna", frozenset({Scope.READ}))
    for call in (reader.create_product, reader.update_product, reader.publish_product, reader.delete_product):
        with pytest.raises(ForbiddenError):
            call("lamp")
