"""The contract of CounterStore: tokens ahead, and takes of shadows."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.counter_stores import (
    FIXED,
    TOKENS,
    Maker,
    S,
    hold,
    item,
    remaining,
    settle,
    take,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LeaseAsk, LeaseReturn, LimitTake, Take, Taken

LEASED = [FIXED, TOKENS]


async def lease(store: CounterStore, name: str, tokens: int, *items: LimitTake, life_s: float = 10) -> Taken:
    (taken,) = await store.take([Take(items, lease=LeaseAsk(name, tokens, round(life_s * S)))])
    return taken


async def give_back(store: CounterStore, name: str, used: int) -> bool:
    (done,) = await store.amend([LeaseReturn(name, used)])
    return done


# leases


@pytest.mark.parametrize("algorithm", LEASED)
async def test_tokens_are_debited_ahead_at_most_a_quarter_of_the_room(
    store: CounterStore, algorithm: Algorithm
) -> None:
    wanted = item(limit=101, algorithm=algorithm)
    taken = await lease(store, "l1", 50, wanted)
    assert (taken.admitted, taken.tokens, taken.life_us) == (True, 25, 10 * S)
    assert taken.standings[0].remaining == await remaining(store, wanted) == 75
    assert (await lease(store, "l2", 50, wanted)).tokens == 74 // 8
    assert (await lease(store, "l3", 2, wanted)).tokens == 2


async def test_near_exhaustion_there_are_none_and_a_denial_leases_nothing(store: CounterStore) -> None:
    assert (await lease(store, "l1", 5, item(limit=4))).tokens == 0
    assert not await give_back(store, "l1", 0)
    denied = await lease(store, "l2", 5, item(limit=4), item("full", limit=1, cost=2))
    assert (denied.admitted, denied.tokens) == (False, 0)
    assert await remaining(store, item(limit=4)) == 3


async def test_the_scarcest_limit_decides_and_a_token_pays_for_all(store: CounterStore) -> None:
    wide, narrow = item("wide", limit=1000, cost=10), item("narrow", limit=41, algorithm=TOKENS)
    assert (await lease(store, "l1", 100, wide, narrow)).tokens == 10
    assert [await remaining(store, wide), await remaining(store, narrow)] == [1000 - 110, 41 - 11]
    assert await give_back(store, "l1", 4)
    assert [await remaining(store, wide), await remaining(store, narrow)] == [1000 - 50, 41 - 5]


async def test_a_life_ends_with_the_first_window(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item("short", limit=50, window_us=30 * S))
    clock.advance(seconds=26)
    taken = await lease(store, "l1", 5, item("short", limit=50, window_us=30 * S), item("long", limit=50))
    assert (taken.tokens, taken.life_us) == (5, 4 * S)


@pytest.mark.parametrize("algorithm", LEASED)
@pytest.mark.parametrize(("used", "left"), [(0, 99), (3, 96), (9, 90), (20, 89), (-1, 99)])
async def test_returning_credits_what_was_not_used_once(
    store: CounterStore, algorithm: Algorithm, used: int, left: int
) -> None:
    wanted = item(limit=100, algorithm=algorithm)
    await lease(store, "l1", 10, wanted)
    for _ in range(3):
        assert await give_back(store, "l1", used)
        assert await remaining(store, wanted) == left
    assert not await settle(store, "l1", 0)
    assert not await give_back(store, "nothing", 0)


async def test_a_returned_lease_is_no_lessee_any_more(store: CounterStore) -> None:
    wanted = item(limit=1000)
    await lease(store, "l1", 100, wanted)
    await give_back(store, "l1", 0)
    assert (await lease(store, "l2", 1000, wanted)).tokens == 998 // 4


async def test_nor_is_one_whose_life_is_over(store: CounterStore, clock: ManualClock) -> None:
    wanted = item(limit=1000)
    await lease(store, "l1", 100, wanted)
    clock.advance(seconds=10)
    assert (await lease(store, "l2", 1000, wanted)).tokens == 898 // 4


async def test_a_late_return_credits_the_window_but_not_the_bucket(
    store: CounterStore, clock: ManualClock
) -> None:
    window, bucket = item("w", limit=100), item("b", limit=100, algorithm=TOKENS)
    await lease(store, "l1", 10, window, bucket)
    clock.advance(seconds=10)
    assert await give_back(store, "l1", 2)
    assert await remaining(store, window) == 97
    assert await remaining(store, bucket) == 89


async def test_no_return_is_credited_to_another_window(store: CounterStore, clock: ManualClock) -> None:
    wanted = item(limit=100, window_us=30 * S)
    await lease(store, "l1", 10, wanted)
    clock.advance(seconds=31)
    await take(store, item(limit=100, window_us=30 * S, cost=5))
    assert await give_back(store, "l1", 0)
    assert await remaining(store, wanted) == 95
    clock.advance(seconds=60)
    await store.sweep()
    assert not await give_back(store, "l1", 0)


async def test_a_bucket_does_not_refill_beside_tokens_that_are_still_to_come(
    store: CounterStore, clock: ManualClock
) -> None:
    wanted = item(limit=100, window_us=S, algorithm=TOKENS)  # full again after a second
    assert (await lease(store, "l1", 24, wanted, life_s=20)).tokens == 24
    clock.advance(seconds=15)
    assert await remaining(store, wanted) == 76
    await store.sweep()
    clock.advance(seconds=4.999_999)
    assert await remaining(store, wanted) == 76
    clock.advance(seconds=0.010_001)
    assert await remaining(store, wanted) == 77
    clock.advance(seconds=1)
    assert await remaining(store, wanted) == 100


@pytest.mark.parametrize("swept", [False, True])
async def test_what_is_held_ends_at_its_instant_whenever_that_is_noticed(make: Maker, swept: bool) -> None:
    clock = ManualClock()
    store = await make(clock)
    wanted = item(limit=10, window_us=10 * S, algorithm=TOKENS)
    await take(store, item(limit=10, window_us=10 * S, cost=4, algorithm=TOKENS), reserve=hold(seconds=10))
    clock.advance(seconds=10)
    if swept:
        await store.sweep()
    clock.advance(seconds=2)  # two of the four have drained since
    assert await remaining(store, wanted) == 8


@pytest.mark.parametrize("algorithm", LEASED)
async def test_8_lessees_and_100_takers_get_no_more_than_the_limit(
    store: CounterStore, algorithm: Algorithm
) -> None:
    wanted = item(limit=200, algorithm=algorithm)
    leases = await asyncio.gather(*(lease(store, f"l{n}", 20, wanted) for n in range(8)))
    taken = await asyncio.gather(*(take(store, wanted) for _ in range(200)))
    out = sum(one.tokens + one.admitted for one in leases)
    assert out + sum(one.admitted for one in taken) == 200


# shadows


async def test_shadows_take_only_where_the_request_is_admitted_and_decide_nothing(
    store: CounterStore,
) -> None:
    shadows = ((item("s1", limit=1),), (item("s2", limit=9), item("s3", limit=9)))
    first, second, third = await store.take([Take((item(limit=2),), shadows=shadows)] * 3)
    assert [one.admitted for one in first.shadows] == [True, True]
    assert (second.admitted, [one.admitted for one in second.shadows]) == (True, [False, True])
    assert (third.admitted, third.shadows) == (False, ())
    assert [await remaining(store, item(key, limit=9)) for key in ("s2", "s3")] == [7, 7]


async def test_a_take_may_have_shadows_alone(store: CounterStore) -> None:
    (taken,) = await store.take([Take((), shadows=((item("s", limit=3),),))])
    assert (taken.admitted, taken.standings) == (True, ())
    assert [one.standings[0].remaining for one in taken.shadows] == [2]


async def test_peek_tells_of_shadows_too(store: CounterStore) -> None:
    (seen,) = await store.peek([Take((item(),), shadows=((item("s", limit=3, cost=4),),))])
    assert [one.admitted for one in seen.shadows] == [False]
    assert await remaining(store, item("s", limit=3)) == 3
