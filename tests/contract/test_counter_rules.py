"""The contract of CounterStore: windows of the calendar, sliding windows, and limits that charge denied requests."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.counter_stores import (
    EVERY,
    FIXED,
    HOUR,
    SLIDING,
    TOKENS,
    Maker,
    S,
    dated,
    hold,
    item,
    remaining,
    settle,
    sweeps,
    take,
)
from usageflow.domain.calendars import Alignment, Calendar, parse_instant
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, Take
from usageflow.storage.ports import WindowState

DAILY = Calendar(Alignment.DAY, "Europe/Berlin")
MINUTELY = Calendar(Alignment.MINUTE)


def at(text: str) -> ManualClock:
    return ManualClock(parse_instant(text))


# windows of the calendar


async def test_an_aligned_window_ends_with_the_day_that_had_23_hours(make: Maker) -> None:
    clock = at("2026-03-29T10:00:00Z")  # noon in Berlin, where the day began 11 hours ago
    store = await make(clock)
    taken = await take(store, dated(clock, DAILY, cost=7))
    assert taken.standings == (Standing(3, 12 * HOUR, 0, 23 * HOUR),)
    denied = await take(store, dated(clock, DAILY, cost=4))
    assert (denied.admitted, denied.standings) == (False, (Standing(3, 12 * HOUR, 12 * HOUR, 23 * HOUR),))
    clock.advance(seconds=12 * 3600 - 0.000_001)
    assert not (await take(store, dated(clock, DAILY, cost=4))).admitted
    clock.advance(seconds=0.000_001)
    assert (await take(store, dated(clock, DAILY))).standings == (Standing(9, 24 * HOUR, 0, 24 * HOUR),)


@pytest.mark.parametrize("skew_s", [-50, -1, 0, 1, 50])
async def test_the_store_picks_the_window_by_its_own_time(make: Maker, skew_s: int) -> None:
    clock = at("2026-03-29T10:00:30Z")
    store = await make(clock)
    for _ in range(3):
        taken = await take(store, dated(clock, MINUTELY, cost=2, skew_us=skew_s * S))
        assert taken.standings[0].reset_us == 30 * S
    clock.advance(seconds=30)
    taken = await take(store, dated(clock, MINUTELY, skew_us=skew_s * S))
    assert taken.standings == (Standing(9, 60 * S, 0, 60 * S),)


@pytest.mark.parametrize("skew_s", [-600, 600])
async def test_clocks_further_apart_than_a_window_admit_no_more_than_the_limit(
    make: Maker, skew_s: int
) -> None:
    clock = at("2026-03-29T10:00:30Z")
    store = await make(clock)
    taken = [await take(store, dated(clock, MINUTELY, skew_us=skew_s * S)) for _ in range(20)]
    assert sum(one.admitted for one in taken) == 10
    assert taken[-1].standings[0].wait_us


async def test_credit_goes_only_to_the_aligned_window_that_was_debited(make: Maker) -> None:
    clock = at("2026-03-29T10:00:30Z")
    store = await make(clock)
    await take(store, dated(clock, MINUTELY, cost=5), reserve=hold())
    await take(store, dated(clock, MINUTELY, "other", cost=5), reserve=hold("r2", refund=True))
    assert await settle(store, "r1", 1)
    assert await remaining(store, dated(clock, MINUTELY)) == 9
    clock.advance(seconds=40)
    await take(store, dated(clock, MINUTELY, "other", cost=5))
    clock.advance(seconds=20)
    assert await remaining(store, dated(clock, MINUTELY, "other")) == 5


async def test_long_aligned_windows_are_checkpointed_and_short_ones_are_not(make: Maker) -> None:
    clock = at("2026-03-29T10:00:30Z")
    before, after = await make(clock), await make(clock)
    await take(before, dated(clock, DAILY, cost=4), dated(clock, MINUTELY, "m"))
    saved = await before.changed_windows()
    bounds = [parse_instant(text) for text in ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")]
    assert list(saved) == [WindowState("k", bounds[0], bounds[1], 4, clock.now_us())]
    await after.restore_windows(saved)
    assert await remaining(after, dated(clock, DAILY)) == 6


async def test_aligned_windows_are_swept_after_their_end(make: Maker) -> None:
    clock = at("2026-03-29T10:00:30Z")
    store = await make(clock)
    await take(store, dated(clock, MINUTELY), dated(clock, DAILY, "d"))
    clock.advance(seconds=60)
    assert await sweeps(store, 1)
    clock.advance(seconds=86_400)
    assert await sweeps(store, 1)


# sliding windows


async def test_a_sliding_window_weighs_what_came_before(make: Maker) -> None:
    clock = ManualClock(1_700_000_040 * S)  # a full minute
    store = await make(clock)
    wanted = item(window_us=60 * S, algorithm=SLIDING)
    for _ in range(10):
        assert (await take(store, wanted)).admitted
    clock.advance(seconds=60)
    denied = await take(store, wanted)
    assert (denied.admitted, denied.standings) == (False, (Standing(0, 60 * S, 6 * S),))
    clock.advance(seconds=6)
    assert (await take(store, wanted)).standings == (Standing(0, 114 * S, 0),)
    assert await sweeps(store, 0)
    clock.advance(seconds=124)
    assert await sweeps(store, 1)


@pytest.mark.parametrize(("seconds", "left"), [(10, 10), (70, 10), (130, 10)])
async def test_credit_of_a_sliding_window_reaches_the_previous_one_too(
    store: CounterStore, clock: ManualClock, seconds: int, left: int
) -> None:
    clock.advance(seconds=40)  # a full minute
    wanted = item(window_us=60 * S, cost=10, algorithm=SLIDING)
    await take(store, wanted, reserve=hold(seconds=200))
    clock.advance(seconds=seconds)
    assert await settle(store, "r1", 0)
    assert await remaining(store, wanted) == left


async def test_credit_never_reaches_units_of_another_sliding_window(
    store: CounterStore, clock: ManualClock
) -> None:
    clock.advance(seconds=40)
    wanted = item(window_us=60 * S, cost=6, algorithm=SLIDING)
    await take(store, wanted, reserve=hold(seconds=300))
    clock.advance(seconds=60 + 59)
    await take(store, wanted)
    assert await settle(store, "r1", 0)
    assert await remaining(store, wanted) == 4
    other = item("other", window_us=60 * S, cost=6, algorithm=SLIDING)
    await take(store, other, reserve=hold("r2", seconds=300))
    clock.advance(seconds=1 + 60)
    assert await settle(store, "r2", 9)  # two windows further on nothing of it counts any more
    assert await remaining(store, other) == 10


# charge_denied


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_denial_takes_from_the_limits_that_say_so_and_from_no_other(
    store: CounterStore, algorithm: Algorithm
) -> None:
    quota, plain = item("quota", limit=1), item("plain", algorithm=algorithm)
    abuse = item("abuse", cost=3, algorithm=algorithm, charge_denied=True)
    assert (await take(store, quota, plain, abuse)).admitted
    denied = await take(store, quota, plain, abuse)
    assert not denied.admitted
    assert [one.remaining for one in denied.standings] == [0, 9, 4]
    assert [await remaining(store, each) for each in (quota, plain, abuse)] == [0, 9, 4]


@pytest.mark.parametrize("algorithm", EVERY)
async def test_denied_requests_empty_a_limit_and_never_make_it_owe(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm
) -> None:
    abuse = item(cost=4, algorithm=algorithm, charge_denied=True)
    taken = [await take(store, abuse) for _ in range(50)]
    assert [one.admitted for one in taken[:4]] == [True, True, False, False]
    assert {one.standings for one in taken[2:]} == {taken[2].standings}
    assert taken[-1].standings[0].remaining == 0
    clock.advance(seconds=(taken[-1].standings[0].wait_us or 0) / S)
    assert (await take(store, abuse)).admitted


async def test_a_charge_is_part_of_the_wait(store: CounterStore) -> None:
    abuse = item("abuse", cost=6, algorithm=TOKENS, charge_denied=True)
    denied = await take(store, item("quota", cost=11), abuse)
    assert [one.wait_us for one in denied.standings] == [None, 2 * HOUR // 10]


async def test_100_concurrent_denials_are_each_charged(store: CounterStore) -> None:
    quota, abuse = item("quota", limit=5), item("abuse", limit=60, charge_denied=True)
    taken = await asyncio.gather(*(take(store, quota, abuse) for _ in range(50)))
    assert sum(one.admitted for one in taken) == 5
    assert await remaining(store, abuse) == 10


async def test_peeking_charges_nothing_and_a_denied_hold_is_no_record(
    store: CounterStore, clock: ManualClock
) -> None:
    wanted = (item("quota", cost=11), item("abuse", charge_denied=True))
    (seen,) = await store.peek([Take(wanted)])
    assert [one.remaining for one in seen.standings] == [10, 10]
    assert not (await take(store, *wanted, reserve=hold())).admitted
    assert not await settle(store, "r1", 0)
    assert await remaining(store, wanted[1]) == 9


async def test_a_charged_window_is_checkpointed(store: CounterStore) -> None:
    await take(store, item("quota", cost=11), item("abuse", charge_denied=True))
    assert [(each.key, each.used) for each in await store.changed_windows()] == [("abuse", 1)]


async def test_fixed_windows_begin_with_a_charge_too(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item("quota", cost=11), item(cost=10, charge_denied=True, algorithm=FIXED))
    clock.advance(seconds=60)
    assert (await take(store, item())).standings == (Standing(0, HOUR - 60 * S, HOUR - 60 * S),)


# changed limits


@pytest.mark.parametrize(("limit", "then"), [(1000, 100), (100, 1000)])
async def test_a_denial_under_a_changed_rate_is_told_the_wait_that_comes_true(
    store: CounterStore, clock: ManualClock, limit: int, then: int
) -> None:
    """The bucket goes on at the new rate from the first request that it decides, be that denied."""
    await take(store, item("k", limit, HOUR, 1000, TOKENS, burst=1000))
    clock.advance(seconds=1)
    changed = item("k", then, HOUR, 500, TOKENS, burst=1000)
    (told,) = (await take(store, changed)).standings
    assert told.wait_us
    clock.advance(seconds=(told.wait_us - 1) / S)
    assert not (await take(store, changed)).admitted
    clock.advance(seconds=1 / S)
    assert (await take(store, changed)).admitted
