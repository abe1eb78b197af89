"""The contract of CounterStore: takes and reservations."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.counter_stores import (
    EVERY,
    FIXED,
    HOUR,
    SLIDING,
    TOKENS,
    S,
    hold,
    item,
    remaining,
    settle,
    take,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, Take, Taken

# take


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_take_debits_and_tells_where_its_limits_stand_after_it(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm
) -> None:
    taken = await take(store, item(cost=3, algorithm=algorithm))
    resets = {FIXED: HOUR, TOKENS: 3 * HOUR // 10, SLIDING: 2 * HOUR - clock.now_us() % HOUR}
    reset_us = resets[algorithm]
    assert taken == Taken(admitted=True, standings=(Standing(7, reset_us, 0),))
    assert (await take(store, item(cost=7, algorithm=algorithm))).standings[0].remaining == 0


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_denial_tells_the_wait_and_debits_nothing(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm
) -> None:
    await take(store, item(cost=8, algorithm=algorithm))
    clock.advance(seconds=60)
    before = await remaining(store, item(algorithm=algorithm))
    denied = await take(store, item(cost=5, algorithm=algorithm))
    assert not denied.admitted
    assert denied.standings[0].remaining == before == 2
    wait_us = denied.standings[0].wait_us
    # The sliding window is 860 s into its hour; of 8 units 5 still count when 2,250 s of the next hour are left.
    waits = {FIXED: 3540 * S, TOKENS: 1080 * S - 60 * S, SLIDING: (3600 - 860 + 3600 - 2250) * S}
    assert wait_us == waits[algorithm]
    clock.advance(seconds=(wait_us or 0) / S)
    assert (await take(store, item(cost=5, algorithm=algorithm))).admitted


async def test_a_cost_that_never_fits_waits_for_ever(store: CounterStore) -> None:
    for algorithm in EVERY:
        assert (await take(store, item(cost=11, algorithm=algorithm))).standings[0].wait_us is None


async def test_one_full_limit_leaves_its_siblings_untouched(store: CounterStore) -> None:
    full, roomy, other = item("full", limit=1), item("roomy"), item("other", algorithm=TOKENS)
    await take(store, full)
    denied = await take(store, roomy, full, other)
    assert not denied.admitted
    assert [standing.remaining for standing in denied.standings] == [10, 0, 10]
    assert [standing.wait_us for standing in denied.standings] == [0, HOUR, 0]
    assert [await remaining(store, wanted) for wanted in (roomy, full, other)] == [10, 0, 10]


async def test_takes_of_one_call_are_decided_in_order_each_on_its_own(store: CounterStore) -> None:
    wanted = item(limit=3, cost=2)
    taken = await store.take([Take((wanted,)), Take((wanted,)), Take((item(limit=3),)), Take(())])
    assert [one.admitted for one in taken] == [True, False, True, True]


async def test_no_takes_get_no_answers(store: CounterStore) -> None:
    assert list(await store.take([])) == list(await store.peek([])) == []


@pytest.mark.parametrize("algorithm", EVERY)
async def test_100_concurrent_takers_admit_exactly_n(store: CounterStore, algorithm: Algorithm) -> None:
    wanted = item(limit=37, algorithm=algorithm)
    taken = await asyncio.gather(*(take(store, wanted, item(f"own-{n}")) for n in range(100)))
    assert sum(one.admitted for one in taken) == 37
    for n, one in enumerate(taken):
        assert await remaining(store, item(f"own-{n}")) == (9 if one.admitted else 10)


async def test_keys_are_strangers_to_one_another(store: CounterStore) -> None:
    await take(store, item("a", cost=10))
    assert (await take(store, item("A", cost=10))).admitted


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_changed_limit_acts_at_once(store: CounterStore, algorithm: Algorithm) -> None:
    await take(store, item(limit=100, cost=100, algorithm=algorithm))
    assert await remaining(store, item(limit=1000, algorithm=algorithm)) == 900
    await take(store, item(limit=1000, cost=800, algorithm=algorithm))
    assert not (await take(store, item(limit=100, algorithm=algorithm))).admitted
    assert await remaining(store, item(limit=100, algorithm=algorithm)) == 0


async def test_peek_answers_what_take_would_and_changes_nothing(
    store: CounterStore, clock: ManualClock
) -> None:
    await take(store, item(cost=4))
    (fits, full) = await store.peek([Take((item(cost=6),), hold()), Take((item(cost=7),))])
    assert fits == Taken(admitted=True, standings=(Standing(6, HOUR, 0),))
    assert full == Taken(admitted=False, standings=(Standing(6, HOUR, HOUR),))
    assert await remaining(store, item()) == 6
    assert not await settle(store, "r1", 0)


# reservations


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize(("actual", "left"), [(5, 5), (2, 8), (0, 10), (9, 1), (12, 0)])
async def test_settling_corrects_the_debit_once(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm, actual: int, left: int
) -> None:
    held = item(cost=5, algorithm=algorithm)
    await take(store, held, item("other", limit=50, cost=5), reserve=hold())
    for _ in range(3):
        assert await settle(store, "r1", actual)
        assert await remaining(store, held) == left
        assert await remaining(store, item("other", limit=50)) == 50 - actual
    assert await settle(store, "r1", 0)
    assert await remaining(store, held) == left


@pytest.mark.parametrize("algorithm", EVERY)
async def test_a_further_debit_may_go_below_zero(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm
) -> None:
    await take(store, item(cost=5, algorithm=algorithm), reserve=hold())
    await settle(store, "r1", 15)
    assert await remaining(store, item(limit=20, algorithm=algorithm)) == 5


async def test_a_credit_is_never_more_than_was_held(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=4))
    await take(store, item(cost=5), reserve=hold())
    await settle(store, "r1", -5)
    assert await remaining(store, item()) == 6


async def test_what_was_never_held_cannot_be_settled(store: CounterStore, clock: ManualClock) -> None:
    assert not await settle(store, "r1", 3)
    await take(store, item(cost=10))
    denied = await take(store, item(), reserve=hold())
    assert not denied.admitted
    assert not await settle(store, "r1", 0)


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize(("refund", "left"), [(False, 5), (True, 10)])
@pytest.mark.parametrize("swept", [False, True])
async def test_an_unsettled_hold_ends_when_it_expires(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm, refund: bool, left: int, swept: bool
) -> None:
    held = item(cost=5, window_us=1_000_000 * S, algorithm=algorithm)
    await take(store, held, reserve=hold(seconds=60, refund=refund))
    clock.advance(seconds=59.999_999)
    await store.sweep()
    assert await remaining(store, held) == 5
    clock.advance(seconds=0.000_001)
    if swept:
        await store.sweep()
    assert await remaining(store, held) == left
    assert not await settle(store, "r1", 1)
    assert await remaining(store, held) == left


async def test_a_settled_hold_is_remembered_for_those_who_settle_it_again(
    store: CounterStore, clock: ManualClock
) -> None:
    await take(store, item(cost=5), reserve=hold(seconds=60, refund=True))
    await settle(store, "r1", 3)
    clock.advance(seconds=90)
    await store.sweep()
    assert await settle(store, "r1", 0)
    assert await remaining(store, item()) == 7
    clock.advance(seconds=31)
    await store.sweep()
    assert not await settle(store, "r1", 0)
    assert await remaining(store, item()) == 7


@pytest.mark.parametrize("expires", [False, True])
async def test_no_credit_goes_to_another_window_than_was_debited(
    store: CounterStore, clock: ManualClock, expires: bool
) -> None:
    short, long = item("short", window_us=30 * S, cost=5), item("long", cost=5)
    await take(store, short, long, reserve=hold(seconds=60, refund=True))
    clock.advance(seconds=40)
    await take(store, item("short", window_us=30 * S, cost=9))
    if expires:
        clock.advance(seconds=20)
    else:
        assert await settle(store, "r1", 0)
    assert await remaining(store, item("short", window_us=30 * S)) == 1
    assert await remaining(store, item("long")) == 10


async def test_a_reservation_keeps_to_itself(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=2), reserve=hold("r1"))
    await take(store, item(cost=3), reserve=hold("r2"))
    await settle(store, "r2", 0)
    assert await remaining(store, item()) == 8
    await settle(store, "r1", 0)
    assert await remaining(store, item()) == 10
