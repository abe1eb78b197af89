"""The real clock."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's wall clock."""

    def now_us(self) -> int:
        """Returns Unix time in microseconds."""
        return time.time_ns() // 1000
