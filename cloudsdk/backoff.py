"""Delays between attempts."""


class Backoff:
    """The first delay is `first` seconds; each next one is twice as long, up to `longest`.

    With `constant` every delay is the first, as in the original (cloudsdk-protocol 1.1, 2.1, 3.6). `failures`
    counts the attempts since the last success.
    """

    __slots__ = ("_constant", "_first", "_longest", "failures")

    def __init__(self, first: float, longest: float, *, constant: bool) -> None:
        self.failures = 0
        self._first = first
        self._longest = max(first, longest)
        self._constant = constant

    def fail(self) -> float:
        """Note a failure; returns the seconds until the next attempt."""
        doublings = 0 if self._constant else min(self.failures, 32)
        self.failures += 1
        return min(self._first * (1 << doublings), self._longest)

    def succeed(self) -> None:
        self.failures = 0
