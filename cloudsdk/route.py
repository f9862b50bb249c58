"""Where a device's connections really go: where the cloud says, or through something in between."""

from collections.abc import Callable
from enum import StrEnum

Address = tuple[str, int]  # host, TCP port


class Link(StrEnum):
    """What a connection is for."""

    HTTP = "http"  # activation and firmware
    MQTT = "mqtt"
    SHELL = "shell"  # Web Shell
    LOG = "log"  # Web Log


#: Given a link, host and port, the address to connect to; raises `OSError` when there is no way. What is
#: sent stays the same. Called from any thread.
Route = Callable[[Link, str, int], Address]


def direct(_link: Link, host: str, port: int) -> Address:
    """The route that changes nothing."""
    return host, port
