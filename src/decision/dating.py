"""Bounds of calendar windows for takes, worked out once per window: that takes longer than a whole decision."""

from __future__ import annotations

from dataclasses import replace

from usageflow.domain.calendars import Bounds, Calendar, bounds_of
from usageflow.domain.clock import Clock
from usageflow.storage.counters import Take

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
        if all(item.rule.calendar is None for item in take.limits):
            return take
        now_us = self._clock.now_us()
        limits = tuple(
            replace(item, bounds=self._bounds(item.rule.calendar, now_us)) if item.rule.calendar else item
            for item in take.limits
        )
        return replace(take, limits=limits)

    def _bounds(self, wanted: Calendar, now_us: int) -> Bounds:
        known = self._known.get(wanted)
        if known is None or not known[1] <= now_us < known[2]:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[wanted] = bounds_of(wanted, now_us)
        return known
