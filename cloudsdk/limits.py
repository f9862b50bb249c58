"""Every delay, retry and size the device core uses, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults are the original's (cloudsdk-protocol sections 1 to 3)."""

    activation_attempts: int = 0  # failed activations before giving up; 0: for ever, as the original
    activation_retry: float = 10.0  # seconds between two activation attempts, without limit or back-off
    http_timeout: float = 6.0  # seconds, socket send and receive
    activation_response: int = 4096  # bytes of the activation response that are read
    mqtt_keepalive: int = 30  # seconds, in CONNECT
    mqtt_silence: float = 20.0  # seconds without a packet before PINGREQ
    mqtt_answer: float = 5.0  # seconds to wait for CONNACK, SUBACK and PINGRESP each
    mqtt_reconnect: float = 5.0  # seconds between a loss and the next CONNECT
    download_retry: float = 10.0  # seconds between two attempts of a download
    download_block: int = 1024  # bytes received, decrypted and written at a time
    redirects: int = 5  # HTTP redirects followed for one request
