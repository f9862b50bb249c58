"""What a cloud counts, in a registry of its own: several clouds may run in one process (Prometheus)."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters and gauges by name. Labels take few, fixed values: no device or product is named."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.activations = Counter(
            "cloudsim_activations", "Activation requests by result.", ["result"], registry=registry
        )
        self.logins = Counter(
            "cloudsim_mqtt_logins", "MQTT log-ins of devices by result.", ["result"], registry=registry
        )
        self.connects = Counter("cloudsim_mqtt_connects", "Connections that logged in.", registry=registry)
        self.messages = Counter(
            "cloudsim_mqtt_messages", "Messages by direction.", ["direction"], registry=registry
        )
        self.firmware_bytes = Counter(
            "cloudsim_firmware_sent_bytes", "Bytes of firmware handed to the network.", registry=registry
        )
        self.transfers = Counter(
            "cloudsim_transfers", "Firmware requests by outcome.", ["outcome"], registry=registry
        )
        self.devices = Gauge("cloudsim_devices", "Devices by state.", ["state"], registry=registry)
        self.tasks = Gauge(
            "cloudsim_task_devices", "Devices of tasks by state.", ["state"], registry=registry
        )
        self.transaction_seconds = Histogram(
            "cloudsim_transaction_seconds",
            "Duration of database transactions, the wait for the disk included.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "cloudsim_event_loop_lag_seconds",
            "How late the event loop wakes up.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Gauge(
            "cloudsim_database_queue", "Calls in line for the writing thread.", registry=registry
        )

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Ask `length` whenever the metrics are read."""
        self._queue.set_function(length)

    def text(self) -> bytes:
        """Everything in the text format 0.0.4, `CONTENT_TYPE`."""
        return generate_latest(self._registry)
