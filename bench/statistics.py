"""The arithmetic against noise. Pure: measurements come in as functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least ``share`` (0 to 1) of the values do not exceed (nearest rank).

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ratios_in_turn(
    pairs: int, numerator: Callable[[], float], denominator: Callable[[], float]
) -> list[tuple[float, float]]:
    """Measures both sides ``pairs`` times, side by side, and lets each of them begin in turn: what disturbs the machine for
    longer than a pair disturbs both, and what the first does to the second it does to both. Returns (numerator, denominator)
    of each pair.
    """
    measured = []
    for pair in range(pairs):
        if pair % 2:
            below = denominator()
            measured.append((numerator(), below))
        else:
            above = numerator()
            measured.append((above, denominator()))
    return measured


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Returns the median of the pairs' ratios: one disturbed pair does not count."""
    return median(above / below for above, below in pairs)
