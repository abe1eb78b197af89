"""What limits promise, as slowly and plainly as it can be said. Counters of every back end are compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake


class ReferenceModel:
    """Remembers every unit that was ever taken, and works everything out from that."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[int, int]]] = {}

    def room(self, item: LimitTake, now_us: int) -> int:
        """Returns how many units fit now."""
        taken, rule = self._taken.get(item.key, []), item.rule
        if rule.algorithm is Algorithm.FIXED_WINDOW:
            start, used = None, 0
            for at, cost in taken:
                if start is None or at >= start + rule.window_us:
                    start, used = at, 0
                used += cost
            return rule.limit - (used if start is not None and now_us < start + rule.window_us else 0)
        level, seen = Fraction(rule.capacity), 0
        for at, cost in [*taken, (now_us, 0)]:
            level = (
                min(Fraction(rule.capacity), level + Fraction((at - seen) * rule.limit, rule.window_us))
                - cost
            )
            seen = at
        return int(level)

    def take(self, items: Sequence[LimitTake], now_us: int) -> bool:
        """Takes from all or from none; tells which."""
        if any(item.cost > self.room(item, now_us) for item in items):
            return False
        for item in items:
            self._taken.setdefault(item.key, []).append((now_us, item.cost))
        return True
