"""How a run went over time, and whether the generator kept up. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sim.fleet.events import Kind, Phase
from sim.fleet.histogram import Histogram
from sim.fleet.metrics import Metrics
from sim.scenario.measure import Observer

MAX_SAMPLES: Final = 2000  # from there on every other one is dropped, and half as many are taken
MAX_VERSIONS: Final = 8  # that are told apart in a sample
OTHERS: Final = "others"
LAG_LIMIT: Final = 0.25  # seconds that the loop may be late, for 1 % of its looks
CPU_LIMIT: Final = 0.95  # of one processor, which is all that one event loop can have
BUSY_SHARE: Final = 0.1  # of the samples may be above that


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment and what happened since the one before. Latencies are seconds, None when there were none."""

    at: float  # seconds since the start of the run
    phase: str
    online: int
    activated: int
    upgraded: int
    failed: int
    published: int
    acknowledged: int
    received: int
    downloaded_bytes: int
    errors: int
    offline: int
    latencies: Mapping[str, tuple[float, float] | None]  # p50 and p99, by name
    versions: Mapping[str, int]  # devices that report it
    lag: float  # seconds that the event loop was late at most
    cpu: float  # share of one processor that this process used


@dataclass(slots=True)
class Series:
    """Samples of one run, at distances of `period` seconds."""

    period: float = 1.0
    samples: list[Sample] = field(default_factory=list)
    lags: Histogram = field(default_factory=Histogram)
    dropped: int = 0  # looks at the clock that the loop had no time for
    _lag: float = 0.0
    _counts: Counter[str] = field(default_factory=Counter)
    _histograms: dict[str, Histogram] = field(default_factory=dict)
    _cpu: tuple[float, float] = (0.0, 0.0)

    def lagged(self, seconds: float, every: float) -> None:
        """The loop was so late for one of its looks, of which there is one `every` seconds."""
        self.lags.add(seconds)
        self._lag = max(self._lag, seconds)
        self.dropped += int(seconds / every)

    def take(self, at: float, phase: str, observer: Observer, cpu_seconds: float) -> Sample:
        """Add a sample."""
        metrics = observer.metrics
        counts = _counts(metrics)
        new = counts - self._counts
        since, used = at - self._cpu[0], cpu_seconds - self._cpu[1]
        sample = Sample(
            round(at, 3),
            phase,
            metrics.phases[Phase.ONLINE],
            len(observer.activated),
            len(observer.upgraded),
            metrics.phases[Phase.FAILED],
            new["published"],
            new["acknowledged"],
            new["received"],
            new["downloaded_bytes"],
            new["errors"],
            new["offline"],
            self._latencies(metrics),
            _versions(observer.versions),
            round(self._lag, 4),
            round(used / since, 3) if since > 0 else 0.0,
        )
        self._counts, self._lag, self._cpu = counts, 0.0, (at, cpu_seconds)
        self.samples.append(sample)
        if len(self.samples) > MAX_SAMPLES:
            self._thin()
        return sample

    def limits(self) -> list[str]:
        """Why the results say more of the generator than of the cloud; nothing when they do not."""
        found = []
        lag = self.lags.percentile(0.99)
        if lag > LAG_LIMIT:
            found.append(f"the event loop was {lag * 1000:.0f} ms late for one look in a hundred")
        busy = sum(sample.cpu >= CPU_LIMIT for sample in self.samples)
        if busy > max(1, BUSY_SHARE * len(self.samples)):
            found.append(f"the processor was full in {busy} of {len(self.samples)} samples")
        return found

    def _latencies(self, metrics: Metrics) -> dict[str, tuple[float, float] | None]:
        found: dict[str, tuple[float, float] | None] = {}
        for name in ("activation", "connect", "acknowledgement", "upgrade"):
            histogram: Histogram = getattr(metrics, name)
            recent = histogram.since(self._histograms.get(name, Histogram()))
            self._histograms[name] = histogram.copy()
            found[name] = (recent.percentile(0.5), recent.percentile(0.99)) if recent.count else None
        return found

    def _thin(self) -> None:
        """Half as many samples; what two counted is in the later one."""
        pairs = zip(self.samples[::2], self.samples[1::2], strict=False)
        last = self.samples[-1:] if len(self.samples) % 2 else []
        self.samples = [_joined(first, second) for first, second in pairs] + last
        self.period *= 2


def _joined(first: Sample, second: Sample) -> Sample:
    latencies = {
        name: max(filter(None, (first.latencies[name], second.latencies[name])), default=None)
        for name in second.latencies
    }
    return Sample(
        second.at,
        second.phase,
        second.online,
        second.activated,
        second.upgraded,
        second.failed,
        first.published + second.published,
        first.acknowledged + second.acknowledged,
        first.received + second.received,
        first.downloaded_bytes + second.downloaded_bytes,
        first.errors + second.errors,
        first.offline + second.offline,
        latencies,
        second.versions,
        max(first.lag, second.lag),
        round((first.cpu + second.cpu) / 2, 3),
    )


def _counts(metrics: Metrics) -> Counter[str]:
    return Counter(
        published=metrics.published,
        acknowledged=metrics.acknowledged,
        received=metrics.received,
        downloaded_bytes=metrics.downloaded_bytes,
        errors=metrics.counts[Kind.FAILED],
        offline=metrics.counts[Kind.OFFLINE],
    )


def _versions(versions: Counter[str]) -> dict[str, int]:
    found = dict(versions.most_common(MAX_VERSIONS))
    rest = sum(versions.values()) - sum(found.values())
    return {**found, OTHERS: rest} if rest else found
