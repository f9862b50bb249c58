"""What an integrator supplies: the equivalent of `rt_cld_port.c`.

The original's port supplies SN, ProductID, ProductKey and two OTA hooks; the addresses of the cloud are
constants of its library. Here they are settings, since a simulator is pointed at many clouds.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError
from cloudsdk.profile import Profile
from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.upgrade_policy import Answer, UpgradeOffer, UpgradePolicy

ACTIVATION_PATH: Final = "/devices/active"
MQTT_PORTS: Final = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883}  # by scheme
_SECURE: Final = ("https", "mqtts")
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
    tls: bool = False


@dataclass(slots=True)
class Port:
    """One device's port. Subclass it to hook into OTA.

    `activation_url` may be the whole URL or only `http://host:port`; `mqtt_url` is `mqtt://host[:port]`
    (`tcp://` is the same). `https` and `mqtts` go by `tls`. Raises `UsageError` for values no device could
    hold.
    """

    sn: str
    product_id: str
    product_key: str = field(repr=False)
    activation_url: str
    mqtt_url: str
    tls: TlsSettings = field(default_factory=TlsSettings)
    policy: UpgradePolicy = field(default_factory=UpgradePolicy)
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

    def tls_for(self, profile: Profile) -> TlsSettings | None:
        """The TLS of a firmware that follows `profile`; None if it has none.

        Raises `TlsUnsupportedError` when this port asks for it all the same.
        """
        if profile.has_tls:
            return self.tls
        urls = (self.activation_url, self.mqtt_url)
        if self.tls != TlsSettings() or any(urlsplit(url).scheme in _SECURE for url in urls):
            raise TlsUnsupportedError(
                f"profile {profile.name} has no TLS: use http:// and mqtt:// and no TLS settings, "
                "or profile manual"
            )
        return None

    def may_upgrade(self, offer: UpgradeOffer) -> Answer:
        """Called before a download begins, where the profile heeds `upgrade_mode`. Must not wait."""
        return self.policy.answer(offer)

    def ota_start(self) -> None:
        """Called once when a download begins, before anything is erased."""

    def ota_end(self, status: OtaStatus) -> bool:
        """Called when a download has ended; returns whether to reset the board, as the sample port does."""
        return status == OtaStatus.OK


def _require_no_password(what: str, url: str) -> None:
    """Nobody asks for a password there, and URLs are shown. Raises `UsageError`, which does not show it."""
    if "@" in url:
        raise UsageError(f"{what} URL has a user or password (an '@'): leave it out")


def _activation_url(url: str) -> str:
    _require_no_password("activation", url)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"activation URL {url!r} is not http[s]://host[:port][/path]")
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{ACTIVATION_PATH}"


def _mqtt_address(url: str) -> MqttAddress:
    _require_no_password("MQTT", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or MQTT_PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = None, 0
    if not host or not port or parts.scheme not in MQTT_PORTS or parts.path.strip("/"):
        raise UsageError(f"MQTT URL {url!r} is not mqtt[s]://host[:port]")
    return MqttAddress(host, port, parts.scheme in _SECURE)
