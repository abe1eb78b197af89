"""What the algorithms promise, worked out from requests alone: references that share nothing with the product's arithmetic.

A request is an `Event`: where its instant is not known exactly, it lies between `early_us` and `late_us`, such as between the sending
of a question and the coming of its answer. Times are whole microseconds of any one clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple


class Event(NamedTuple):
    """One unit, at some instant from ``early_us`` to ``late_us``."""

    early_us: int
    late_us: int


def fits_window(times_us: Iterable[int], limit: int, window_us: int) -> list[int]:
    """Returns the instants at which a FIXED_WINDOW that starts at the first request admits one."""
    end_us, used, admitted = -1, 0, []
    for at_us in times_us:
        if at_us >= end_us:
            end_us, used = at_us + window_us, 0
        if used < limit:
            used += 1
            admitted.append(at_us)
    return admitted


def fits_bucket(times_us: Iterable[int], limit: int, window_us: int) -> list[int]:
    """Returns the instants at which a TOKEN_BUCKET admits one: full at first, ``limit`` units large, refilled within a window."""
    level, last_us, admitted = limit * window_us, 0, []  # in units x microseconds: whole numbers
    for at_us in times_us:
        level = min(limit * window_us, level + (at_us - last_us) * limit)
        last_us = at_us
        if level >= window_us:
            level -= window_us
            admitted.append(at_us)
    return admitted


def fits_sliding(times_us: Iterable[int], limit: int, window_us: int) -> list[int]:
    """Returns the instants at which a SLIDING_WINDOW admits one: previous count x share still covered + present count <= limit."""
    counts: defaultdict[int, int] = defaultdict(int)
    admitted = []
    for at_us in times_us:
        number, into_us = divmod(at_us, window_us)
        weighed = counts[number - 1] * (window_us - into_us) + (counts[number] + 1) * window_us
        if weighed <= limit * window_us:
            counts[number] += 1
            admitted.append(at_us)
    return admitted


FITS: dict[str, Callable[[Iterable[int], int, int], list[int]]] = {
    "FIXED_WINDOW": fits_window,
    "TOKEN_BUCKET": fits_bucket,
    "SLIDING_WINDOW": fits_sliding,
}
"""By algorithm: which of the requests at these instants, ascending, are allowed."""


def over_bucket(
    events: Iterable[Event], burst: int, rates: Sequence[tuple[int, Fraction]], *, error_us: int = 0
) -> int:
    """Returns how many units no bucket explains: 0 where the instants can be chosen so that in every span t at most
    burst + rate x t lie. ``rates`` are (from when, units per microsecond), ascending; the first holds before, too. With ``error_us`` every instant is known that
    much worse. Where nothing is known exactly it may find more than there are, since it does not try every choice; never fewer.

    Source: earliest deadline first, as late as possible; what would overflow serves early, since it is lost otherwise.
    """
    waiting: list[int] = []
    steps = [(event.early_us - error_us, 0, event.late_us + error_us) for event in events]
    due = [(late_us, 1, late_us) for _, _, late_us in steps]
    level, last_us, over = Fraction(burst), None, 0
    for at_us, ends, late_us in sorted([*steps, *due]):
        level += 0 if last_us is None else _refilled(last_us, at_us, rates)
        last_us = at_us
        while level > burst and waiting:
            heapq.heappop(waiting)
            level -= 1
        level = min(level, Fraction(burst))
        if not ends:
            heapq.heappush(waiting, late_us)
        while ends and waiting and waiting[0] <= at_us:
            heapq.heappop(waiting)
            over += level < 1
            level -= 1 if level >= 1 else 0
    return over


def _refilled(from_us: int, to_us: int, rates: Sequence[tuple[int, Fraction]]) -> Fraction:
    starts = [from_us, *(max(from_us, start_us) for start_us, _ in rates[1:]), to_us]
    spans = itertools.pairwise(starts)
    return sum(
        (
            rate * max(0, min(end, to_us) - start)
            for (start, end), (_, rate) in zip(spans, rates, strict=True)
        ),
        Fraction(0),
    )


def fullest(instances_us: Iterable[int], window_us: int) -> dict[int, int]:
    """Returns how many units each window got, by its end. ``instances_us`` are the ends that answers told, one per unit; each
    is known less exactly than half a window, so that ends of one window lie together.
    """
    counts: dict[int, int] = {}
    first_us: int | None = None
    for end_us in sorted(instances_us):
        if first_us is None or end_us - first_us > window_us // 2:
            first_us = end_us
            counts[first_us] = 0
        counts[first_us] += 1
    return counts
