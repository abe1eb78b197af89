"""Time as a port: nothing in the product reads a clock except through this."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A source of time: the wall clock's, unless its user asks for a monotonic one."""

    def now_us(self) -> int:
        """Returns Unix time in microseconds; of a monotonic clock, microseconds since some instant."""


class ManualClock:
    """A clock that stands still until it is moved: for tests and simulations."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Returns the instant that was set last, Unix time in microseconds."""
        return self._now_us

    def advance(self, *, seconds: float) -> None:
        """Moves the clock by ``seconds``."""
        self._now_us += round(seconds * 1_000_000)

    def move_to(self, now_us: int) -> None:
        """Moves the clock to an instant, never back."""
        self._now_us = max(self._now_us, now_us)
