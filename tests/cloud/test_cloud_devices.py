"""Devices: platform 3 and 4.2, 4.3, row by row, and lists of many."""

import threading
import time
from pathlib import Path

import pytest
from cloud_helpers import Twin, activate, online, twin, write_package
from registry_helpers import Clock, as_account, audited, refused
from sqlalchemy import event, select

from cloudsdk.activation import mqtt_password
from sim.cloud.datadir import DataDir
from sim.cloud.errors import DevicesRefusedError, ForbiddenError
from sim.cloud.model.tables import AuditEntry
from sim.cloud.model.work import OPERATOR_CALLER, Scope
from sim.cloud.rollout import Selection
from sim.cloud.service import Service
from sim.cloud.shapes import DeviceFilter, DeviceState, ProductInfo

MAC = "00:80:E1:12:34:56"


def sns(service: Service, after: int = 0, limit: int = 100, **wanted: object) -> list[str]:
    page = service.page_devices(DeviceFilter(**wanted), after=after, limit=limit)  # type: ignore[arg-type]
    return [row["sn"] for row in page["items"]]


# One device


def test_3_1_device_is_added_with_sn_name_and_mac(service: Service, product: ProductInfo) -> None:
    device = service.add_device("lamp", "SN1", name="Küche", mac=MAC, description="灯", tags=["b", "a", "b"])
    assert (device["sn"], device["name"], device["mac"]) == ("SN1", "Küche", MAC)
    assert (device["description"], device["tags"]) == ("灯", ["a", "b"])
    assert len(device["device_id"]) == 16


def test_3_1_mac_is_a_mac_address(service: Service, product: ProductInfo) -> None:
    for number, mac in enumerate(
        ("", MAC, MAC.lower(), MAC.replace(":", "-"), "0080E1123456", MAC + ":00:01")
    ):
        assert service.add_device("lamp", f"good{number}", mac=mac)["mac"] == mac
    for mac in (
        "x",
        MAC[:-1],
        MAC + ":",
        MAC.replace(":", ".", 1),
        "00:80-E1:12:34:56",
        MAC + ":00",
        5,
        None,
    ):
        assert refused(service.add_device, "lamp", "bad", mac=mac) == "cloud.bad-request", mac


def test_3_2_device_page_has_all_that_is_known(service: Service, product: ProductInfo, clock: Clock) -> None:
    service.add_device("lamp", "SN1", name="one", mac=MAC, description="d")
    clock.now += 10
    ids = activate(service, product, "SN1")
    service.device_connected(ids.device_id, "10.0.0.9")
    clock.now += 10
    device = Twin(service, product["product_id"], ids.device_id)
    device.boot("1.2")
    shown = service.show_device("SN1")
    assert (shown["device_id"], shown["state"], shown["online"]) == (ids.device_id, "activated", True)
    assert (shown["activated_at"], shown["last_login_at"]) == (int(clock.now) - 10, int(clock.now))
    assert (shown["last_login_ip"], shown["version"]) == ("10.0.0.9", "1.2")
    assert shown["created_at"] == int(clock.now) - 20
    assert shown["updated_at"] == int(clock.now)
    assert (shown["name"], shown["mac"], shown["description"]) == ("one", MAC, "d")


def test_3_2_device_key_is_shown_on_request_only_and_audited(service: Service, product: ProductInfo) -> None:
    added = service.add_device("lamp", "SN1")
    assert "device_key" not in added
    assert "device_key" not in service.show_device("SN1")
    assert "device_key" not in service.page_devices()["items"][0]
    assert "device.show-key" not in audited(service)
    key = service.device_key("SN1")
    assert key["device_id"] == added["device_id"]
    assert len(key["device_key"]) == 32
    assert service.show_device("SN1", keys=True)["device_key"] == key["device_key"]
    assert audited(service).count("device.show-key") == 2


