"""`cloudsim cloud account`: for the operator of the cloud."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from sim.cli.cloud.access import Admin, open_admin
from sim.cli.cloud.options import common_options
from sim.cli.cloud.output import show, show_rows

if TYPE_CHECKING:
    from sim.cloud.shapes import AccountInfo

MAX_PASSWORD_FILE: Final = 1024  # bytes

_password_file = click.option(
    "--password-file", type=click.Path(path_type=Path), help="File with the password in its first line."
)


@click.group()
def account() -> None:
    """Accounts that log in to the console. Without --url these commands are the operator's."""


@account.command("create")
@click.argument("name")
@_password_file
@common_options
def account_create(name: str, password_file: Path | None, data: Path, as_json: bool) -> None:
    """Create account NAME, even where registration is closed. Asks for the password."""
    password = _password(password_file)
    with open_admin(data) as admin:
        show(admin.create_account(name, password), as_json)


@account.command("list")
@common_options
def account_list(data: Path, as_json: bool) -> None:
    """List the accounts."""
    columns = ("id", "name", "can_log_in", "disabled", "last_login_at", "created_at")
    with open_admin(data) as admin:
        show_rows(admin.list_accounts(), columns, as_json)


@account.command("disable")
@click.argument("name")
@common_options
def account_disable(name: str, data: Path, as_json: bool) -> None:
    """Shut account NAME out: sessions end, log-ins and tokens are refused. Its devices go on."""
    with open_admin(data) as admin:
        show(admin.set_account_enabled(_find(admin, name)["id"], False), as_json)


@account.command("enable")
@click.argument("name")
@common_options
def account_enable(name: str, data: Path, as_json: bool) -> None:
    """Let account NAME in again."""
    with open_admin(data) as admin:
        show(admin.set_account_enabled(_find(admin, name)["id"], True), as_json)


@account.command("password")
@click.argument("name")
@_password_file
@common_options
def account_password(name: str, password_file: Path | None, data: Path, as_json: bool) -> None:
    """Give account NAME a new password. Its sessions end. Asks for the password.

    With the name `operator`, what is made on the command line can be seen in the console as well.
    """
    password = _password(password_file)
    with open_admin(data) as admin:
        show(admin.set_password(_find(admin, name)["id"], password), as_json)


def _find(admin: Admin, name: str) -> "AccountInfo":
    from sim.cloud.errors import UnknownAccountError

    found = admin.list_accounts(name)
    if not found:
        raise UnknownAccountError(f"there is no account {name}")
    return found[0]


def _password(file: Path | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask for the password on: use --password-file")
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        with open_regular(file) as source:
            lines = source.read(MAX_PASSWORD_FILE).decode().splitlines()
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text") from None
    if not lines:
        raise UsageError(f"{file} is empty: it must hold the password")
    return lines[0]
