"""The contract of CounterStore: checkpoints, sweeping, and the model that every back end decides like."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.counter_stores import (
    FIXED,
    HOUR,
    SLIDING,
    TOKENS,
    Maker,
    S,
    hold,
    item,
    remaining,
    settle,
    sweeps,
    take,
)
from tests.contract.reference_model import ReferenceModel
from tests.unit.fakes import steady
from usageflow.domain.calendars import Alignment, Calendar, bounds_of
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule, Standing
from usageflow.storage.counters import CounterStore, LimitTake, Reserve, Take
from usageflow.storage.ports import WindowState

# checkpoints


async def test_changed_windows_are_told_once_with_their_newest_state(
    store: CounterStore, clock: ManualClock
) -> None:
    start = clock.now_us()
    await take(store, item("long", cost=2), item("short", window_us=HOUR - S), item("b", algorithm=TOKENS))
    clock.advance(seconds=5)
    await take(store, item("long", cost=3))
    assert list(await store.changed_windows()) == [
        WindowState("long", start, start + HOUR, 5, clock.now_us())
    ]
    assert list(await store.changed_windows()) == []
    await take(store, item("long", cost=6))  # denied: nothing changed
    assert list(await store.changed_windows()) == []
    await take(store, item("long"))
    assert [window.used for window in await store.changed_windows()] == [6]


async def test_settling_changes_a_window_too(store: CounterStore, clock: ManualClock) -> None:
    await take(store, item(cost=5), reserve=hold())
    await store.changed_windows()
    await settle(store, "r1", 1)
    assert [window.used for window in await store.changed_windows()] == [1]


async def test_what_counts_requests_is_neither_held_nor_settled(store: CounterStore) -> None:
    requests = [
        item(name, algorithm=kind)._replace(once=True) for name, kind in (("f", FIXED), ("t", TOKENS))
    ]
    await take(store, item(cost=5), *requests, reserve=hold())
    await settle(store, "r1", 9)
    assert [await remaining(store, each) for each in (item(), *requests)] == [1, 9, 9]


async def test_a_restored_window_goes_on_where_it_was(make: Maker) -> None:
    clock = ManualClock()
    before, after = await make(clock), await make(clock)
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
    assert await sweeps(store, 0)
    clock.advance(seconds=120)
    assert await sweeps(store, 100)
    assert await sweeps(store, 0)
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
    assert await sweeps(store, 1)


# against the model, and against a twin that is never swept

_RULES = {
    "a": Rule(FIXED, 7, 20 * S),
    "b": Rule(TOKENS, 5, 7 * S, burst=3),
    "c": Rule(FIXED, 4, HOUR),
    "d": Rule(FIXED, 6, 60 * S, calendar=Calendar(Alignment.MINUTE)),
    "e": Rule(SLIDING, 8, 20 * S),
    "f": Rule(FIXED, 5, 30 * S, charge_denied=True),
    "g": Rule(TOKENS, 5, 30 * S, charge_denied=True),
    "h": Rule(SLIDING, 5, 30 * S, charge_denied=True),
}
keys = st.sampled_from(list(_RULES))
items = st.dictionaries(keys, st.integers(1, 4), min_size=1).map(
    lambda costs: tuple(LimitTake(key, _RULES[key], cost) for key, cost in costs.items())
)
steps = st.lists(
    st.tuples(st.integers(0, 15 * S), st.lists(items, min_size=1, max_size=3), st.booleans()), max_size=40
)
Steps = list[tuple[int, list[tuple[LimitTake, ...]], bool]]


def at_time(limits: tuple[LimitTake, ...], now_us: int) -> tuple[LimitTake, ...]:
    """The limits with the bounds of their calendars."""
    return tuple(
        each._replace(bounds=bounds_of(each.rule.calendar, now_us)) if each.rule.calendar else each
        for each in limits
    )


@steady
@given(steps=steps)
async def test_every_back_end_decides_like_the_model(make: Maker, steps: Steps) -> None:
    clock, model = ManualClock(), ReferenceModel()
    store = await make(clock)
    for gap_us, takes, sweep in steps:
        clock.advance(seconds=gap_us / S)
        now_us = clock.now_us()
        expected = [model.take(at_time(limits, now_us), now_us) for limits in takes]
        taken = await store.take([Take(at_time(limits, now_us)) for limits in takes])
        assert [one.admitted for one in taken] == expected
        everything = at_time(tuple(LimitTake(key, rule, 1) for key, rule in _RULES.items()), now_us)
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
        return await settle(store, known[number % len(known)] if known else "none", number)
    reserve = None
    if what != "take":
        reserve = Reserve(f"r{len(known)}", seconds * S, what == "refund")
    return await store.take([Take(at_time(limits, now_us), reserve)])


@steady
@given(actions=actions)
async def test_sweeping_never_changes_an_answer(
    make: Maker, actions: list[tuple[int, tuple[LimitTake, ...], str, int, int]]
) -> None:
    clock = ManualClock()
    swept, twin = await make(clock), await make(clock)
    known: list[str] = []
    for action in actions:
        clock.advance(seconds=action[0] / S)
        await swept.sweep()
        assert await _act(swept, clock.now_us(), action, known) == await _act(
            twin, clock.now_us(), action, known
        )
        if action[2] in {"keep", "refund"}:
            known.append(f"r{len(known)}")
