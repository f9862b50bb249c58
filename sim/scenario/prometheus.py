"""Metrics of a running scenario for Prometheus, on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from cloudsdk.errors import UsageError
from sim.scenario.runner import Run
from sim.scenario.series import Sample

HOST: Final = "127.0.0.1"
_GAUGES: Final = {
    "online": "devices that are online",
    "activated": "devices that have been activated in this run",
    "upgraded": "devices that report the version of their upgrade",
    "failed": "devices that have failed for good",
    "lag": "seconds that the event loop was late at most, in the last sample",
    "cpu": "share of one processor that the generator used, in the last sample",
}
_COUNTERS: Final = {
    "published": "MQTT messages that devices sent",
    "acknowledged": "of these, acknowledged ones whose time was taken",
    "received": "MQTT messages that devices got",
    "downloaded_bytes": "bytes of firmware",
    "errors": "failures of activations, connections and downloads",
    "offline": "connections lost",
}


class MetricsEndpoint:
    """Serves the last sample, so that no scrape looks at devices while they run."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.url = ""
        prefix = "cloudsim_fleet_"
        self._gauges = {
            name: Gauge(prefix + name, text, registry=self.registry) for name, text in _GAUGES.items()
        }
        self._counters = {
            name: Counter(prefix + name, text, registry=self.registry) for name, text in _COUNTERS.items()
        }
        self._latency = Gauge(
            f"{prefix}latency_seconds",
            "latencies in the last sample",
            ["what", "percentile"],
            registry=self.registry,
        )
        self._versions = Gauge(
            f"{prefix}version_devices", "devices that report a version", ["version"], registry=self.registry
        )

    def watch(self, _run: Run, sample: Sample) -> None:
        """Take the next sample."""
        for name, gauge in self._gauges.items():
            gauge.set(getattr(sample, name))
        for name, counter in self._counters.items():
            counter.inc(getattr(sample, name))
        for name, found in sample.latencies.items():
            for percentile, seconds in zip(("50", "99"), found or (), strict=False):
                self._latency.labels(name, percentile).set(seconds)
        self._versions.clear()
        for version, count in sample.versions.items():
            self._versions.labels(version).set(count)


@contextmanager
def metrics_endpoint(port: int) -> Iterator[MetricsEndpoint]:
    """Serve on a port of loopback, 0 for any. Raises `UsageError` when it is taken."""
    endpoint = MetricsEndpoint()
    try:
        server, thread = start_http_server(port, addr=HOST, registry=endpoint.registry)
    except OSError as error:
        raise UsageError(f"cannot serve metrics on port {port}: {error.strerror}; choose another") from None
    endpoint.url = f"http://{HOST}:{server.server_port}/metrics"
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
