from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.calendars import (
    LONGEST_US,
    Alignment,
    Calendar,
    bounds_of,
    check_instant,
    format_instant,
    parse_instant,
    zone_named,
    zone_names,
)

S = 1_000_000
DAY = 86_400 * S
LATEST = parse_instant("2110-01-01T00:00:00Z")

instants = st.integers(0, LATEST)
calendars = st.builds(
    Calendar,
    st.sampled_from(list(Alignment)),
    st.sampled_from(sorted(zone_names())),
    st.integers(0, LATEST // S).map(lambda second: second * S),
)


def at(text: str) -> int:
    return parse_instant(text)


@steady
@given(calendars, instants)
@example(Calendar(Alignment.DAY, "Pacific/Apia"), at("2011-12-30T09:59:59Z"))  # skipped 30 December
@example(Calendar(Alignment.DAY, "America/St_Johns"), at("2010-11-07T02:31:00Z"))  # back from 00:01 to 23:01
@example(Calendar(Alignment.HOUR, "Australia/Lord_Howe"), at("2024-04-06T15:00:00Z"))  # back by half an hour
@example(Calendar(Alignment.WEEK, "Pacific/Apia"), at("2011-12-31T00:00:00Z"))
@example(Calendar(Alignment.MONTH, "America/Havana"), at("2015-11-01T05:00:00Z"))  # midnight comes twice
def test_windows_tile_time_without_gap_or_overlap(wanted: Calendar, now: int) -> None:
    previous, start, following, end = bounds_of(wanted, now)
    assert previous < start <= now < following < end
    assert (
        bounds_of(wanted, start)[:3] == bounds_of(wanted, following - 1)[:3] == (previous, start, following)
    )
    assert bounds_of(wanted, start - 1)[1:3] == (previous, start)
    assert bounds_of(wanted, following)[:3] == (start, following, end)


@steady
@given(calendars, instants)
def test_windows_are_about_as_long_as_they_are_called(wanted: Calendar, now: int) -> None:
    _, start, following, _ = bounds_of(wanted, now)
    usual = LONGEST_US[wanted.alignment]
    # Months have 28 days; a clock was put forward or back by a day at most, and by hours where hours are counted.
    least = usual // 60 if wanted.alignment in {Alignment.MINUTE, Alignment.HOUR} else usual - 3 * DAY - DAY
    assert max(0, least) < following - start <= usual + DAY


@steady
@given(st.sampled_from(sorted(zone_names())), instants)
def test_days_weeks_and_months_hold_the_dates_they_name(zone: str, now: int) -> None:
    local = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=each)).astimezone(zone_named(zone))
        for each in (bounds_of(Calendar(Alignment.WEEK, zone), now)[1], now)
    ]
    assert (local[0].date() - timedelta(days=local[0].weekday())) == (
        local[1].date() - timedelta(days=local[1].weekday())
    ) or abs(local[0] - local[1]) > timedelta(
        days=6, hours=20
    )  # the repeated hour before a repeated midnight


@pytest.mark.parametrize("day", range(1, 32))
def test_a_billing_month_begins_on_the_anchors_day_or_the_months_last(day: int) -> None:
    wanted = Calendar(Alignment.BILLING, anchor_us=at(f"2026-01-{day:02}T08:30:00Z"))
    starts = []
    now = at("2024-01-01T00:00:00Z")
    while now < at("2026-01-01T00:00:00Z"):
        now = bounds_of(wanted, now)[2]
        starts.append(format_instant(now))
    assert all(start.endswith("T08:30:00Z") for start in starts)
    february = {start[:10] for start in starts if start[5:7] == "02"}
    assert february == {f"2024-02-{min(day, 29):02}", f"2025-02-{min(day, 28):02}"}
    assert {start[8:10] for start in starts if start[5:7] == "04"} == {f"{min(day, 30):02}"}


def test_names_of_zones_are_those_of_tzdata_only() -> None:
    assert {"UTC", "Europe/Berlin", "America/St_Johns"} <= zone_names()
    for name in ("", "Europe", "europe/berlin", "../UTC", "localtime", "/etc/localtime"):
        with pytest.raises(KeyError):
            zone_named(name)


@steady
@given(st.integers(0, at("2200-12-31T23:59:59Z") // S))
def test_instants_are_read_as_they_are_written(second: int) -> None:
    assert check_instant(parse_instant(format_instant(second * S))) == second * S


@pytest.mark.parametrize(
    ("text", "same"),
    [("2026-01-31T01:00:00+01:00", "2026-01-31T00:00:00Z"), ("2026-01-31 00:00Z", "2026-01-31T00:00:00Z")],
)
def test_instants_may_be_in_any_zone(text: str, same: str) -> None:
    assert parse_instant(text) == parse_instant(same)


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2026-01-31", "2026-01-31T00:00:00", "2026-02-30T00:00:00Z", "1"]
)
def test_what_is_no_instant_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="write date, time and zone, such as 2026-01-31T00:00:00Z"):
        parse_instant(text)


@pytest.mark.parametrize("instant_us", [-1 * S, 1, 7_289_654_400 * S])
def test_an_instant_out_of_bounds_is_refused(instant_us: int) -> None:
    with pytest.raises(ValueError, match="must be a whole second of 1970 to 2200"):
        check_instant(instant_us)
