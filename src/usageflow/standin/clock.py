"""The stand-in's own time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Time that people can move."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._ahead_s = 0.0

    def now_s(self) -> int:
        """Returns Unix time in seconds."""
        return int(self._now() + self._ahead_s)

    def advance(self, seconds: float) -> None:
        """Moves it, back too."""
        self._ahead_s += seconds

    def set(self, second: float) -> None:
        """Sets it; it goes on from there."""
        self._ahead_s = second - self._now()
