"""Where the operations come from."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, Union
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError
from sim.cli.cloud.options import DATABASE_VARIABLE, TOKEN_VARIABLE, place
from sim.cli.output import echo_warning

if TYPE_CHECKING:  # the cloud's dependencies are an extra; other commands do without
    from sim.cloud.client import AdminClient
    from sim.cloud.operations import Operations

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")

Admin: TypeAlias = Union["Operations", "AdminClient"]


@contextlib.contextmanager
def open_admin(data: Path) -> Iterator[Admin]:
    """The operations: of the cloud that `--url` names, else of the server that runs on `data`, else of the
    database itself."""
    from sim.cloud.client import AdminClient
    from sim.cloud.datadir import DataDir
    from sim.cloud.service import Service

    where = place()
    if where.url is not None:
        with contextlib.closing(AdminClient(where.url, _token(where.url), where.ca)) as client:
            yield client
            return
    directory = DataDir(data)
    endpoint = directory.endpoint()
    if endpoint is not None:
        with contextlib.closing(AdminClient(endpoint.admin_url, endpoint.admin_token)) as client:
            if client.healthy(endpoint.instance):
                yield client
                return
    database = os.environ.get(DATABASE_VARIABLE) or None
    service = Service(directory, database=database, vault_key=where.vault_key)
    with contextlib.closing(service):
        yield service


@contextlib.contextmanager
def open_client(data: Path) -> Iterator["AdminClient"]:
    """As `open_admin`, for what needs a running cloud. Raises `NotRunningError` without one."""
    from sim.cloud.client import AdminClient
    from sim.cloud.errors import NotRunningError

    with open_admin(data) as admin:
        if not isinstance(admin, AdminClient):
            raise NotRunningError(f"no cloud runs on {data}: start it with cloudsim cloud serve")
        yield admin


def _token(url: str) -> str:
    """The token for the cloud at `url`, from the environment: a command line is for everybody to read."""
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.hostname
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host:
        raise UsageError("the URL of the cloud must look like https://host:port")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError(f"set {TOKEN_VARIABLE} to an API token of the cloud at {host}")
    if scheme == "http" and host not in _LOCAL:
        echo_warning(f"the token goes to {host} unencrypted: use https")
    return token
