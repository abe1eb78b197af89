"""Waiting times and log rates, as arithmetic."""

from __future__ import annotations


class Backoff:
    """Exponential back-off with jitter: each delay lies in the upper half of first, 2 x first, 4 x first ... cap."""

    def __init__(self, *, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._attempt = 0

    def next(self, random: float, *, at_least_s: float = 0.0) -> float:
        """Returns the next delay in seconds; `random` is in [0, 1)."""
        full = min(self._cap_s, self._first_s * float(1 << min(self._attempt, 30)))
        self._attempt += 1
        return max(full * (0.5 + random / 2), at_least_s)

    def reset(self) -> None:
        """Starts again at the first delay."""
        self._attempt = 0


class Throttle:
    """Lets one through per period: for log lines that must not flood."""

    def __init__(self, period_s: float = 60.0) -> None:
        self._period_s = period_s
        self._next: float | None = None

    def ready(self, now: float) -> bool:
        """Tells whether a period has passed since the last yes; `now` is seconds of a monotonic clock."""
        if self._next is not None and now < self._next:
            return False
        self._next = now + self._period_s
        return True
