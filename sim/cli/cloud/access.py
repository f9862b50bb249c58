"""Where the operations come from."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

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
    with contextlib.closing(Service(directory)) as service:
        yield service
