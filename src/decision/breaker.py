"""The circuit breaker of the counter store: a pure state machine. Times are microseconds of a monotonic clock.

closed --threshold failures in a row--> open --back-off over--> probing --success--> closed
^------failure, back-off doubled---|
"""

from __future__ import annotations


class CircuitBreaker:
    """Closed until ``threshold`` failures in a row; then open for ``open_us``, after which one operation at a time is let
    through: the probe. Its failure doubles the pause, up to ``max_open_us``; its success closes the breaker.

    Whoever is let in holds a ticket and hands it back with what became of it. A ticket is good for the state that it was
    given in: answers of operations that began before the breaker opened neither lengthen the pause nor end it.
    """

    def __init__(self, *, threshold: int = 5, open_us: int = 250_000, max_open_us: int = 500_000) -> None:
        self._threshold = threshold
        self._first_open_us = open_us
        self._max_open_us = max_open_us
        self._open_us = open_us
        self._failures = 0
        self._until_us = 0
        self._probing = False
        self._ticket = 1

    @property
    def is_open(self) -> bool:
        """True while the store counts as dead, also while a probe is on its way."""
        return self._failures >= self._threshold

    def allow(self, now_us: int) -> int | None:
        """Returns a ticket, None for no. Every ticket must come back to exactly one of the methods below."""
        if not self.is_open:
            return self._ticket
        if self._probing or now_us < self._until_us:
            return None
        self._probing = True
        self._ticket += 1
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """Notes an answer: the store lives."""
        if ticket != self._ticket:
            return
        self._failures = 0
        if self._probing:
            self._open_us = self._first_open_us
            self._end_probe()

    def failed(self, ticket: int, now_us: int) -> None:
        """Notes a failure."""
        if ticket != self._ticket:
            return
        self._failures = min(self._failures + 1, self._threshold)
        if self.is_open:
            self._until_us = now_us + self._open_us
            self._open_us = min(self._open_us * 2, self._max_open_us)
            self._end_probe()

    def abandoned(self, ticket: int) -> None:
        """Notes an operation that says nothing about the store; where it was the probe, the next one is."""
        if ticket == self._ticket and self._probing:
            self._end_probe()

    def _end_probe(self) -> None:
        self._probing = False
        self._ticket += 1
