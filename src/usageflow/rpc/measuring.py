"""How long calls take: counted here, shown when somebody asks. An instrument of the SDK costs a tenth of a whole check."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, in seconds; one more is open."""


@dataclass(slots=True)
class _Series:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0


class CallTimes:
    """A histogram of seconds by (method, code)."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], _Series] = {}

    def record(self, method: str, code: str, seconds: float) -> None:
        """Counts a call."""
        series = self._series.get((method, code))
        if series is None:
            series = self._series[method, code] = _Series()
        series.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        series.sum_s += seconds

    def read(self) -> Iterator[tuple[str, str, Sequence[int], float]]:
        """Yields (method, code, calls per bucket, sum of seconds), from any thread."""
        for (method, code), series in self._series.copy().items():
            yield method, code, tuple(series.buckets), series.sum_s