def test_3_3_device_is_registered_modified_published_and_deleted(
    service: Service, product: ProductInfo, clock: Clock
) -> None:
    service.add_device("lamp", "SN1")
    assert service.update_device("SN1", sn="SN2", mac=MAC, name="n", tags=["x"])["sn"] == "SN2"
    clock.now += 3
    published = service.publish_device("SN2")
    assert (published["published"], published["published_at"]) == (True, int(clock.now))
    clock.now += 3
    assert service.publish_device("SN2") == published
    service.delete_device("SN2")
    assert refused(service.show_device, "SN2") == "cloud.unknown-device"
    assert service.show_product("lamp")["devices"] == 0
    assert audited(service)[-4:] == ["device.create", "device.update", "device.publish", "device.delete"]


@pytest.mark.parametrize("fixed", ["activated", "published"])
def test_3_3_sn_and_mac_stay_once_activated_or_published(
    service: Service, product: ProductInfo, fixed: str
) -> None:
    service.add_device("lamp", "SN1", mac=MAC)
    if fixed == "activated":
        activate(service, product, "SN1")
    else:
        service.publish_device("SN1")
    assert refused(service.update_device, "SN1", sn="SN2") == f"cloud.{fixed}"
    assert refused(service.update_device, "SN1", name="lost", mac="") == f"cloud.{fixed}"
    changed = service.update_device("SN1", sn="SN1", mac=MAC, name="new", description="d", tags=["t"])
    assert (changed["name"], changed["description"], changed["tags"]) == ("new", "d", ["t"])


