"""Recordings as files: written event by event, read as far as they go."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cloudsdk.errors import UsageError
from cloudsdk.files import PRIVATE, open_regular
from sim.traffic.errors import RecordingError, RecordingStoppedError
from sim.traffic.events import Data, Event, Header, event_line, header_line, parse_event, parse_header

MAX_FILE: Final = 1 << 30  # bytes a recording may grow to, unless told otherwise
MAX_LINE: Final = 1 << 20  # bytes; one read of the recorder makes about 100 KB at most
MAX_LOADED: Final = 256 << 20  # bytes of data in a recording that is held in memory
MAX_EVENTS: Final = 2_000_000  # likewise


class RecordingWriter:
    """Appends events to a new file. A line is with the system when `write` returns: kill -9 costs none.

    `write` never raises: what ends the recording is in `stopped`, and the traffic goes on. May be used from
    any thread. Raises `UsageError` when the file exists or cannot be made.
    """

    def __init__(self, path: Path, header: Header, *, max_size: int = MAX_FILE) -> None:
        self.stopped: RecordingStoppedError | None = None
        self.events = 0
        self._path = path
        self._left = max_size
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, PRIVATE)
        except FileExistsError:
            raise UsageError(f"{path} exists already: choose another name or remove it") from None
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        self._append(header_line(header))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            os.close(self._file)
            self.stopped = self.stopped or RecordingStoppedError("the recording is closed")

    def write(self, event: Event) -> None:
        """Append `event`, unless the recording has stopped."""
        with self._lock:
            if self.stopped is None:
                self._append(event_line(event))
                self.events += self.stopped is None

    def _append(self, line: bytes) -> None:
        if len(line) > self._left:
            self.stopped = RecordingStoppedError(f"{self._path} is full: raise the limit to record more")
            return
        self._left -= len(line)
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self.stopped = RecordingStoppedError(f"cannot write {self._path}: {error.strerror}")


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole recording. `cut` if its last line was not written to the end."""

    header: Header
    events: tuple[Event, ...]
    cut: bool = False


class RecordingReader:
    """Reads a recording line by line, in constant memory. A context manager.

    A last line that is cut, as after kill -9, ends the events and sets `cut`. Raises `RecordingError` for
    everything else that is no recording, with the number of the line.
    """

    def __init__(self, path: Path) -> None:
        self.cut = False
        self._path = path
        try:
            self._file = open_regular(path)
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from None
        try:
            self.header = parse_header(self._file.readline(MAX_LINE))
        except RecordingError as error:
            self._file.close()
            raise RecordingError(f"{path}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Event]:
        number = 1
        latest = 0.0
        while line := self._file.readline(MAX_LINE):
            number += 1
            if not line.endswith(b"\n") and len(line) < MAX_LINE:
                self.cut = True
                return
            try:
                event = parse_event(line)
            except RecordingError as error:
                raise RecordingError(f"{self._path}, line {number}: {error}") from None
            if event.t < latest:
                raise RecordingError(f"{self._path}, line {number}: the time goes back")
            latest = event.t
            yield event


def load_recording(path: Path) -> Recording:
    """All of a recording. Raises `RecordingError`, also for more than `MAX_LOADED` bytes or `MAX_EVENTS`."""
    size = 0
    events: list[Event] = []
    with RecordingReader(path) as reader:
        for event in reader:
            size += len(event.data) if isinstance(event, Data) else 0
            events.append(event)
            if size > MAX_LOADED or len(events) > MAX_EVENTS:
                raise RecordingError(f"{path} is longer than {MAX_LOADED >> 20} MiB or {MAX_EVENTS} events")
        return Recording(reader.header, tuple(events), reader.cut)
