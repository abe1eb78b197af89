"""The contract of CounterStore. Add a back end to _BACK_ENDS and every sentence is held against it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.reference_model import ReferenceModel
from tests.unit.fakes import steady
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LimitTake, Reserve, Take, Taken
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.ports import WindowState

S = 1_000_000
HOUR = 3600 * S
FIXED, TOKENS = Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET
BOTH = [FIXED, TOKENS]

Maker = Callable[[ManualClock], CounterStore]

_BACK_ENDS: dict[str, Maker] = {"memory": MemoryCounterStore}
back_ends = pytest.mark.parametrize("make", _BACK_ENDS.values(), ids=_BACK_ENDS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=list(_BACK_ENDS.values()), ids=list(_BACK_ENDS))
def store(request: pytest.FixtureRequest, clock: ManualClock) -> CounterStore:
    make: Maker = request.param
    return make(clock)


def item(
    key: str = "k",
    limit: int = 10,
    window_us: int = HOUR,
    cost: int = 1,
    algorithm: Algorithm = FIXED,
    burst: int = 0,
) -> LimitTake:
    return LimitTake(key, Rule(algorithm, limit, window_us, burst), cost)


def hold(clock: ManualClock, name: str = "r1", *, seconds: int = 60, refund: bool = False) -> Reserve:
    return Reserve(name, clock.now_us() + seconds * S, refund)


async def take(store: CounterStore, *items: LimitTake, reserve: Reserve | None = None) -> Taken:
    (taken,) = await store.take([Take(items, reserve)])
    return taken


async def remaining(store: CounterStore, wanted: LimitTake) -> int:
    (seen,) = await store.peek([Take((wanted,))])
    return seen.standings[0].remaining


# take


@pytest.mark.parametrize("algorithm", BOTH)
async def test_a_take_debits_and_tells_where_its_limits_stand_after_it(
    store: CounterStore, algorithm: Algorithm
) -> None:
    taken = await take(store, item(cost=3, algorithm=algorithm))
    reset_us = HOUR if algorithm is FIXED else 3 * HOUR // 10
    assert taken == Taken(admitted=True, standings=(Standing(7, reset_us, 0),))
    assert (await take(store, item(cost=7, algorithm=algorithm))).standings[0].remaining == 0


@pytest.mark.parametrize("algorithm", BOTH)
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
    assert wait_us == (HOUR - 60 * S if algorithm is FIXED else 3 * HOUR // 10 - 60 * S)
    clock.advance(seconds=(wait_us or 0) / S)
    assert (await take(store, item(cost=5, algorithm=algorithm))).admitted


async def test_a_cost_that_never_fits_waits_for_ever(store: CounterStore) -> None:
    for algorithm in BOTH:
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


@pytest.mark.parametrize("algorithm", BOTH)
async def test_100_concurrent_takers_admit_exactly_n(store: CounterStore, algorithm: Algorithm) -> None:
    wanted = item(limit=37, algorithm=algorithm)
    taken = await asyncio.gather(*(take(store, wanted, item(f"own-{n}")) for n in range(100)))
    assert sum(one.admitted for one in taken) == 37
    for n, one in enumerate(taken):
        assert await remaining(store, item(f"own-{n}")) == (9 if one.admitted else 10)


async def test_keys_are_strangers_to_one_another(store: CounterStore) -> None:
    await take(store, item("a", cost=10))
    assert (await take(store, item("A", cost=10))).admitted


@pytest.mark.parametrize("algorithm", BOTH)
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
    (fits, full) = await store.peek([Take((item(cost=6),), hold(clock)), Take((item(cost=7),))])
    assert fits == Taken(admitted=True, standings=(Standing(6, HOUR, 0),))
    assert full == Taken(admitted=False, standings=(Standing(6, HOUR, HOUR),))
    assert await remaining(store, item()) == 6
    assert not await store.settle("r1", 0)


# reservations


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize(("actual", "left"), [(5, 5), (2, 8), (0, 10), (9, 1), (12, 0)])
async def test_settling_corrects_the_debit_once(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm, actual: int, left: int
) -> None:
    held = item(cost=5, algorithm=algorithm)
    await take(store, held, item("other", limit=50, cost=5), reserve=hold(clock))
    for _ in range(3):
        assert await store.settle("r1", actual)
        assert await remaining(store, held) == left
        assert await remaining(store, item("other", limit=50)) == 50 - actual
    assert await store.settle("r1", 0)
    assert await remaining(store, held) == left


@pytest.mark.parametrize("algorithm", BOTH)
async def test_a_further_debit_may_go_below_zero(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm
) -> None:
    await take(store, item(cost=5, algorithm=algorithm), reserve=hold(clock))
    await store.settle("r1", 15)
    assert await remaining(store, item(limit=20, algorithm=algorithm)) == 5


async def test_a_credit_is_never_more_than_was_held(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=4))
    await take(store, item(cost=5), reserve=hold(clock))
    await store.settle("r1", -5)
    assert await remaining(store, item()) == 6


async def test_what_was_never_held_cannot_be_settled(store: CounterStore, clock: ManualClock) -> None:
    assert not await store.settle("r1", 3)
    await take(store, item(cost=10))
    denied = await take(store, item(), reserve=hold(clock))
    assert not denied.admitted
    assert not await store.settle("r1", 0)


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize(("refund", "left"), [(False, 5), (True, 10)])
@pytest.mark.parametrize("swept", [False, True])
async def test_an_unsettled_hold_ends_when_it_expires(
    store: CounterStore, clock: ManualClock, algorithm: Algorithm, refund: bool, left: int, swept: bool
) -> None:
    held = item(cost=5, window_us=1_000_000 * S, algorithm=algorithm)
    await take(store, held, reserve=hold(clock, seconds=60, refund=refund))
    clock.advance(seconds=59.999_999)
    await store.sweep()
    assert await remaining(store, held) == 5
    clock.advance(seconds=0.000_001)
    if swept:
        await store.sweep()
    assert await remaining(store, held) == left
    assert not await store.settle("r1", 1)
    assert await remaining(store, held) == left


async def test_a_settled_hold_is_remembered_for_those_who_settle_it_again(
    store: CounterStore, clock: ManualClock
) -> None:
    await take(store, item(cost=5), reserve=hold(clock, seconds=60, refund=True))
    await store.settle("r1", 3)
    clock.advance(seconds=90)
    await store.sweep()
    assert await store.settle("r1", 0)
    assert await remaining(store, item()) == 7
    clock.advance(seconds=31)
    await store.sweep()
    assert not await store.settle("r1", 0)
    assert await remaining(store, item()) == 7


@pytest.mark.parametrize("expires", [False, True])
async def test_no_credit_goes_to_another_window_than_was_debited(
    store: CounterStore, clock: ManualClock, expires: bool
) -> None:
    short, long = item("short", window_us=30 * S, cost=5), item("long", cost=5)
    await take(store, short, long, reserve=hold(clock, seconds=60, refund=True))
    clock.advance(seconds=40)
    await take(store, item("short", window_us=30 * S, cost=9))
    if expires:
        clock.advance(seconds=20)
    else:
        assert await store.settle("r1", 0)
    assert await remaining(store, item("short", window_us=30 * S)) == 1
    assert await remaining(store, item("long")) == 10


async def test_a_reservation_keeps_to_itself(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=2), reserve=hold(clock, "r1"))
    await take(store, item(cost=3), reserve=hold(clock, "r2"))
    await store.settle("r2", 0)
    assert await remaining(store, item()) == 8
    await store.settle("r1", 0)
    assert await remaining(store, item()) == 10


# checkpoints


async def test_changed_windows_are_told_once_with_their_newest_state(
    store: CounterStore, clock: ManualClock
) -> None:
    start = clock.now_us()
    await take(store, item("long", cost=2), item("short", window_us=HOUR - S), item("b", algorithm=TOKENS))
    clock.advance(seconds=5)
    await take(store, item("long", cost=3))
    assert list(await store.changed_windows()) == [WindowState("long", start, start + HOUR, 5)]
    assert list(await store.changed_windows()) == []
    await take(store, item("long", cost=6))  # denied: nothing changed
    assert list(await store.changed_windows()) == []
    await take(store, item("long"))
    assert [window.used for window in await store.changed_windows()] == [6]


async def test_settling_changes_a_window_too(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=5), reserve=hold(clock))
    await store.changed_windows()
    await store.settle("r1", 1)
    assert [window.used for window in await store.changed_windows()] == [1]


@back_ends
async def test_a_restored_window_goes_on_where_it_was(make: Maker) -> None:
    clock = ManualClock()
    before, after = make(clock), make(clock)
    await take(before, item(cost=8))
    saved = await before.changed_windows()
    clock.advance(seconds=600)
    await after.restore_windows(saved)
    denied = await take(after, item(cost=3))
    assert denied.standings == (Standing(2, HOUR - 600 * S, HOUR - 600 * S),)
    clock.advance(seconds=3000)
    assert (await take(after, item(cost=10))).admitted


@pytest.mark.parametrize(("saved", "used"), [(2, 5), (5, 5), (9, 9)])
@pytest.mark.parametrize("later", [0, 60])
async def test_a_live_window_keeps_the_higher_use(
    store: CounterStore, clock: ManualClock, saved: int, used: int, later: int
) -> None:
    start = clock.now_us()
    clock.advance(seconds=later)
    await take(store, item(cost=5))
    await store.restore_windows([WindowState("k", start, start + HOUR, saved)])
    assert await remaining(store, item()) == 10 - used


async def test_a_window_that_has_ended_is_not_restored(store: CounterStore, clock: ManualClock) -> None:
    start = clock.now_us()
    clock.advance(seconds=3600)
    await take(store, item(cost=1))
    await store.restore_windows([WindowState("k", start, start + HOUR, 9)])
    assert await remaining(store, item()) == 9


# sweep


async def test_sweep_forgets_what_says_nothing_any_more(store: CounterStore, clock: ManualClock) -> None:
    for n in range(50):
        await take(store, item(f"w{n}", window_us=60 * S), item(f"b{n}", window_us=60 * S, algorithm=TOKENS))
    await take(store, item("long"))
    assert await store.sweep() == 0
    clock.advance(seconds=120)
    assert await store.sweep() == 100
    assert await store.sweep() == 0
    assert await remaining(store, item("long")) == 9


async def test_sweep_keeps_what_was_taken_from_again(store: CounterStore, clock: ManualClock) -> None:
    wanted = item(window_us=60 * S, cost=4)
    await take(store, wanted)
    clock.advance(seconds=100)
    await take(store, wanted)
    clock.advance(seconds=20)
    await store.sweep()
    assert await remaining(store, wanted) == 6
    clock.advance(seconds=60)
    assert await store.sweep() == 1


# against the model, and against a twin that is never swept

keys = st.sampled_from(["a", "b", "c"])
_RULES = {
    "a": Rule(FIXED, 7, 20 * S),
    "b": Rule(TOKENS, 5, 7 * S, burst=3),
    "c": Rule(FIXED, 4, HOUR),
}
items = st.dictionaries(keys, st.integers(1, 4), min_size=1).map(
    lambda costs: tuple(LimitTake(key, _RULES[key], cost) for key, cost in costs.items())
)
steps = st.lists(
    st.tuples(st.integers(0, 15 * S), st.lists(items, min_size=1, max_size=3), st.booleans()), max_size=40
)
Steps = list[tuple[int, list[tuple[LimitTake, ...]], bool]]


@back_ends
@steady
@given(steps=steps)
async def test_every_back_end_decides_like_the_model(make: Maker, steps: Steps) -> None:
    clock, model = ManualClock(), ReferenceModel()
    store = make(clock)
    for gap_us, takes, sweep in steps:
        clock.advance(seconds=gap_us / S)
        now_us = clock.now_us()
        expected = [model.take(limits, now_us) for limits in takes]
        taken = await store.take([Take(limits) for limits in takes])
        assert [one.admitted for one in taken] == expected
        everything = tuple(LimitTake(key, rule, 1) for key, rule in _RULES.items())
        (seen,) = await store.peek([Take(everything)])
        assert [standing.remaining for standing in seen.standings] == [
            model.room(limit, now_us) for limit in everything
        ]
        if sweep:
            await store.sweep()


actions = st.lists(
    st.tuples(
        st.integers(0, 40 * S),
        items,
        st.sampled_from(["take", "keep", "refund", "settle"]),
        st.integers(0, 6),
        st.integers(1, 90),
    ),
    max_size=40,
)


async def _act(
    store: CounterStore,
    now_us: int,
    action: tuple[int, tuple[LimitTake, ...], str, int, int],
    known: Sequence[str],
) -> object:
    _, limits, what, number, seconds = action
    if what == "settle":
        return await store.settle(known[number % len(known)] if known else "none", number)
    reserve = None
    if what != "take":
        reserve = Reserve(f"r{len(known)}", now_us + seconds * S, what == "refund")
    return await store.take([Take(limits, reserve)])


@back_ends
@steady
@given(actions=actions)
async def test_sweeping_never_changes_an_answer(
    make: Maker, actions: list[tuple[int, tuple[LimitTake, ...], str, int, int]]
) -> None:
    clock = ManualClock()
    swept, twin = make(clock), make(clock)
    known: list[str] = []
    for action in actions:
        clock.advance(seconds=action[0] / S)
        await swept.sweep()
        assert await _act(swept, clock.now_us(), action, known) == await _act(
            twin, clock.now_us(), action, known
        )
        if action[2] in {"keep", "refund"}:
            known.append(f"r{len(known)}")
