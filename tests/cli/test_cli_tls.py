"""`certs`, `device run` and `cloud serve` with TLS, port files and sealed secrets."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import COMMAND, Cli, one_line_error

from sim.cli.main import main
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.shapes import ProductInfo
from sim.cloud.tls import ServerTls

SN = "SIM0001"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """As the fixture of that name, but in this process: most calls here are short."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = ["cloudsim", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(command, int(end.value.code or 0), *capfd.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def secure(cli: Cli, tmp_path: Path) -> Iterator[CloudServer]:
    """A cloud that wants client certificates, made by the command."""
    assert cli("certs", "pki", "--device", SN).returncode == 0
    pki = tmp_path / "pki"
    tls = ServerTls(pki / "server.pem", pki / "server.key", pki / "ca.pem")
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, tls=tls)) as server:
        yield server


@pytest.fixture
def admin(secure: CloudServer) -> Iterator[AdminClient]:
    with contextlib.closing(AdminClient(secure.admin_url, secure.admin_token)) as client:
        yield client


@pytest.fixture
def product(admin: AdminClient) -> ProductInfo:
    made = admin.show_product(admin.create_product("p")["product_id"], keys=True)
    admin.add_device("p", SN)
    return made


def write_port(directory: Path, server: CloudServer, product: ProductInfo, **tls: str) -> None:
    (directory / "product.key").write_text(str(product["product_key"]))
    lines = [
        f"sn: {SN}",
        f"product_id: '{product['product_id']}'",
        "product_key_file: product.key",
        f"activation_url: {server.activation_url}",
        f"mqtt_url: {server.mqtt_url}",
        "tls:",
        *(f"  {name}: {value}" for name, value in tls.items()),
    ]
    (directory / "port.yaml").write_text("\n".join(lines) + "\n")


OWN = {"ca": "pki/ca.pem", "client_cert": f"pki/device-{SN}.pem", "client_key": f"pki/device-{SN}.key"}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_device_from_a_port_file_with_client_certificate_and_sealed_secrets(
    cli: Cli, tmp_path: Path, secure: CloudServer, admin: AdminClient, product: ProductInfo
) -> None:
    write_port(tmp_path, secure, product, minimum="1.3", **OWN)
    assert cli("board", "new", "b").returncode == 0
    assert cli("board", "env-key", "b.key").stdout == "made a board key in b.key\n"
    command = [COMMAND, "device", "run", "b", "--port", "port.yaml", "--env-key-file", "b.key"]
    for boot in range(2):
        # A key in the environment is for those whose port file has none.
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "CLOUDSIM_PRODUCT_KEY": "of another product"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(lambda: admin.show_device(SN)["online"], process)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=10)
        finally:
            process.kill()
            process.wait()
        assert (process.returncode, errors) == (0, "")
        assert ("now will activate!" in output) == (boot == 0)
        wait_until_offline(admin)
    secrets = admin.show_device(SN, keys=True)
    for image in (tmp_path / "b").iterdir():
        assert str(secrets["device_key"]).encode() not in image.read_bytes()


def test_device_with_tls_behind_faults_shows_secrets_sealed(
    cli: Cli, tmp_path: Path, secure: CloudServer, admin: AdminClient, product: ProductInfo
) -> None:
    write_port(tmp_path, secure, product, **OWN)
    cli("board", "new", "b")
    cli("board", "env-key", "b.key")
    process = subprocess.Popen(
        [
            *(COMMAND, "-v", "device", "run", "b", "--port", "port.yaml", "--env-key-file", "b.key"),
            *("--fault", "http:slice=100..500", "--fault", "mqtt:latency=10ms"),
        ],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        wait_until(lambda: admin.show_device(SN)["online"], process)
        process.stdin.write("printenv\n")
        process.stdin.flush()
        output = ""
        while "ver num:" not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        process.send_signal(signal.SIGINT)
        rest, log = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Opened(link=<Link.HTTP" in log
    assert "Opened(link=<Link.MQTT" in log
    assert "cld_pwd=g1:" in output
    assert "cld_dkey=g1:" in output
    secrets = admin.show_device(SN, keys=True)
    assert str(secrets["device_key"]) not in output + rest + log


def wait_until_offline(admin: AdminClient) -> None:
    while admin.show_device(SN)["online"]:
        pass  # bounded by the time limit of the test; each look is a request


def test_each_refusal_is_one_line_on_the_console_and_one_at_the_end(
    cli: Cli, tmp_path: Path, secure: CloudServer, product: ProductInfo
) -> None:
    write_port(tmp_path, secure, product, **OWN)
    cli("board", "new", "b")
    cli("certs", "other")
    run = ("device", "run", "b", "--port", "port.yaml", "--activation-attempts", "1")
    peer = secure.http_url.removeprefix("https://")
    for options, text in (
        (("--server-name", "cloud.example"), f"certificate of {peer} refused: issued for another host"),
        (("--ca", "other/ca.pem"), f"certificate of {peer} refused: unknown CA"),
    ):
        result = cli(*run, *options)
        assert f"\x1b[31m[E/tls] {text}\x1b[0m\n" in result.stdout
        assert f": {text}; check " in one_line_error(result, 1, "device.not-activated")


def test_expired_server_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli("certs", "pki", "--expired")
    pki = tmp_path / "pki"
    tls = ServerTls(pki / "server.pem", pki / "server.key")
    cli("board", "new", "b")
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, tls=tls)) as server:
        result = cli(
            *("device", "run", "b", "--sn", "A", "--product-id", "P", "--product-key", "K"),
            *("--activation-url", server.activation_url, "--mqtt-url", server.mqtt_url),
            *("--ca", "pki/ca.pem", "--activation-attempts", "1"),
        )
    assert "refused: expired" in one_line_error(result, 1, "device.not-activated")


