"""Where the consoles listen, and what devices are told: dotted IPv4 (cloudsdk-protocol 2.4)."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from console_rig import in_loop

from cloudsdk.errors import CloudSdkError, UsageError
from sim.cloud.gateways.addresses import ANY, announced_host, listening_host
from sim.cloud.server import CloudConfig, CloudServer


def config(data: Path, **changes: Any) -> CloudConfig:
    return CloudConfig(**{"data": data, "http_port": 0, "mqtt_port": 0, **changes})


@pytest.mark.parametrize(
    ("host", "listening"),
    [("127.0.0.1", "127.0.0.1"), (ANY, ANY), ("::", ANY), ("::1", "127.0.0.1")],
)
def test_the_gateways_listen_by_ipv4_where_the_cloud_listens(host: str, listening: str) -> None:
    assert listening_host(host) == listening


def test_an_ipv6_address_of_a_network_has_no_ipv4_form() -> None:
    with pytest.raises(UsageError, match="IPv4"):
        listening_host("2001:db8::1")


@pytest.mark.parametrize(
    ("listening", "gateway", "public", "announced"),
    [
        ("192.0.2.1", None, None, "192.0.2.1"),
        ("localhost", None, None, "127.0.0.1"),
        (ANY, None, None, "127.0.0.1"),
        (ANY, None, "http://10.0.0.5:8090", "10.0.0.5"),
        (ANY, None, "https://localhost/cloud", "127.0.0.1"),
        (ANY, "10.0.0.6", "http://10.0.0.5:8090", "10.0.0.6"),
        (ANY, "localhost", None, "127.0.0.1"),
    ],
)
@in_loop
async def test_devices_are_told_an_address_and_never_a_name(
    listening: str, gateway: str | None, public: str | None, announced: str
) -> None:
    assert await announced_host(listening, gateway, public) == announced


@in_loop
async def test_a_gateway_host_without_an_address_is_refused() -> None:
    for name in ("no.such.host.invalid", "", "::1", "a" * 300, "\ud800"):
        with pytest.raises(UsageError):
            await announced_host(ANY, name, None)


@in_loop
async def test_a_public_name_that_only_devices_know_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert await announced_host("127.0.0.1", None, "http://no.such.host.invalid") == "127.0.0.1"
    assert "--gateway-host" in caplog.text


@pytest.mark.parametrize("option", ["shell_port", "log_port"])
def test_a_port_in_use_is_one_line_with_a_remedy(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CloudSdkError) as error:
            CloudServer(config(tmp_path, **{option: port})).start()
    assert error.value.code == "cloud.port-in-use"
    flag = "--" + option.replace("_", "-")
    assert str(error.value) == f"port {port} on 127.0.0.1 is already in use: choose another with {flag}"
    with CloudServer(config(tmp_path)):
        pass  # nothing was left open
