"""What a recorder between a device and the reference cloud writes, and what it leaves as it is."""

import contextlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from traffic_rig import World, of_link

from cloudsdk.activation import mqtt_password, sign
from cloudsdk.mqtt.packets import Connect, Publish
from cloudsdk.route import Link
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.faults.network.rules import Direction
from sim.traffic.compare import Comparison, compare
from sim.traffic.conversation import conversations
from sim.traffic.events import Data, Opened
from sim.traffic.mask import MASKED_PRODUCT_KEY, Mask, masked_key
from sim.traffic.messages import Http
from sim.traffic.pcapng import pcapng
from sim.traffic.recording import Recording


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("traffic")
    with CloudServer(CloudConfig(folder / "cloud", http_port=0, mqtt_port=0)) as server:
        with contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin:
            yield World(admin, server, folder)


@pytest.fixture(scope="module")
def upgrade(world: World) -> Recording:
    return world.recorded_upgrade("SN0001", "plain.jsonl")


@pytest.fixture(scope="module")
def masked(world: World) -> Recording:
    return world.recorded_upgrade("SN0002", "masked.jsonl", Mask(world.product_key))


def test_every_connection_of_an_upgrade_is_recorded(upgrade: Recording, world: World) -> None:
    found = conversations(upgrade.events)
    assert [each.link for each in found] == [Link.HTTP, Link.MQTT, Link.HTTP, Link.MQTT]
    activation, _, download, _ = (each.said for each in found)
    request, response = activation[0].message, activation[1].message
    assert isinstance(request, Http)
    assert request.head.request == ("POST", "/devices/active")
    assert isinstance(response, Http)
    assert response.head.status == 200
    body = download[1].message
    assert isinstance(body, Http)
    assert body.whole
    assert len(body.body) == int(body.head.get("Content-Length") or 0) > 1000


def test_the_recording_has_what_the_cloud_said_and_not_the_rewritten_addresses(
    upgrade: Recording, world: World
) -> None:
    task = next(
        said.message
        for conversation in conversations(upgrade.events)
        for said in conversation.said
        if isinstance(said.message, Publish) and b"1012" in said.message.payload
    )
    url = json.loads(task.payload)["data"][0]["value"]["firmwares"][0]["file_url"]
    assert url.startswith(world.server.http_url + "/")
    download = conversations(upgrade.events)[2]
    assert download.to is not None
    assert url.startswith(f"http://{download.to[0]}:{download.to[1]}/")


def test_the_file_is_private_and_a_recording_of_its_own(world: World, upgrade: Recording) -> None:
    path = world.folder / "plain.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert not upgrade.cut


def test_secrets_are_masked_everywhere_and_still_fit_together(world: World, masked: Recording) -> None:
    text = (world.folder / "masked.jsonl").read_bytes()
    shown = world.admin.show_device("SN0002", product=world.product, keys=True)
    device_key = shown["device_key"]
    for secret in (
        device_key,
        mqtt_password(device_key),
        sign(world.product_key, "SN0002"),
        world.product_key,
    ):
        assert secret.encode() not in text
    http, mqtt = of_link(masked.events, Link.HTTP), of_link(masked.events, Link.MQTT)
    assert masked_key(1).encode() in http
    assert sign(MASKED_PRODUCT_KEY, "SN0002").encode() in http
    assert mqtt.count(mqtt_password(masked_key(1)).encode()) == 2  # before and after the upgrade
    assert masked.header.masked


def test_two_upgrades_say_the_same_but_for_identifiers(upgrade: Recording, masked: Recording) -> None:
    assert compare(upgrade, masked) == []
    exact = compare(upgrade, masked, Comparison(identifiers=True))
    assert any(difference.link is Link.MQTT and "client" in difference.members for difference in exact)


def test_a_difference_is_named(upgrade: Recording) -> None:
    def changed(event: object) -> object:
        if isinstance(event, Data) and event.link is Link.MQTT and b'"DP":1011' in event.data:
            return replace(event, data=event.data.replace(b'"1.0"', b'"1.7"'))
        return event

    other = Recording(upgrade.header, tuple(changed(event) for event in upgrade.events))  # type: ignore[misc]
    found = compare(upgrade, other)
    assert {(each.link, each.connection, each.direction) for each in found} == {(Link.MQTT, 2, Direction.UP)}
    assert {each.members for each in found} == {("payload.data.0.value.version",)}


def test_a_missing_connection_is_named(upgrade: Recording) -> None:
    last = conversations(upgrade.events)[-1].connection
    shorter = tuple(event for event in upgrade.events if event.connection != last)
    (difference,) = compare(upgrade, Recording(upgrade.header, shorter))
    assert (difference.link, difference.connection, difference.b) == (Link.MQTT, 2, None)


def test_one_login_per_connection(upgrade: Recording) -> None:
    logins = [
        said.message
        for conversation in conversations(upgrade.events)
        for said in conversation.said
        if isinstance(said.message, Connect)
    ]
    assert len(logins) == sum(isinstance(each, Opened) and each.link is Link.MQTT for each in upgrade.events)
    assert len({login.client_id for login in logins}) == 1


def tshark(path: Path, *options: str) -> list[str]:
    command = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    environment = {**os.environ, "HOME": str(path.parent)}
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()


def test_wireshark_dissects_an_export_without_complaint(upgrade: Recording, tmp_path: Path) -> None:
    path = tmp_path / "upgrade.pcapng"
    path.write_bytes(b"".join(pcapng(upgrade.header, upgrade.events)))
    wrong = "_ws.malformed || tcp.checksum.status != 1 || ip.checksum.status != 1 || tcp.analysis.flags"
    assert tshark(path, "-Y", wrong) == []
    fields = ("-T", "fields", "-e", "http.request.method", "-e", "http.response.code")
    assert tshark(path, "-Y", "http", *fields) == ["POST\t", "\t200", "GET\t", "\t200"]
    types = tshark(path, "-Y", "mqtt", "-T", "fields", "-e", "mqtt.msgtype")
    assert [line.split(",")[0] for line in types][:2] == ["1", "2"]  # CONNECT, CONNACK
    assert len(tshark(path, "-Y", "mqtt.msgtype == 1")) == 2
    assert len(tshark(path, "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0")) == 4
    (first, *_) = tshark(path, "-T", "fields", "-e", "frame.time_epoch")
    assert abs(float(first) - upgrade.header.started) < 60
    assert upgrade.header.started <= time.time()
