"""Where the operations come from."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from sim.cli.cloud.options import DATABASE_VARIABLE

if TYPE_CHECKING:  # the cloud's dependencies are an extra; other commands do without
    from sim.cloud.client import AdminClient
    from sim.cloud.operations import Operations

Admin: TypeAlias = Union["Operations", "AdminClient"]


@contextlib.contextmanager
def open_admin(data: Path) -> Iterator[Admin]:
    """The operations: those of the server that runs on `data`, else those of the database itself."""
    from sim.cloud.client import AdminClient
    from sim.cloud.datadir import DataDir
    from sim.cloud.service import Service

    directory = DataDir(data)
    endpoint = directory.endpoint()
    if endpoint is not None:
        with contextlib.closing(AdminClient(endpoint.admin_url, endpoint.admin_token)) as client:
            if client.healthy(endpoint.instance):
                yield client
                return
    database = os.environ.get(DATABASE_VARIABLE) or None
    with contextlib.closing(Service(directory, database=database)) as service:
        yield service
