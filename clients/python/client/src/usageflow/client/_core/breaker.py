"""Stops asking a dead service, and paces how often it is asked again."""

from __future__ import annotations


class CircuitBreaker:
    """Closed until `threshold` failures in a row; then open, with one probe per `open_s` (doubling up to `max_open_s`).

    Times are seconds of any monotonic clock.
    """

    def __init__(self, *, threshold: int = 5, open_s: float = 0.5, max_open_s: float = 10.0) -> None:
        self._threshold = threshold
        self._first_open_s = open_s
        self._max_open_s = max_open_s
        self._open_s = open_s
        self._failures = 0
        self._until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True while the service counts as dead."""
        return self._failures >= self._threshold

    def allow(self, now: float) -> bool:
        """Tells whether to ask. While open it says yes once per `open_s`: that request is the probe."""
        if not self.is_open:
            return True
        if now < self._until:
            return False
        self._until = now + self._open_s  # a probe that never comes back must not close this door for good
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Notes an answer: the service lives."""
        self._failures = 0
        self._open_s = self._first_open_s
        self._probing = False

    def retry_now(self) -> None:
        """Lets the next request be the probe: something else has heard from the service."""
        self._until = 0.0

    def failed(self, now: float, *, hold_s: float = 0.0) -> None:
        """Notes a failure. With `hold_s` the breaker opens at once, for at least that long."""
        self._failures = max(self._failures + 1, self._threshold if hold_s else 0)
        if not self.is_open:
            return
        if self._failures == self._threshold or self._probing or hold_s:
            # Answers of calls that were in flight when it opened must not lengthen the pause further.
            self._until = max(self._until, now + max(self._open_s, hold_s))
            self._open_s = min(self._open_s * 2, self._max_open_s)
            self._probing = False