URLS = ("--activation-url", "https://127.0.0.1:1", "--mqtt-url", "mqtts://127.0.0.1:1")
IDENTITY = ("--sn", "A", "--product-id", "P", "--product-key", "K")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ((*IDENTITY, *URLS, "--profile", "v2.0.0"), "tls.unsupported", "profile v2.0.0 has no TLS"),
        ((*IDENTITY, *URLS, "--ca", "nosuch.pem"), "tls.file", "cannot read 'nosuch.pem': No such file"),
        ((*IDENTITY, *URLS, "--client-cert", "x.pem"), "cloudsim.usage", "give both or none"),
        ((*IDENTITY, *URLS, "--tls-min", "1.1"), "cloudsim.usage", "'1.1' is not one of '1.2', '1.3'"),
        ((*IDENTITY, *URLS, "--env-key-file", "nosuch.key"), "cloudsim.usage", "cannot read 'nosuch.key'"),
        (IDENTITY, "cloudsim.usage", "the port has no activation_url, mqtt_url: give --activation-url, "),
        (("--port", "bad.yaml"), "port.file", "port file 'bad.yaml', line 1: a port file has no 'x'"),
        (("--port", "nosuch.yaml"), "cloudsim.usage", "cannot read 'nosuch.yaml'"),
    ],
)
def test_wrong_calls(cli: Cli, tmp_path: Path, options: tuple[str, ...], code: str, text: str) -> None:
    (tmp_path / "bad.yaml").write_text("x: y\n")
    cli("board", "new", "b")
    result = cli("device", "run", "b", *options)
    assert text in one_line_error(result, 2, code)
    assert result.stdout == ""


def test_certificates_are_made_once_and_keys_are_private(cli: Cli, tmp_path: Path) -> None:
    made = json.loads(cli("certs", "pki", "--name", "cloud.test", "--device", "A", "--json").stdout)
    assert set(made) == {"directory", "ca", "server", "devices"}
    for files in (made["ca"], made["server"], made["devices"]["A"]):
        assert stat.S_IMODE((tmp_path / files["key"]).stat().st_mode) == 0o600
        assert "CERTIFICATE" in (tmp_path / files["certificate"]).read_text()
    before = (tmp_path / "pki/ca.pem").read_bytes()
    one_line_error(cli("certs", "pki"), 1, "certs.exists")
    assert (tmp_path / "pki/ca.pem").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "a b"),
        ("--device", "../x"),
        ("--device", ".x"),
        ("--device", "a/b"),
        ("--days", "0"),
        ("--days", "36500", "--expired"),
    ],
)
def test_certificates_that_cannot_be(cli: Cli, tmp_path: Path, options: tuple[str, ...]) -> None:
    one_line_error(cli("certs", "pki", *options), 2, "cloudsim.usage")
    assert not (tmp_path / "pki").exists()


def test_server_needs_certificate_and_key(cli: Cli) -> None:
    for options in (("--tls-cert", "a"), ("--tls-key", "a"), ("--tls-client-ca", "a")):
        line = one_line_error(cli("cloud", "serve", "--data", "c", *options), 2, "cloudsim.usage")
        assert "TLS needs --tls-cert and --tls-key, both" in line


def test_tools_reach_a_server_with_tls(cli: Cli, tmp_path: Path, secure: CloudServer) -> None:
    assert secure.http_url.startswith("https://")
    result = cli("cloud", "product", "create", "x", "--data", "cloud", "--json")
    assert json.loads(result.stdout)["name"] == "x"