def test_modified_sn_stays_unique_and_sound(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    service.add_device("lamp", "SN2", name="two")
    assert refused(service.update_device, "SN2", name="lost", sn="SN1") == "cloud.duplicate-sn"
    for sn in ("", "x" * 33, "é", None):
        assert refused(service.update_device, "SN2", sn=sn) == "cloud.bad-request", sn
    assert service.show_device("SN2")["name"] == "two"


def test_tags_are_replaced_as_a_whole(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1", tags=["a", "b"])
    assert service.update_device("SN1", name="x")["tags"] == ["a", "b"]
    assert service.update_device("SN1", tags=["b", "c"])["tags"] == ["b", "c"]
    assert service.show_device("SN1")["tags"] == ["b", "c"]
    service.add_device("lamp", "SN2", tags=["c"])
    assert service.list_tags() == [{"tag": "b", "devices": 1}, {"tag": "c", "devices": 2}]
    assert service.update_device("SN1", tags=[])["tags"] == []


def test_bad_tags_are_refused(service: Service, product: ProductInfo) -> None:
    most = [f"t{number}" for number in range(16)]
    assert len(service.add_device("lamp", "SN1", tags=[*most, "x" * 32][1:])["tags"]) == 16
    for tags in (
        [""],
        ["x" * 33],
        ["a b"],
        ["<b>"],
        ["é"],
        ["-x"],
        [5],
        "ab",
        [*most, "more"],
        None,
        ["a\n"],
    ):
        assert refused(service.add_device, "lamp", "SN2", tags=tags) == "cloud.bad-request", tags


def test_device_id_wins_over_an_sn_that_looks_like_it(service: Service, product: ProductInfo) -> None:
    first = service.add_device("lamp", "SN1")
    service.add_device("lamp", first["device_id"])
    assert service.show_device(first["device_id"])["sn"] == "SN1"


def test_device_of_another_account_is_unknown(service: Service) -> None:
    anna, bob = as_account(service, "anna"), as_account(service, "bob")
    anna.create_product("lamp")
    device = anna.add_device("lamp", "SN1", tags=["secret"])["device_id"]
    calls = (bob.show_device, bob.device_key, bob.publish_device, bob.delete_device, bob.bind_device)
    for call in (*calls, bob.binding_url, bob.transfers):
        assert refused(call, device) == "cloud.unknown-device"
    assert refused(bob.update_device, device, name="x") == "cloud.unknown-device"
    assert refused(bob.add_devices, "lamp", b"sn\nx\n") == "cloud.unknown-product"
    assert bob.page_devices()["items"] == bob.list_tags() == []
    assert bob.count_devices()["total"] == 0
    assert anna.count_devices()["total"] == 1


def test_devices_are_managed_with_the_scope_for_it(service: Service, product: ProductInfo) -> None:
    reader = as_account(service, "anna", frozenset({Scope.READ}))
    with pytest.raises(ForbiddenError):
        reader.add_device("lamp", "SN1")
    with pytest.raises(ForbiddenError):
        reader.add_devices("lamp", b"sn\nx\n")
    for call in (reader.update_device, reader.publish_device, reader.delete_device, reader.device_key):
        with pytest.raises(ForbiddenError):
            call("SN1")


# Activation


def test_4_2_wrong_sn_is_refused(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    assert refused(activate, service, product, "SN2") == "cloud.unknown-device"
    assert service.show_device("SN1")["state"] == "inactive"


def test_4_3_activated_device_is_shown_activated_and_online(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "SN1")
    assert service.show_device("SN1")["state"] == "inactive"
    ids = activate(service, product, "SN1")
    assert (service.show_device("SN1")["state"], service.show_device("SN1")["online"]) == ("activated", False)
    Twin(service, product["product_id"], ids.device_id).send(online(True))
    assert service.show_device("SN1")["online"]


def test_deleted_device_can_do_nothing_more(service: Service, product: ProductInfo, tmp_path: Path) -> None:
    gone: list[str] = []
    service.core.devices_gone = gone.extend
    firmware = service.upload_firmware(write_package(tmp_path), "lamp")
    device = twin(service, product, "SN1")
    password = mqtt_password(service.device_key("SN1")["device_key"]).encode()
    service.create_task("lamp", firmware_ids=[firmware["id"]], selection=Selection(("SN1",)))
    device.boot("0.0")
    assert service.login(device.device_id, password) == product["product_id"]
    service.delete_device("SN1")
    assert gone == [device.device_id]
    assert service.login(device.device_id, password) is None
    assert service.logins() == []
    assert service.device_connected(device.device_id, "10.0.0.9") is False
    assert device.send(online(True)) == []
    assert refused(activate, service, product, "SN1") == "cloud.unknown-device"
    assert service.show_task(1)["devices"] == []
    assert activate_anew(service, product) != device.device_id


def activate_anew(service: Service, product: ProductInfo) -> str:
    service.add_device("lamp", "SN1")
    return activate(service, product, "SN1").device_id


def suspicions(service: Service) -> list[str]:
    with service.core.work(OPERATOR_CALLER) as work:
        query = select(AuditEntry.detail).where(AuditEntry.action == "device.suspect")
        return list(work.session.scalars(query.order_by(AuditEntry.id)))


def repeat(service: Service, product: ProductInfo, address: str) -> str:
    """Activate SN1 from an address; the DeviceID."""
    from cloudsdk.activation import sign

    signature = sign(product["product_key"], "SN1")
    return service.activate(product["product_id"], "SN1", signature, address).device_id


def test_repeated_activation_from_the_same_place_is_no_suspicion(
    service: Service, product: ProductInfo
) -> None:
    service.add_device("lamp", "SN1")
    assert repeat(service, product, "10.0.0.1") == repeat(service, product, "10.0.0.1")
    assert suspicions(service) == []
    assert service.show_device("SN1")["suspect_at"] is None


def test_replayed_activation_gets_the_same_ids_and_is_audited_as_suspicious(
    service: Service, product: ProductInfo, clock: Clock
) -> None:
    service.add_device("lamp", "SN1")
    assert repeat(service, product, "10.0.0.1") == repeat(service, product, "10.0.0.2")
    assert suspicions(service) == ["activated from 10.0.0.1, now from 10.0.0.2"]
    assert service.show_device("SN1")["suspect_at"] == int(clock.now)


def test_activation_of_a_device_that_is_online_is_suspicious(service: Service, product: ProductInfo) -> None:
    device = twin(service, product, "SN1")
    device.boot("1.0")
    assert repeat(service, product, "10.0.0.2") == device.device_id
    assert suspicions(service) == ["activated again while online, from 10.0.0.2"]


def test_second_connection_from_elsewhere_is_suspicious(service: Service, product: ProductInfo) -> None:
    device = twin(service, product, "SN1")
    service.device_connected(device.device_id, "10.0.0.1")
    device.send(online(True))
    service.device_connected(device.device_id, "10.0.0.1")
    assert suspicions(service) == []
    assert service.device_connected(device.device_id, "10.0.0.2") is True
    assert suspicions(service) == ["online from 10.0.0.1, logs in from 10.0.0.2"]


def test_device_that_moves_while_offline_is_no_suspicion(service: Service, product: ProductInfo) -> None:
    device = twin(service, product, "SN1")
    service.device_connected(device.device_id, "10.0.0.1")
    device.send(online(True))
    device.send(online(False))
    service.device_connected(device.device_id, "10.0.0.2")
    assert suspicions(service) == []


def test_devices_that_take_over_for_ever_do_not_fill_the_audit_log(
    service: Service, product: ProductInfo, clock: Clock
) -> None:
    device = twin(service, product, "SN1")
    for turn in range(20):
        service.device_connected(device.device_id, f"10.0.0.{turn % 2}")
        device.send(online(True))
        clock.now += 5
    assert len(suspicions(service)) == 1
    clock.now += 3600
    service.device_connected(device.device_id, "10.0.0.0")
    assert len(suspicions(service)) == 2


# Many devices


def test_table_adds_all_devices(service: Service, product: ProductInfo) -> None:
    table = "\ufeffname,SN, tags,mac\nKüche,SN1,a b,\n灯,SN2,,00:80:E1:12:34:56\n".encode()
    assert service.add_devices("lamp", table)["added"] == 2
    first, second = service.list_devices("lamp")
    assert (first["sn"], first["name"], first["tags"], first["mac"]) == ("SN1", "Küche", ["a", "b"], "")
    assert (second["sn"], second["name"], second["tags"], second["mac"]) == ("SN2", "灯", [], MAC)
    assert len({first["device_id"], second["device_id"]}) == 2
    assert activate(service, product, "SN2").device_id == second["device_id"]


def test_table_with_bad_rows_adds_nothing_and_names_them(service: Service, product: ProductInfo) -> None:
    service.add_device("lamp", "OLD")
    table = b"sn,name,tags\nA,,\nOLD,,\nA,,\n,x,\nB,n\0,\nC,,<b>\nD,,,,more\n" + b"E" * 33 + b",,\nF,,\n"
    with pytest.raises(DevicesRefusedError) as error:
        service.add_devices("lamp", table)
    rows = {problem["row"]: problem["reason"] for problem in error.value.rows}
    assert list(rows) == [3, 4, 5, 6, 7, 8, 9]
    assert "already" in rows[3]
    assert "row 2" in rows[4]
    assert "SN" in rows[5]
    assert "name" in rows[6]
    assert "tag" in rows[7]
    assert "5 cells" in rows[8]
    assert "and 4 more" in str(error.value)
    assert [row["sn"] for row in service.list_devices()] == ["OLD"]


def test_error_of_a_table_is_bounded(service: Service, product: ProductInfo) -> None:
    table = b"sn,tags\n" + b"".join(b"%d,<\n" % number for number in range(9000))
    with pytest.raises(DevicesRefusedError) as error:
        service.add_devices("lamp", table)
    assert len(error.value.rows) == 100
    assert len(str(error.value)) < 500


def test_table_beyond_the_device_limit_adds_nothing(service: Service) -> None:
    service.create_product("few", device_limit=2)
    assert refused(service.add_devices, "few", b"sn\n1\n2\n3\n") == "cloud.device-limit"
    assert service.list_devices() == []
    assert service.add_devices("few", b"sn\n1\n2\n")["added"] == 2


def test_formulas_in_a_table_stay_text(service: Service, product: ProductInfo) -> None:
    formula = '=HYPERLINK("http://evil","x")'
    quoted = formula.replace('"', '""')
    service.add_devices("lamp", f'sn,name\n@SUM(A1),"{quoted}"\n'.encode())
    assert service.show_device("@SUM(A1)")["name"] == formula


def test_concurrent_adds_stop_at_the_device_limit(service: Service, tmp_path: Path) -> None:
    service.create_product("few", device_limit=10)
    outcomes: list[str] = []

    def add(worker: int) -> None:
        own = Service(DataDir(tmp_path / "cloud"))
        for number in range(5):
            try:
                own.add_device("few", f"{worker}-{number}")
                outcomes.append("added")
            except Exception as exc:
                outcomes.append(getattr(exc, "code", repr(exc)))
        own.close()

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] * 10 + ["cloud.device-limit"] * 10
    assert service.show_product("few")["devices"] == 10


def test_devices_are_filtered_by_everything_at_once(service: Service, product: ProductInfo) -> None:
    service.create_product("other")
    service.add_device("other", "SN1", tags=["x"])
    device = twin(service, product, "SN1")
    device.boot("1.0")
    twin(service, product, "SN2").boot("2.0")
    service.add_device("lamp", "SN3", name="Kitchen", tags=["x", "y"])
    assert sns(service) == ["SN1", "SN1", "SN2", "SN3"]
    assert sns(service, product="lamp") == ["SN1", "SN2", "SN3"]
    assert sns(service, product=product["product_id"], state=DeviceState.ACTIVATED) == ["SN1", "SN2"]
    assert sns(service, online=False) == ["SN1", "SN3"]
    assert sns(service, version="2.0") == ["SN2"]
    assert sns(service, tag="x") == ["SN1", "SN3"]
    assert sns(service, tag="x", product="lamp") == ["SN3"]
    assert sns(service, search="kitch") == ["SN3"]
    assert sns(service, search=device.device_id[2:9]) == ["SN1"]
    assert sns(service, search="sn", online=True, version="1.0", state="activated") == ["SN1"]
    assert sns(service, tag="nosuch") == []
    assert service.count_devices(DeviceFilter(product="lamp")) == {"total": 3, "activated": 2, "online": 2}
    assert service.count_devices(DeviceFilter(tag="y")) == {"total": 1, "activated": 0, "online": 0}


def test_wildcards_in_a_search_are_text(service: Service, product: ProductInfo) -> None:
    for sn in ("100%", "1000", "a_b", "axb", "c\\d", "e/f"):
        service.add_device("lamp", sn)
    assert sns(service, search="%") == ["100%"]
    assert sns(service, search="_") == ["a_b"]
    assert sns(service, search="\\") == ["c\\d"]
    assert sns(service, search="/") == ["e/f"]
    assert sns(service, search="'; DROP TABLE devices; --") == []


def test_bad_filters_are_refused(service: Service, product: ProductInfo) -> None:
    for wanted in ({"search": "x" * 65}, {"search": "a\0"}, {"tag": 5}, {"state": "gone"}):
        assert refused(sns, service, **wanted) == "cloud.bad-request", wanted
    assert refused(sns, service, product="nosuch") == "cloud.unknown-product"
    for limit in (0, -1, 1001):
        assert refused(sns, service, limit=limit) == "cloud.bad-request"
    assert refused(sns, service, after=2**70) == "cloud.bad-request"


def test_pages_neither_lose_nor_repeat_devices_while_others_come_and_go(
    service: Service, product: ProductInfo
) -> None:
    for number in range(7):
        service.add_device("lamp", f"SN{number}")
    seen = []
    after: int | None = 0
    while after is not None:
        page = service.page_devices(after=after, limit=2)
        seen += [row["sn"] for row in page["items"]]
        after = page["next"]
        if len(seen) == 2:
            service.delete_device("SN0")
            service.delete_device("SN4")
            service.add_device("lamp", "SN7")
    assert seen == ["SN0", "SN1", "SN2", "SN3", "SN5", "SN6", "SN7"]


def test_ten_thousand_devices_list_in_few_queries_and_fast(service: Service) -> None:
    service.create_product("fleet", device_limit=10_000)
    rows = [f"SN{number:05},n{number},t{number % 7} all" for number in range(10_000)]
    assert service.add_devices("fleet", "\n".join(["sn,name,tags", *rows]).encode())["added"] == 10_000
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(service.core.store._engine, "before_cursor_execute", note)
    began = time.perf_counter()
    page = service.page_devices(DeviceFilter(product="fleet", tag="t3", search="SN0"), limit=1000)
    counts = service.count_devices(DeviceFilter(product="fleet", search="sn099"))
    took = time.perf_counter() - began
    assert len(page["items"]) == 1000
    assert counts["total"] == 100
    assert len(statements) < 15
    assert took < 2.0, "a page and a count of 10 000 devices take a tenth of this"
