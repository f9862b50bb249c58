"""`cloudsim cloud account`, `token`, `audit`, `rekey`, and clouds elsewhere."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudsdk.errors import CloudSdkError, UsageError
from sim.certs import CertificatePlan, make_certificates
from sim.cli.cloud import cloud
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.tls import ServerTls

PASSWORD = "correct horse"


def invoke(*arguments: str, **environment: str | None) -> Result:
    return CliRunner(env=environment).invoke(cloud, list(arguments))


def output(*arguments: str, **environment: str | None) -> str:
    result = invoke(*arguments, **environment)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(CloudSdkError) as error:
        call()
    return error.value.code


@pytest.fixture(params=["offline", "served"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "offline":
        yield tmp_path / "cloud"
        return
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0)):
        yield tmp_path / "cloud"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def test_the_operator_manages_accounts(data: Path, password_file: Path) -> None:
    def run(*arguments: str) -> Any:
        return json.loads(output("account", *arguments, "--data", str(data), "--json"))

    file = ("--password-file", str(password_file))
    assert run("create", "Anna", *file)["name"] == "anna"
    assert code_of(lambda: run("create", "anna", *file)) == "cloud.duplicate-account"
    assert run("disable", "ANNA")["disabled"]
    assert not run("list")[0]["can_log_in"]
    assert not run("enable", "anna")["disabled"]
    password_file.write_text("another password")
    assert run("password", "anna", *file)["can_log_in"]
    assert code_of(lambda: run("disable", "nobody")) == "cloud.unknown-account"


def test_passwords_do_not_come_from_the_command_line(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "cloud"))
    with pytest.raises(UsageError, match="--password-file"):
        output("account", "create", "anna", *data)
    for name, content, complaint in (
        ("none", None, "No such"),
        ("empty", "", "empty"),
        ("raw", b"\xff", "UTF-8"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError, match=complaint):
            output("account", "create", "anna", "--password-file", str(path), *data)


def test_the_operator_account_can_be_given_a_password(data: Path, password_file: Path) -> None:
    """What is made on the command line belongs to it, and is seen in the console so."""
    here = ("--data", str(data), "--json")
    output("product", "create", "lamp", *here)
    arguments = ("account", "password", "operator", "--password-file", str(password_file), *here)
    assert json.loads(output(*arguments))["can_log_in"]


def test_tokens_come_and_go(data: Path) -> None:
    here = ("--data", str(data), "--json")
    made = json.loads(
        output("token", "create", "ci", "--scope", "read", "--scope", "keys", "--days", "2", *here)
    )
    assert made["token"].startswith("cs_")
    assert made["expires_at"] - made["created_at"] in range(2 * 86400 - 60, 2 * 86400 + 60)
    [listed] = json.loads(output("token", "list", *here))
    assert "token" not in listed
    assert made["token"] not in output("token", "list", "--data", str(data))
    output("token", "delete", str(made["id"]), *here)
    assert json.loads(output("token", "list", *here)) == []


def test_audit_is_printed_newest_first(data: Path) -> None:
    here = ("--data", str(data))
    for name in ("lamp", "fan"):
        output("product", "create", name, *here)
    items = json.loads(output("audit", "--action", "product.", "--json", *here))["items"]
    assert [entry["detail"] for entry in items] == ["fan", "lamp"]
    table = output("audit", "--since", "2026-01-01", *here)
    assert "product.create" in table
    assert "operator" in table
    assert json.loads(output("audit", "--until", "2026-01-01", "--json", *here))["items"] == []


def test_rekey(tmp_path: Path) -> None:
    here = ("--data", str(tmp_path / "cloud"), "--json")
    key = json.loads(output("product", "create", "lamp", *here))["product_key"]
    before = (tmp_path / "cloud" / "vault.key").read_bytes()
    assert json.loads(output("rekey", *here)) == {"sealed": 1}
    assert (tmp_path / "cloud" / "vault.key").read_bytes() != before
    assert json.loads(output("product", "show", "lamp", "--show-key", *here))["product_key"] == key


def test_vault_key_elsewhere(tmp_path: Path) -> None:
    here = ("--data", str(tmp_path / "cloud"), "--json")
    elsewhere = str(tmp_path / "key")
    output("product", "create", "lamp", "--vault-key", elsewhere, *here)
    assert code_of(lambda: output("product", "list", *here)) == "cloud.vault-key"
    assert json.loads(output("product", "list", *here, CLOUDSIM_VAULT_KEY=elsewhere))[0]["name"] == "lamp"


def test_a_cloud_elsewhere_by_token_and_ca(tmp_path: Path) -> None:
    today = datetime.now(UTC).replace(tzinfo=None)
    certificates = make_certificates(tmp_path / "certs", CertificatePlan(), today)
    tls = ServerTls(certificates.server.certificate, certificates.server.key)
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, tls=tls)) as server:
        made = output(
            "token",
            "create",
            "ci",
            "--scope",
            "read",
            "--scope",
            "manage",
            "--json",
            "--data",
            str(tmp_path / "cloud"),
        )
        token = json.loads(made)["token"]
        there = ("--url", server.http_url, "--json", "--data", str(tmp_path / "unused"))
        ca = str(certificates.ca.certificate)
        output("product", "create", "lamp", "--ca", ca, *there, CLOUDSIM_TOKEN=token)
        listed = json.loads(output("product", "list", *there, CLOUDSIM_TOKEN=token, CLOUDSIM_CA=ca))
        assert [row["name"] for row in listed] == ["lamp"]
        assert code_of(lambda: output("product", "list", *there, CLOUDSIM_TOKEN=token)) == "cloud.unreachable"
        wrong = invoke("product", "list", "--ca", ca, *there, CLOUDSIM_TOKEN=token + "x")
        assert isinstance(wrong.exception, CloudSdkError)
        assert wrong.exception.code == "cloud.unauthorized"
        assert token not in str(wrong.exception)
        missing = ("product", "list", "--ca", str(tmp_path / "none"), *there)
        with pytest.raises(UsageError, match="no CA certificate"):
            output(*missing, CLOUDSIM_TOKEN=token)
        key = code_of(
            lambda: output("product", "show", "lamp", "--show-key", "--ca", ca, *there, CLOUDSIM_TOKEN=token)
        )
        assert key == "cloud.forbidden"
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("token", [None, "", "two\nlines", "ü"])
def test_token_for_a_cloud_elsewhere_must_be_in_the_environment(token: str | None) -> None:
    with pytest.raises(UsageError, match="CLOUDSIM_TOKEN"):
        output("product", "list", "--url", "https://cloud.example", CLOUDSIM_TOKEN=token)


@pytest.mark.parametrize("url", ["cloud.example", "ftp://h", "http://", "http://[", ""])
def test_bad_urls_are_one_line(url: str) -> None:
    with pytest.raises(UsageError, match="https://host:port"):
        output("product", "list", "--url", url, CLOUDSIM_TOKEN="x")


def test_token_over_plain_http_is_warned_of() -> None:
    result = invoke("product", "list", "--url", "http://no.such.host.invalid:1", CLOUDSIM_TOKEN="x")
    assert "unencrypted" in result.stderr
    assert code_of(lambda: output("product", "list", "--url", "http://127.0.0.1:1", CLOUDSIM_TOKEN="x"))
    assert "unencrypted" not in invoke("audit", "--url", "http://127.0.0.1:1", CLOUDSIM_TOKEN="x").stderr
