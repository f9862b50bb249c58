"""What a console has printed, for readers that wait."""

import re
import threading
import time
from typing import Final

TAIL_LINES: Final = 20  # of the console, in an error message
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ExpectationError(AssertionError):
    """What a test waited for did not come. The message shows where the console ends."""


class Transcript:
    """Text without colours and carriage returns, and the position up to which `expect` has read.

    Written by one thread, read by others. `name` is for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._text = ""
        self._position = 0
        self._closed = ""
        self._changed = threading.Condition()

    @property
    def text(self) -> str:
        return self._text

    def write(self, text: str) -> None:
        with self._changed:
            self._text += _ESCAPES.sub("", text).replace("\r", "")
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

    @property
    def position(self) -> int:
        """How far it was read."""
        return self._position

    def mark(self) -> int:
        """Skip what was printed so far; returns the new position."""
        with self._changed:
            self._position = len(self._text)
            return self._position

    def expect(self, wanted: "str | re.Pattern[str]", timeout: float) -> re.Match[str]:
        """Wait up to `timeout` seconds for text (as it is) or a pattern, and read up to its end.

        Raises `ExpectationError`.
        """
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + timeout
        with self._changed:
            while (match := pattern.search(self._text, self._position)) is None:
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    why = self._closed or f"not within {timeout:g} s"
                    raise ExpectationError(f"{self._name}: {wanted!r} did not come: {why}; {self._end()}")
                self._changed.wait(left)
            self._position = match.end()
            return match

    def tail(self, lines: int = TAIL_LINES) -> str:
        return "\n".join(self._text.splitlines()[-lines:])

    def _end(self) -> str:
        return f"the console ends with\n{self.tail()}" if self._text else "the console is empty"
