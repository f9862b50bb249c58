"""The files of a result: page, JSON, CSV, JUnit, and events as they come."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from cloudsdk.errors import UsageError
from cloudsdk.files import replacing
from sim.fleet.events import FleetEvent
from sim.scenario.html_report import html_report
from sim.scenario.junit import junit
from sim.scenario.results import Result
from sim.scenario.series import Sample

MAX_EVENTS: Final = 5_000_000  # lines; later events are counted in the results, and not written
EVENTS_FILE: Final = "events.jsonl"
_COUNTS: Final = (
    *("online", "activated", "upgraded", "failed", "published", "acknowledged", "received"),
    *("downloaded_bytes", "errors", "offline", "lag", "cpu"),
)
_LATENCIES: Final = ("activation", "connect", "acknowledgement", "upgrade")


class Reports:
    """The folder of one run; made by `into`."""

    def __init__(self, folder: Path, events: TextIO) -> None:
        self._folder = folder
        self._events = events
        self._written = 0

    @classmethod
    @contextmanager
    def into(cls, folder: Path) -> Iterator["Reports"]:
        """Take events from now on. Raises `UsageError` when the folder cannot be used."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            events = (folder / EVENTS_FILE).open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write reports into {folder}: {error.strerror or error}") from None
        with events:
            yield cls(folder, events)

    def event(self, event: FleetEvent) -> None:
        if self._written < MAX_EVENTS:
            self._events.write(event.json_line())
            self._written += 1

    def write(self, result: Result) -> None:
        """All files, each whole or not at all. Raises `UsageError` when the disk does not allow it."""
        files = {
            "report.html": html_report(result).encode(),
            "result.json": (json.dumps(result.json(), indent=2) + "\n").encode(),
            "series.csv": series_csv(result.samples).encode(),
            "junit.xml": junit(result),
        }
        for name, content in files.items():
            with replacing(self._folder / name) as file:
                file.write(content)


def series_csv(samples: tuple[Sample, ...]) -> str:
    """The samples as CSV with a header; times in seconds, versions as `version=count`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    latencies = [f"{name}_{percentile}" for name in _LATENCIES for percentile in ("p50", "p99")]
    writer.writerow(["at", "phase", *_COUNTS, *latencies, "versions"])
    for sample in samples:
        times = (sample.latencies[name] or ("", "") for name in _LATENCIES)
        versions = " ".join(f"{version}={count}" for version, count in sample.versions.items())
        counts = (getattr(sample, name) for name in _COUNTS)
        writer.writerow(
            [sample.at, sample.phase, *counts, *(each for pair in times for each in pair), versions]
        )
    return text.getvalue()
