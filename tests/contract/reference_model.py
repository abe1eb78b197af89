"""What limits promise, as slowly and plainly as it can be said. Counters of every back end are compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake

Units = Sequence[tuple[int, int]]
"""When how many were taken."""


class ReferenceModel:
    """Remembers every unit that was ever taken, and works everything out from that."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[int, int]]] = {}

    def room(self, item: LimitTake, now_us: int) -> int:
        """Returns how many units fit now."""
        taken = self._taken.get(item.key, [])
        if item.rule.algorithm is Algorithm.TOKEN_BUCKET:
            return _in_bucket(item, taken, now_us)
        if item.rule.algorithm is Algorithm.SLIDING_WINDOW:
            return max(0, _in_sliding_window(item, taken, now_us))
        if item.bounds is not None:
            _, start, end, _ = item.bounds
            return item.rule.limit - sum(cost for at, cost in taken if start <= at < end)
        return _in_anchored_window(item, taken, now_us)

    def take(self, items: Sequence[LimitTake], now_us: int) -> bool:
        """Takes from all or, save what denials are charged, from none; tells which."""
        rooms = [self.room(item, now_us) for item in items]
        fits = all(item.cost <= room for item, room in zip(items, rooms, strict=True))
        for item, room in zip(items, rooms, strict=True):
            if fits or item.rule.charge_denied:
                self._taken.setdefault(item.key, []).append((now_us, min(item.cost, room)))
        return fits


def _in_anchored_window(item: LimitTake, taken: Units, now_us: int) -> int:
    start, used = None, 0
    for at, cost in taken:
        if start is None or at >= start + item.rule.window_us:
            start, used = at, 0
        used += cost
    return item.rule.limit - (used if start is not None and now_us < start + item.rule.window_us else 0)


def _in_sliding_window(item: LimitTake, taken: Units, now_us: int) -> int:
    window = item.rule.window_us
    number, elapsed = divmod(now_us, window)
    of = {0: 0, 1: 0}
    for at, cost in taken:
        of[number - at // window] = of.get(number - at // window, 0) + cost
    return int((item.rule.limit - of[0] - of[1] * (1 - Fraction(elapsed, window))) // 1)


def _in_bucket(item: LimitTake, taken: Units, now_us: int) -> int:
    level, seen, rule = Fraction(item.rule.capacity), 0, item.rule
    for at, cost in [*taken, (now_us, 0)]:
        gained = Fraction((at - seen) * rule.limit, rule.window_us)
        level = min(Fraction(rule.capacity), level + gained) - cost
        seen = at
    return int(level)
