"""The real clocks."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's wall clock."""

    def now_us(self) -> int:
        """Returns Unix time in microseconds."""
        return time.time_ns() // 1000


class MonotonicClock:
    """Time that never goes back, for pauses: nobody can set it."""

    def now_us(self) -> int:
        """Returns microseconds since an instant that is this machine's own."""
        return time.monotonic_ns() // 1000
