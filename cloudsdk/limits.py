"""Every delay, retry and size the device core uses, in one place."""

from dataclasses import dataclass
from typing import Final

from cloudsdk.errors import UsageError

DOWNLOAD_BLOCKS: Final = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults are the original's (cloudsdk-protocol sections 1 to 3), which has no deadlines.

    Raises `UsageError` for a download block that is not one of `DOWNLOAD_BLOCKS`: those are made of whole
    cipher blocks and divide what a journal stages.
    """

    activation_attempts: int = 0  # failed activations before giving up; 0: for ever, as the original
    activation_retry: float = 10.0  # seconds between two activation attempts
    http_timeout: float = 6.0  # seconds, socket send and receive
    activation_deadline: float = 60.0  # seconds for one activation, where the profile has a deadline
    activation_response: int = 4096  # bytes of the activation response that are read
    mqtt_keepalive: int = 30  # seconds, in CONNECT
    mqtt_silence: float = 20.0  # seconds without a packet before PINGREQ
    mqtt_answer: float = 5.0  # seconds to wait for CONNACK, SUBACK and PINGRESP each
    mqtt_reconnect: float = 5.0  # seconds between a loss and the next CONNECT
    mqtt_reconnect_longest: float = (
        60.0  # seconds; up to this `mqtt_reconnect` doubles, if the profile lets it
    )
    download_retry: float = 10.0  # seconds between two attempts of a download
    retry_longest: float = 300.0  # seconds; likewise for `download_retry` and `activation_retry`
    download_attempts: int = 8  # in a row that bring nothing new until a download fails, where it may
    download_stall: float = 60.0  # seconds between two looks at the speed, where the profile has a deadline
    download_lowest_speed: int = 16  # bytes per second; a slower connection is dropped and resumed
    download_block: int = 1024  # bytes received, decrypted and written at a time; a power of two
    installations: int = 3  # of one package of one task until that is refused, where the profile counts
    frozen_after: int = 5  # times the same task changes nothing until that is told, where the profile does
    redirects: int = 5  # HTTP redirects followed for one request
    tcp_connect: float = 20.0  # seconds for a connection to a shell or log server; the original's is lwIP's
    tcp_linger: float = 2.0  # seconds a closing connection may take to hand over what is left
    tcp_backlog: int = 65536  # bytes waiting for a server that does not read; more is dropped
    tcp_connections: int = 8  # shell and log connections open at a time, lwIP's usual number of sockets
    shell_key_retry: float = 0.1  # seconds; the original retries at once

    def __post_init__(self) -> None:
        if self.download_block not in DOWNLOAD_BLOCKS:
            raise UsageError(f"download_block must be one of {', '.join(map(str, DOWNLOAD_BLOCKS))} bytes")
