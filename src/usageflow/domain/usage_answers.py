"""From sums to an answer: which rows, in which order, with which percentiles. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from usageflow.domain.analytics import (
    UsageAnswer,
    UsageGroup,
    UsageKey,
    UsageOrder,
    UsageQuery,
    UsageRow,
    UsageSum,
    UsageSums,
)
from usageflow.domain.errors import InvalidArgument

MOST_ROWS = 20_000
"""What one answer may hold: about three megabytes."""

Percentiles = tuple[float, float, float]
_SHARES = (0.5, 0.95, 0.99)
_ORDERS: dict[UsageOrder, Callable[[UsageSum], Any]] = {
    UsageOrder.REQUESTS: lambda sums: sums.requests,
    UsageOrder.UNITS: lambda sums: sums.units,
    UsageOrder.ERRORS: lambda sums: sums.errors,
    UsageOrder.DENIED: lambda sums: sums.denied,
}


def answered(query: UsageQuery, sums: UsageSums, boundaries: Sequence[int]) -> UsageAnswer:
    """Returns the answer to a query from the sums of a store. ``boundaries`` are those of latency buckets.

    Groups come most first, equal ones by key; a time series is in order of time, then of its groups. Raises InvalidArgument where
    there would be too many rows.
    """
    groups = _grouped(sums)
    kept = _ranked(groups, query, boundaries)
    rank = {key: place for place, key in enumerate(kept)}
    steps = sorted((time, rank[key], key) for key, time in sums.rows if key in rank)
    if len(steps) > MOST_ROWS:
        message = f"leaves {len(steps):,} rows of at most {MOST_ROWS:,}"
        raise InvalidArgument.of("limit", message, "ask for fewer groups, longer steps or a shorter span")
    timed = query.interval is not None
    counting = _Counting(boundaries)
    rows = tuple(
        UsageRow(
            key,
            time if timed else None,
            sums.rows[key, time],
            counting.percentiles(sums.rows[key, time].latency),
        )
        for time, _, key in steps
    )
    if UsageGroup.SHADOW_POLICY in query.groups:  # usage may be in several groups, and in the total once
        whole = _Counting(boundaries).percentiles(sums.total.latency)
    else:
        counting.add(
            [each for (key, _), left in sums.rows.items() if key not in rank for each in left.latency]
        )
        whole = counting.percentiles_of_all()
    return UsageAnswer(rows, query.since, UsageRow(UsageKey(), None, sums.total, whole))


def _grouped(sums: UsageSums) -> dict[UsageKey, UsageSum]:
    """Returns the sums of each group over all steps."""
    groups: dict[UsageKey, UsageSum] = {}
    for (key, _), each in sums.rows.items():
        groups.setdefault(key, UsageSum()).add(each)
    return groups


def _ranked(groups: dict[UsageKey, UsageSum], query: UsageQuery, boundaries: Sequence[int]) -> list[UsageKey]:
    """Returns the groups that are kept, in their order."""

    def p95(sums: UsageSum) -> float:
        found = _Counting(boundaries).percentiles(sums.latency)
        return found[1] if found else -1.0

    measure = _ORDERS.get(query.order, p95)
    # Two stable sorts, because a negated Decimal would be rounded to the context's precision.
    keys = sorted(groups, key=_sortable)
    keys.sort(key=lambda key: measure(groups[key]), reverse=True)
    return keys[: query.limit or None]


def _sortable(key: UsageKey) -> tuple[Any, ...]:
    """Returns a key as it is ordered; within one answer a field is set in all keys or in none."""
    return tuple(value for value in key if value is not None)


class _Counting:
    """Counts histograms, megabytes of them, and adds up what it has counted, so that a total needs no second count."""

    def __init__(self, boundaries: Sequence[int]) -> None:
        self._boundaries = boundaries
        self._all: Any = None

    def add(self, histograms: Sequence[bytes]) -> Any:
        """Counts histograms; returns the requests per bucket, None where there are none."""
        if not any(histograms):
            return None
        from usageflow.domain.histograms import added, counts_of  # loads numpy

        counts = counts_of(histograms, len(self._boundaries))
        self._all = counts.copy() if self._all is None else added(self._all, counts.copy())
        return counts

    def percentiles(self, histograms: Sequence[bytes]) -> Percentiles | None:
        """Counts histograms; returns their percentiles."""
        return self._of(self.add(histograms))

    def percentiles_of_all(self) -> Percentiles | None:
        """Returns the percentiles of all that was counted."""
        return self._of(self._all)

    def _of(self, counts: Any) -> Percentiles | None:
        if counts is None:
            return None
        from usageflow.domain.histograms import quantiles  # loads numpy

        found = quantiles(counts, _SHARES, self._boundaries)
        return None if found is None else (found[0], found[1], found[2])
