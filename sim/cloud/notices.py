"""What the cloud learns of a device by its messages that is of use beyond the database. Pure."""

from dataclasses import dataclass
from enum import Enum, auto


class News(Enum):
    ONLINE = auto()  # DP 1000 true: it has connected, after a reboot or not
    OFFLINE = auto()
    LOG_ON = auto()  # DP 1021
    LOG_OFF = auto()


@dataclass(frozen=True, slots=True)
class Notice:
    """`news` of the device with this DeviceID; told once the transaction that took it in is durable."""

    device_id: str
    news: News
