"""Ports as YAML files: what they give, and the exact line about what they cannot be."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.port import MqttAddress, Port
from cloudsdk.port_file import MAX_PORT_FILE, PortFileError, PortSurroundings, load_port, read_port_fields
from cloudsdk.profile import MANUAL, V2_0_0
from cloudsdk.tls import TlsSettings, TlsUnsupportedError, TlsVersion
from cloudsdk.upgrade_policy import BEGIN, DECLINED, UpgradeOffer

KEY = "d1234567-89ab-4cde-9f01-23456789abcd"
PLAIN = f"""\
sn: 0012
product_id: 8fa1b2c3d4e5f607
product_key: {KEY}
activation_url: http://10.0.0.5:8090
mqtt_url: mqtt://10.0.0.5
"""
SURROUNDINGS = PortSurroundings({"LAMP_KEY": KEY}, lambda: datetime(2026, 3, 1, 12, 0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "port.yaml"


def load(path: Path, text: str) -> Port:
    path.write_text(text)
    return load_port(path, SURROUNDINGS)


def test_smallest_port(path: Path) -> None:
    port = load(path, PLAIN)
    assert (port.sn, port.product_id, port.product_key) == ("0012", "8fa1b2c3d4e5f607", KEY)
    assert port.activation_url == "http://10.0.0.5:8090/devices/active"
    assert port.mqtt_address == MqttAddress("10.0.0.5", 1883)
    assert port.tls == TlsSettings()
    assert port.tls_for(V2_0_0) is None
    assert KEY not in repr(port)


def test_port_with_everything(path: Path) -> None:
    (path.parent / "product.key").write_text(f"{KEY}\n")
    port = load(
        path,
        """\
        sn: SN0001
        product_id: 8fa1b2c3d4e5f607
        product_key_file: product.key
        activation_url: https://cloud.example
        mqtt_url: mqtts://cloud.example
        tls:
          ca: ca.pem
          client_cert: /etc/device.pem
          client_key: device.key
          minimum: 1.3
          server_name: cloud.test
          check_server_name: false
        upgrade:
          forced: now
          optional: 02:00-04:00
          silent: never
        """,
    )
    assert port.product_key == KEY
    assert port.activation_url == "https://cloud.example/devices/active"
    assert port.mqtt_address == MqttAddress("cloud.example", 8883, tls=True)
    assert port.tls == TlsSettings(
        ca=path.parent / "ca.pem",
        client_cert=Path("/etc/device.pem"),
        client_key=path.parent / "device.key",
        minimum=TlsVersion.V1_3,
        server_name="cloud.test",
        check_server_name=False,
    )
    offers = {mode: UpgradeOffer("1.1", "app", "2.0.0", mode) for mode in UpgradeMode}
    assert port.may_upgrade(offers[UpgradeMode.FORCED]) is BEGIN
    assert port.may_upgrade(offers[UpgradeMode.OPTIONAL]).reason == "waits for 02:00-04:00"
    assert port.may_upgrade(offers[UpgradeMode.SILENT]) is DECLINED
    assert port.tls_for(MANUAL) is port.tls


def test_product_key_from_the_environment(path: Path) -> None:
    assert load(path, PLAIN.replace(f"product_key: {KEY}", "product_key_env: LAMP_KEY")).product_key == KEY


def test_file_may_leave_things_to_others(path: Path) -> None:
    path.write_text("sn: A\n")
    assert read_port_fields(path, SURROUNDINGS) == {"sn": "A"}
    with pytest.raises(UsageError) as caught:
        load_port(path, SURROUNDINGS)
    assert str(caught.value).startswith("the port has no product_id, activation_url, mqtt_url, product_key: ")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "", "it is empty"),
        ("- a\n", ", line 1", "a port file has to be lines of `name: value`"),
        ("sn: A\nsnn: B\n", ", line 2", "a port file has no 'snn', but sn, product_id, "),
        ("sn: A\nsn: B\n", ", line 2", "sn is there twice"),
        ("sn: [A]\n", ", line 1", "sn has to be one printable value"),
        ('product_key_file: "a\\0b"\n', ", line 1", "product_key_file has to be one printable value"),
        ('tls:\n  ca: "a\\0b"\n', ", line 2", "ca has to be one printable value"),
        ("sn:\n", ", line 1", "sn has to be one printable value"),
        ("[a]: b\n", ", line 1", "a port file has no None, but sn, "),
        ("sn: A\n\tx: y\n", ", line 2", "not YAML: "),
        ("sn: 'A\n", ", line 2", "not YAML: "),
        ("sn: A\x01\n", "", "not YAML: it holds what is no text, or is nested too deeply"),
        ("sn: *a\n", ", line 1", "not YAML: found undefined alias"),
        (
            "product_key: a\nproduct_key_env: b\n",
            ", line 2",
            "product_key and product_key_env: leave one out",
        ),
        ("product_key_env: NOSUCH\n", ", line 1", "the environment variable it names is not set"),
        ("product_key_file: nosuch\n", ", line 1", "cannot read 'nosuch': No such file or directory"),
        ("tls: on\n", ", line 1", "tls has to be lines of `name: value`"),
        ("tls:\n  key: x\n", ", line 2", "tls has no 'key', but ca, client_cert, client_key, minimum, "),
        ("tls:\n  minimum: 1.1\n", ", line 2", "minimum is '1.1': use 1.2 or 1.3"),
        ("tls:\n  check_server_name: no\n", ", line 2", "check_server_name is 'no': use true or false"),
        ("tls:\n  client_cert: x\n", ", line 2", "a client certificate and its key go together: give both"),
        ("tls:\n  server_name: a b\n", ", line 2", "TLS server name 'a b' is neither a host name nor an IP"),
        ("upgrade:\n  forced: never\n", ", line 2", "forced is 'never': use now"),
        (
            "upgrade:\n  optional: ask\n",
            ", line 2",
            "optional is 'ask': use now, never, or a window such as ",
        ),
        ("upgrade:\n  silent: 24:00-02:00\n", ", line 2", "silent is '24:00-02:00': use now, never, or "),
        ("upgrade:\n  silent: 02:00-02:00\n", ", line 2", "the window 02:00-02:00 is empty"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(path: Path, text: str, place: str, message: str) -> None:
    with pytest.raises(PortFileError) as caught:
        load(path, text)
    assert str(caught.value).startswith(f"port file {str(path)!r}{place}: {message}")
    assert "\n" not in str(caught.value)
    assert (caught.value.code, caught.value.exit_status) == ("port.file", 2)


def test_hostile_files_end_in_one_line(path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{b}, *{b}]\n" for b, c in zip("abcde", "bcdef", strict=True)
    )
    for text in ("[" * 5000, bomb, "x" * (MAX_PORT_FILE + 1), json.dumps({"sn": {"a": 1}})):
        with pytest.raises(PortFileError):
            load(path, text)
    path.write_bytes(b"sn: \xff\n")
    with pytest.raises(PortFileError, match="not YAML"):
        load_port(path, SURROUNDINGS)


def test_values_no_device_could_hold(path: Path) -> None:
    with pytest.raises(UsageError, match="SN must be 1 to 32"):
        load(path, PLAIN.replace("0012", "x" * 33))
    (path.parent / "long.key").write_text("k" * 1000)
    with pytest.raises(UsageError, match="ProductKey must be 1 to 36"):
        load(path, PLAIN.replace(f"product_key: {KEY}", "product_key_file: long.key"))


@pytest.mark.parametrize("url", ["http://[", "https://", "http://a:b", "http://a:0", "mqtts://a", "", "a"])
def test_urls_that_cannot_be(path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"is not http\[s\]://"):
        load(path, PLAIN.replace("http://10.0.0.5:8090", f"'{url}x'" if not url else f"'{url}'"))


@pytest.mark.parametrize("url", ["mqtts://[", "mqtts://", "mqtt://a:b", "mqtt://a/b", "https://a", "a"])
def test_mqtt_urls_that_cannot_be(path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"is not mqtt\[s\]://"):
        load(path, PLAIN.replace("mqtt://10.0.0.5", f"'{url}'"))


def test_examples_of_the_manual_work(path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/port.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (path.parent / "product.key").write_text(KEY)
    port = load(path, example)
    assert port.tls.minimum is TlsVersion.V1_3
    (code,) = re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "port.md", "exec"), names)  # noqa: S102 - our own text
    lamp = names["Lamp"](port.sn, port.product_id, port.product_key, port.activation_url, port.mqtt_url)
    lamp.is_lit = True
    answer = lamp.may_upgrade(UpgradeOffer("1.1", "app", "2.0.0", UpgradeMode.OPTIONAL))
    assert answer.again_after == 600


def test_file_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_port(path, SURROUNDINGS)
    with pytest.raises(UsageError, match="directory"):
        load_port(path.parent, SURROUNDINGS)


@pytest.mark.parametrize(
    "change",
    [
        ("http:", "https:"),
        ("mqtt://", "mqtts://"),
        ("sn:", "tls: {minimum: 1.3}\nsn:"),
    ],
)
def test_profile_without_tls_refuses_a_port_that_wants_it(path: Path, change: tuple[str, str]) -> None:
    port = load(path, PLAIN.replace(*change))
    assert port.tls_for(MANUAL) is port.tls
    with pytest.raises(TlsUnsupportedError, match=r"profile v2\.0\.0 has no TLS") as caught:
        port.tls_for(V2_0_0)
    assert caught.value.exit_status == 2
