"""From what a caller saw of one counter to what was allowed, what was admitted, and what was beyond the promise.

A caller knows of an instant only that it lies between the sending of the question and the coming of the answer. What cannot be told for
sure never counts as beyond.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from tools.prove.promises import Event, fits_bucket, fits_sliding, fullest, over_bucket


class Reading(NamedTuple):
    """An answer: between these instants of Unix time it was decided. ``reset_us`` is the answer's own."""

    sent_us: int
    came_us: int
    allowed: bool
    reset_us: int

    @property
    def middle_us(self) -> int:
        """Returns the likeliest instant."""
        return (self.sent_us + self.came_us) // 2


class Judged(NamedTuple):
    """``allowed`` of the requests fit the promise, ``admitted`` were, ``beyond`` of those for sure not."""

    allowed: int
    admitted: int
    beyond: int


def judge_window(readings: Sequence[Reading], limit: int, window_us: int) -> Judged:
    """Judges a FIXED_WINDOW: every answer tells when its window ends, so windows are told apart without knowing their instants."""
    told = [one for one in readings if one.came_us - one.sent_us <= window_us // 4]
    asked = fullest((one.middle_us + one.reset_us for one in told), window_us)
    used = fullest((one.middle_us + one.reset_us for one in told if one.allowed), window_us)
    # Of answers that took long nobody knows the window: those admitted may stand for what others lack there.
    unknown = sum(one.allowed for one in readings) - sum(used.values())
    return Judged(
        max(0, sum(min(limit, count) for count in asked.values()) - unknown),
        sum(used.values()),
        sum(max(0, count - limit) for count in used.values()),
    )


def judge_bucket(readings: Sequence[Reading], limit: int, window_us: int) -> Judged:
    """Judges a TOKEN_BUCKET whose burst is its limit."""
    events = [Event(one.sent_us, one.came_us) for one in readings if one.allowed]
    beyond = over_bucket(events, limit, [(0, Fraction(limit, window_us))])
    return Judged(len(fits_bucket(_middles(readings), limit, window_us)), len(events), beyond)


def judge_sliding(readings: Sequence[Reading], limit: int, window_us: int) -> Judged:
    """Judges a SLIDING_WINDOW, whose windows begin at multiples of their length: beyond is what was admitted although even the
    least estimate that the instants leave open had no room.
    """
    admitted = [one for one in readings if one.allowed]
    sure = [one for one in admitted if one.sent_us // window_us == one.came_us // window_us]
    counts = Counter(one.sent_us // window_us for one in sure)
    ends: dict[int, list[int]] = {number: [] for number in counts}
    for one in sorted(sure, key=lambda each: each.came_us):
        ends[one.came_us // window_us].append(one.came_us)
    beyond = 0
    for one in sure:
        number, into_us = divmod(one.came_us, window_us)
        before = bisect_left(ends[number], one.sent_us)
        beyond += counts[number - 1] * (window_us - into_us) + (before + 1) * window_us > limit * window_us
    return Judged(len(fits_sliding(_middles(readings), limit, window_us)), len(admitted), beyond)


def _middles(readings: Sequence[Reading]) -> list[int]:
    return sorted(one.middle_us for one in readings)


JUDGES: dict[str, Callable[[Sequence[Reading], int, int], Judged]] = {
    "FIXED_WINDOW": judge_window,
    "TOKEN_BUCKET": judge_bucket,
    "SLIDING_WINDOW": judge_sliding,
}
