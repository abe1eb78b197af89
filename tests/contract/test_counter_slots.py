"""The contract of CounterStore: CONCURRENCY."""

from __future__ import annotations

import asyncio

from tests.contract.counter_stores import CONCURRENCY, S, item, remaining
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Standing
from usageflow.storage.counters import CounterStore, LimitTake, Release, Renewal, Take, Taken


def slots(key: str = "k", limit: int = 2, life_s: int = 60, member: str = "") -> LimitTake:
    return item(key, limit, life_s * S, algorithm=CONCURRENCY)._replace(member=member)


async def enter(store: CounterStore, slot_id: str, *items: LimitTake) -> Taken:
    (taken,) = await store.take([Take(items, slot_id=slot_id)])
    return taken


async def amend(store: CounterStore, amendment: Release | Renewal) -> bool:
    (done,) = await store.amend([amendment])
    return done


async def test_so_many_are_in_flight_and_the_next_waits_a_second(store: CounterStore) -> None:
    assert await enter(store, "a", slots()) == Taken(True, (Standing(1, S, 0),))
    assert (await enter(store, "b", slots())).standings[0].remaining == 0
    assert await enter(store, "c", slots()) == Taken(False, (Standing(0, S, S),))


async def test_what_is_released_is_free_at_once_and_once(store: CounterStore) -> None:
    await enter(store, "a", slots())
    await enter(store, "b", slots())
    assert await amend(store, Release("a"))
    assert not await amend(store, Release("a"))
    assert not await amend(store, Release("nobody"))
    assert (await enter(store, "c", slots())).admitted
    assert not (await enter(store, "d", slots())).admitted


async def test_a_slot_ends_with_its_life_unless_it_is_renewed(
    store: CounterStore, clock: ManualClock
) -> None:
    await enter(store, "a", slots())
    await enter(store, "b", slots())
    clock.advance(seconds=59.999_999)
    assert await amend(store, Renewal("a"))
    clock.advance(seconds=0.000_001)
    assert not await amend(store, Renewal("b"))
    assert await remaining(store, slots()) == 1
    clock.advance(seconds=59.999_998)
    assert await remaining(store, slots()) == 1
    clock.advance(seconds=0.000_001)
    assert await remaining(store, slots()) == 2
    assert not await amend(store, Release("a"))


async def test_one_id_stands_in_all_of_a_requests_limits(store: CounterStore) -> None:
    await enter(store, "a", slots("x"), slots("y", limit=1))
    denied = await enter(store, "b", slots("x"), slots("y", limit=1))
    assert [one.wait_us for one in denied.standings] == [0, S]
    assert await remaining(store, slots("x")) == 1
    assert await amend(store, Release("a"))
    assert [await remaining(store, slots("x")), await remaining(store, slots("y", limit=1))] == [2, 1]


async def test_a_slot_is_taken_with_units_or_not_at_all(store: CounterStore) -> None:
    await enter(store, "a", slots(limit=1), item("units", limit=5))
    await enter(store, "b", slots(limit=1), item("units", limit=5))
    assert await remaining(store, item("units", limit=5)) == 4
    await enter(store, "c", slots("free"), item("units", limit=5, cost=5))
    assert await remaining(store, slots("free")) == 2


async def test_100_concurrent_takers_admit_exactly_n_slots(store: CounterStore) -> None:
    taken = await asyncio.gather(*(enter(store, f"s{n}", slots(limit=37)) for n in range(100)))
    assert sum(one.admitted for one in taken) == 37
    ended = await store.amend([Release(f"s{n}") for n, one in enumerate(taken) if one.admitted])
    assert all(ended)
    assert await remaining(store, slots(limit=37)) == 37


async def test_a_cut_limit_lets_nobody_in_until_enough_have_left(store: CounterStore) -> None:
    for name in "abc":
        await enter(store, name, slots(limit=3))
    assert not (await enter(store, "d", slots(limit=1))).admitted
    await store.amend([Release("a"), Release("b")])
    assert not (await enter(store, "d", slots(limit=1))).admitted
    await store.amend([Release("c")])
    assert (await enter(store, "d", slots(limit=1))).admitted


async def test_members_of_their_own_are_counted_once_and_renewed(
    store: CounterStore, clock: ManualClock
) -> None:
    for name in ("ann", "bob", "ann"):
        assert (await enter(store, "", slots(member=name))).admitted
    assert not (await enter(store, "", slots(member="cid"))).admitted
    clock.advance(seconds=30)
    assert (await enter(store, "", slots(member="ann"))).admitted
    clock.advance(seconds=30)
    assert (await enter(store, "", slots(member="cid"))).admitted
    assert not (await enter(store, "", slots(member="dan"))).admitted


async def test_what_ended_is_swept(store: CounterStore, clock: ManualClock) -> None:
    await enter(store, "a", slots("x"), slots("y"))
    await enter(store, "b", slots("z"))
    await amend(store, Release("b"))
    await store.sweep()
    clock.advance(seconds=60)
    await store.sweep()
    assert not await amend(store, Release("a"))
    assert await remaining(store, slots("x")) == 2


async def test_shadows_hold_slots_under_the_same_id(store: CounterStore) -> None:
    (taken,) = await store.take([Take((slots("e"),), slot_id="a", shadows=((slots("s", limit=1),),))])
    assert [one.admitted for one in taken.shadows] == [True]
    (taken,) = await store.take([Take((slots("e"),), slot_id="b", shadows=((slots("s", limit=1),),))])
    assert taken.admitted
    assert [one.admitted for one in taken.shadows] == [False]
    await amend(store, Release("a"))
    assert [await remaining(store, slots("e")), await remaining(store, slots("s", limit=1))] == [1, 1]
