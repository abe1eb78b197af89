"""Bounds of calendar windows for takes, worked out once per window: that takes longer than a whole decision."""

from __future__ import annotations

from usageflow.domain.calendars import Bounds, Calendar, bounds_of
from usageflow.domain.clock import Clock
from usageflow.storage.counters import LimitTake, Take

_MOST = 10_000
"""Calendars remembered; a policy's limit names one, so only thousands of billing anchors come near."""


class Dating:
    """Hands takes the bounds of their calendars around the present time. The clock is the caller's own: stores pick the
    window by theirs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[Calendar, Bounds] = {}

    def dated(self, take: Take) -> Take:
        """Returns the take with the bounds of its calendars, if it has any."""
        if not any(item.rule.calendar for limits in (take.limits, *take.shadows) for item in limits):
            return take
        now_us = self._clock.now_us()
        limits, *shadows = (self._dated(limits, now_us) for limits in (take.limits, *take.shadows))
        return take._replace(limits=limits, shadows=tuple(shadows))

    def _dated(self, limits: tuple[LimitTake, ...], now_us: int) -> tuple[LimitTake, ...]:
        return tuple(
            item._replace(bounds=self._bounds(item.rule.calendar, now_us)) if item.rule.calendar else item
            for item in limits
        )

    def _bounds(self, wanted: Calendar, now_us: int) -> Bounds:
        known = self._known.get(wanted)
        if known is None or not known[1] <= now_us < known[2]:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[wanted] = bounds_of(wanted, now_us)
        return known
