"""How times are told."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(times_s: Sequence[float], share: float) -> float:
    """Returns the time that ``share`` of all do not exceed, by the nearest rank."""
    ordered = sorted(times_s)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def spread(times_s: Sequence[float]) -> str:
    """Returns p50, p99 and the longest in milliseconds."""
    told = (percentile(times_s, 0.5), percentile(times_s, 0.99), max(times_s))
    return "p50 {:.0f} ms, p99 {:.0f} ms, longest {:.0f} ms".format(*(1000 * each for each in told))
