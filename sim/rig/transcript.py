"""What a console has printed, for readers that wait."""

import re
import threading
from collections.abc import Callable
from typing import Final

from sim.rig.clock import RigClock

TAIL_LINES: Final = 20  # of the console, in an error message
MAX_TEXT: Final = 4 * 1024 * 1024  # characters kept of one console; then the older half goes
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ExpectationError(AssertionError):
    """What a test waited for did not come. The message shows where the console ends."""


class Transcript:
    """Text without colours and carriage returns, and the position up to which `expect` has read.

    Nothing is waited for until `open`. Written by one thread, read by others. `name` is for messages, `mask`
    hides secrets in them.
    """

    def __init__(self, name: str, clock: RigClock, mask: Callable[[str], str] = str) -> None:
        self._name = name
        self._clock = clock
        self._mask = mask
        self._text = ""
        self._position = 0
        self._closed = "the device was not switched on"
        self._changed = threading.Condition()

    @property
    def text(self) -> str:
        return self._text

    def write(self, text: str) -> None:
        with self._changed:
            self._text += _ESCAPES.sub("", text).replace("\r", "")
            if len(self._text) > MAX_TEXT:
                gone = len(self._text) - MAX_TEXT // 2
                self._text = self._text[gone:]
                self._position = max(0, self._position - gone)
            self._changed.notify_all()

    def open(self) -> None:
        """More is to come."""
        with self._changed:
            self._closed = ""

    def close(self, why: str) -> None:
        """Nothing more will come, so that nobody needs to wait for it."""
        with self._changed:
            self._closed = why
            self._changed.notify_all()

    def mark(self) -> None:
        """Skip what was printed so far."""
        with self._changed:
            self._position = len(self._text)

    def expect(self, wanted: "str | re.Pattern[str]", timeout: float | None = None) -> re.Match[str]:
        """Wait up to `timeout` seconds for text (as it is) or a pattern, and read up to its end.

        Raises `ExpectationError`.
        """
        __tracebackhide__ = True
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted
        seconds = self._clock.patience if timeout is None else timeout
        with self._changed:
            self._wait(lambda: pattern.search(self._text, self._position) is not None, seconds)
            match = pattern.search(self._text, self._position)
            if match is None:
                why = self._closed or f"not within {seconds:g} s"
                shown = wanted if isinstance(wanted, str) else wanted.pattern
                raise ExpectationError(f"{self._name}: {shown!r} did not come: {why}; {self.end()}")
            self._position = match.end()
            return match

    def end(self) -> str:
        """The last lines, for messages."""
        if not self._text:
            return "the console is empty"
        lines = self._mask(self._text).splitlines()[-TAIL_LINES:]
        return "the console ends with\n" + "\n".join(lines)

    def _wait(self, found: Callable[[], bool], seconds: float) -> None:
        def over() -> bool:
            return found() or bool(self._closed)

        if self._clock.is_virtual:
            self._clock.wait(over, seconds)
        else:
            self._changed.wait_for(over, seconds)
