"""What an integrator supplies: the equivalent of `rt_cld_port.c`.

The original's port supplies SN, ProductID, ProductKey and two OTA hooks; the addresses of the cloud are
constants of its library. Here they are settings, since a simulator is pointed at many clouds.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError

ACTIVATION_PATH: Final = "/devices/active"
MQTT_SCHEMES: Final = ("mqtt", "tcp")
MAX_SN: Final = 32  # characters (cloudsdk-protocol fixture table)
MAX_PRODUCT_ID: Final = 16
MAX_PRODUCT_KEY: Final = 36


class OtaStatus(IntEnum):
    """Argument of `ota_end` (cloudsdk-protocol 3.6)."""

    OK = 0
    FAILED = 1


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Host and TCP port of the broker."""

    host: str
    port: int


@dataclass(slots=True)
class Port:
    """One device's port. Subclass it to hook into OTA.

    `activation_url` may be the whole URL or only `http://host:port`; `mqtt_url` is `mqtt://host[:port]`
    (`tcp://` is the same). Raises `UsageError` for values no device could hold.
    """

    sn: str
    product_id: str
    product_key: str = field(repr=False)
    activation_url: str
    mqtt_url: str
    #: Refuse a task with a firmware that is older than what is installed, or that cannot be compared with it.
    refuse_downgrade: bool = False

    def __post_init__(self) -> None:
        for name, value, longest in (
            ("SN", self.sn, MAX_SN),
            ("ProductID", self.product_id, MAX_PRODUCT_ID),
            ("ProductKey", self.product_key, MAX_PRODUCT_KEY),
        ):
            if not value or len(value) > longest or not value.isascii() or not value.isprintable():
                raise UsageError(f"{name} must be 1 to {longest} printable ASCII characters")
        self.activation_url = _activation_url(self.activation_url)
        _mqtt_address(self.mqtt_url)

    @property
    def mqtt_address(self) -> MqttAddress:
        return _mqtt_address(self.mqtt_url)

    def ota_start(self) -> None:
        """Called once when a download begins, before anything is erased."""

    def ota_end(self, status: OtaStatus) -> bool:
        """Called when a download has ended; returns whether to reset the board, as the sample port does."""
        return status == OtaStatus.OK


def _activation_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"activation URL {url!r} is not http://host[:port][/path]")
    return url if parts.path.strip("/") else f"http://{parts.netloc}{ACTIVATION_PATH}"


def _mqtt_address(url: str) -> MqttAddress:
    parts = urlsplit(url)
    try:
        port = parts.port or 1883
    except ValueError:
        port = 0
    if parts.scheme not in MQTT_SCHEMES or not parts.hostname or not port or parts.path.strip("/"):
        raise UsageError(f"MQTT URL {url!r} is not mqtt://host[:port]")
    return MqttAddress(parts.hostname, port)
