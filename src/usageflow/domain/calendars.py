"""Windows of the calendar: from an instant to the bounds of the windows around it, in any time zone. Pure: no clock.

Instants are Unix time in microseconds. Rules of zones come from the package tzdata, never from the machine, so that every
replica of a release computes the same bounds. Windows tile time: each instant lies in exactly one.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_SECOND_US = 1_000_000
_HOUR_S, _DAY_S = 3600, 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = 7_289_654_400 * _SECOND_US  # 2201-01-01
_AROUND = range(-4, 5)
"""Windows looked at around an instant: a zone may have skipped a whole day."""


class Alignment(StrEnum):
    """Where aligned windows begin."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    BILLING = "billing"


LONGEST_US: Mapping[Alignment, int] = {
    Alignment.MINUTE: 60 * _SECOND_US,
    Alignment.HOUR: _HOUR_S * _SECOND_US,
    Alignment.DAY: _DAY_S * _SECOND_US,
    Alignment.WEEK: 7 * _DAY_S * _SECOND_US,
    Alignment.MONTH: 31 * _DAY_S * _SECOND_US,
    Alignment.BILLING: 31 * _DAY_S * _SECOND_US,
}
"""A window's usual length, the longest for months: for what needs one number, such as a local fallback's rate."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which windows: ``zone`` is a name of tzdata; ``anchor_us`` counts for BILLING only."""

    alignment: Alignment
    zone: str = "UTC"
    anchor_us: int = 0

    def __str__(self) -> str:
        return f"{self.alignment}@{self.zone}@{self.anchor_us}"


Bounds = tuple[int, int, int, int]
"""Starts of the previous, the present and the next window, and the next one's end."""


def bounds_of(wanted: Calendar, now_us: int) -> Bounds:
    """Returns the bounds around an instant of 1970 to 9000. Raises KeyError for a zone that tzdata does not have.

    A day begins at the first instant whose local time is midnight or later; weeks on Monday (ISO 8601); a billing month
    at the anchor's local day and time, on the month's last day where it has no such day. An hour or minute begins
    whenever the zone's clock shows a full one.
    """
    zone = zone_named(wanted.zone)
    starts = sorted(set(_STARTS[wanted.alignment](wanted, zone, now_us // _SECOND_US)))
    present = bisect_right(starts, now_us // _SECOND_US) - 1
    previous, start, following, end = (at * _SECOND_US for at in starts[present - 1 : present + 3])
    return previous, start, following, end


@cache
def zone_names() -> frozenset[str]:
    """Returns the names of all time zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def zone_named(name: str) -> ZoneInfo:
    """Returns a time zone. Raises KeyError where there is none of this name."""
    if name not in zone_names():
        raise KeyError(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def parse_instant(text: str) -> int:
    """Returns an instant such as ``2026-01-31T00:00:00Z``. Raises ValueError, whose text says what would be right."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise ValueError(
            f"{text[:40]!r} is not an instant: write date, time and zone, such as 2026-01-31T00:00:00Z"
        )
    return (read - _EPOCH) // timedelta(microseconds=1)


def check_instant(instant_us: int) -> int:
    """Returns the same instant. Raises ValueError for what is no whole second of 1970 to 2200."""
    if instant_us % _SECOND_US or not 0 <= instant_us < _LATEST_US:
        raise ValueError("must be a whole second of 1970 to 2200")
    return instant_us


def format_instant(instant_us: int) -> str:
    """Returns the text that parse_instant reads back; whole seconds only."""
    return f"{_EPOCH + timedelta(microseconds=instant_us):%Y-%m-%dT%H:%M:%SZ}"


def _local(zone: ZoneInfo, second: int) -> datetime:
    """Returns what the zone's clock shows, without its zone."""
    return (_EPOCH + timedelta(seconds=second)).astimezone(zone).replace(tzinfo=None)


def _first_at(zone: ZoneInfo, wall: datetime) -> int:
    """Returns the first second at which the zone's clock shows ``wall``, or has passed it where it is skipped."""
    aware = wall.replace(tzinfo=zone)
    early, late = (round((aware.replace(fold=fold) - _EPOCH).total_seconds()) for fold in (0, 1))
    if early <= late:
        return early
    # Skipped: the clock jumps over it between `late`, read with the offset after the jump, and `early`.
    below, above = late - 1, early
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if _local(zone, middle) >= wall else (middle, above)
    return above


def _clock_starts(length_s: int) -> Callable[[Calendar, ZoneInfo, int], Iterator[int]]:
    def starts(_: Calendar, zone: ZoneInfo, now: int) -> Iterator[int]:
        """Yields the instants around ``now`` at which the clock shows a multiple of ``length_s``."""
        offsets = {_offset(zone, now + step * length_s) for step in _AROUND}
        for offset in offsets:
            at = (now + offset) // length_s * length_s - offset
            nearby = (at + step * length_s for step in _AROUND)
            yield from (start for start in nearby if _offset(zone, start) == offset)

    return starts


def _offset(zone: ZoneInfo, second: int) -> int:
    return round((_local(zone, second) - _EPOCH.replace(tzinfo=None)).total_seconds()) - second


def _day_starts(_: Calendar, zone: ZoneInfo, now: int) -> Iterator[int]:
    today = datetime.combine(_local(zone, now).date(), datetime.min.time())
    return (_first_at(zone, today + timedelta(days=step)) for step in _AROUND)


def _week_starts(_: Calendar, zone: ZoneInfo, now: int) -> Iterator[int]:
    today = datetime.combine(_local(zone, now).date(), datetime.min.time())
    monday = today - timedelta(days=today.weekday())
    return (_first_at(zone, monday + timedelta(weeks=step)) for step in _AROUND)


def _month_starts(_: Calendar, zone: ZoneInfo, now: int) -> Iterator[int]:
    return _months(zone, now, datetime(1970, 1, 1))  # noqa: DTZ001 - a wall clock's reading


def _billing_starts(wanted: Calendar, zone: ZoneInfo, now: int) -> Iterator[int]:
    return _months(zone, now, _local(zone, wanted.anchor_us // _SECOND_US))


def _months(zone: ZoneInfo, now: int, anchor: datetime) -> Iterator[int]:
    """Yields the starts of the months around ``now``, each at the anchor's day and time or the month's last day."""
    here = _local(zone, now)
    for step in _AROUND:
        year, month = divmod(here.year * 12 + here.month - 1 + step, 12)
        last = calendar.monthrange(year, month + 1)[1]
        yield _first_at(zone, anchor.replace(year=year, month=month + 1, day=min(anchor.day, last)))


_STARTS: Mapping[Alignment, Callable[[Calendar, ZoneInfo, int], Iterator[int]]] = {
    Alignment.MINUTE: _clock_starts(60),
    Alignment.HOUR: _clock_starts(_HOUR_S),
    Alignment.DAY: _day_starts,
    Alignment.WEEK: _week_starts,
    Alignment.MONTH: _month_starts,
    Alignment.BILLING: _billing_starts,
}
