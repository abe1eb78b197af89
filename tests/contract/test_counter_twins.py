"""Every back end answers like the counters in memory, step by step, whatever is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.counter_stores import CONCURRENCY, FIXED, HOUR, SLIDING, TOKENS, Maker, S
from tests.unit.fakes import steady
from usageflow.domain.calendars import LONGEST_US, Alignment, Calendar, bounds_of
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule
from usageflow.storage.counters import (
    Amendment,
    CounterStore,
    LeaseAsk,
    LeaseReturn,
    LimitTake,
    Release,
    Renewal,
    Reserve,
    Settlement,
    Take,
)
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.ports import WindowState

_DAILY, _MINUTELY = Calendar(Alignment.DAY, "Europe/Berlin"), Calendar(Alignment.MINUTE)

LEASED = {
    "window": Rule(FIXED, 40, 20 * S),
    "quota": Rule(FIXED, 60, HOUR),
    "bucket": Rule(TOKENS, 30, 20 * S, burst=45),
    "slow": Rule(TOKENS, 30, 7 * HOUR),
    "charged": Rule(FIXED, 20, 30 * S, charge_denied=True),
    "leaky": Rule(TOKENS, 21, 30 * S, charge_denied=True),
}
RULES = LEASED | {
    "minute": Rule(FIXED, 30, LONGEST_US[Alignment.MINUTE], calendar=_MINUTELY),
    "day": Rule(FIXED, 30, LONGEST_US[Alignment.DAY], calendar=_DAILY),
    "sliding": Rule(SLIDING, 30, 20 * S),
    "faded": Rule(SLIDING, 12, 30 * S, charge_denied=True),
    "slots": Rule(CONCURRENCY, 3, 30 * S),
    "people": Rule(CONCURRENCY, 4, 20 * S),
}


def _limit(key: str, factor: float, cost: int, member: str) -> LimitTake:
    rule = RULES[key]
    rule = replace(rule, limit=max(1, round(rule.limit * factor)))
    return LimitTake(key, rule, cost, member=member if key == "people" else "")


def _group(keys: Sequence[str]) -> st.SearchStrategy[tuple[LimitTake, ...]]:
    one = st.builds(
        _limit,
        st.sampled_from(keys),
        st.sampled_from([1, 1, 1, 0.5, 2]),
        st.sampled_from([0, 1, 1, 2, 3, 50]),
        st.sampled_from("abc"),
    )
    return st.lists(one, min_size=1, max_size=4, unique_by=lambda each: each.key).map(tuple)


_ids = st.sampled_from([f"id-{n}" for n in range(6)])
_lives = st.sampled_from([1, S, 5 * S, 20 * S, 45 * S])
_plain = st.builds(
    lambda limits, slot_id, shadows: Take(limits, slot_id=slot_id, shadows=tuple(shadows)),
    _group(list(RULES)),
    _ids,
    st.lists(_group(list(RULES)), max_size=2),
)
_reserving = st.builds(
    lambda limits, life, refund: Take(limits, Reserve("", life, refund)),
    st.lists(st.booleans(), min_size=4, max_size=4).flatmap(
        lambda once: _group([key for key in RULES if key not in {"slots", "people"}]).map(
            lambda limits: tuple(limit._replace(once=one) for limit, one in zip(limits, once, strict=False))
        )
    ),
    _lives,
    st.booleans(),
)
_leasing = st.builds(
    lambda limits, tokens, life: Take(limits, lease=LeaseAsk("", tokens, life)),
    _group(list(LEASED)),
    st.integers(1, 30),
    _lives,
)
_amounts = st.sampled_from([-1, 0, 1, 2, 5, 100, 10**18])
_places = st.integers(0, 5)
_amendment = st.one_of(
    st.builds(lambda place, actual: Settlement(str(place), actual), _places, _amounts),
    st.builds(lambda place, used: LeaseReturn(str(place), used), _places, _amounts),
    st.builds(Release, _ids),
    st.builds(Renewal, _ids),
)
_gaps = st.sampled_from([0, 0, 1, S // 3, S, 5 * S, 10 * S, 20 * S, 60 * S, HOUR])
_steps = st.lists(
    st.tuples(
        _gaps,
        st.sampled_from(["take", "take", "take", "peek"]),
        st.lists(st.one_of(_plain, _plain, _reserving, _leasing), min_size=1, max_size=4),
        st.lists(_amendment, max_size=3),
    ),
    max_size=25,
)
Steps = list[tuple[int, str, list[Take], list[Amendment]]]


@dataclass
class Names:
    """Gives each hold an id of its own, and amendments the ids of the newest ones."""

    known: list[str] = field(default_factory=list)

    def named(self, take: Take) -> Take:
        name = f"hold-{len(self.known)}"
        if take.reserve is not None:
            self.known.append(name)
            return take._replace(reserve=take.reserve._replace(reservation_id=name))
        if take.lease is not None:
            self.known.append(name)
            return take._replace(lease=take.lease._replace(lease_id=name))
        return take

    def found(self, amendment: Amendment) -> Amendment:
        if isinstance(amendment, Settlement):
            return replace(amendment, reservation_id=self._newest(amendment.reservation_id))
        if isinstance(amendment, LeaseReturn):
            return replace(amendment, lease_id=self._newest(amendment.lease_id))
        return amendment

    def _newest(self, place: str) -> str:
        return self.known[-1 - int(place)] if int(place) < len(self.known) else "unknown"


def _dated(take: Take, now_us: int) -> Take:
    def all_of(limits: tuple[LimitTake, ...]) -> tuple[LimitTake, ...]:
        return tuple(
            each._replace(bounds=bounds_of(each.rule.calendar, now_us)) if each.rule.calendar else each
            for each in limits
        )

    return take._replace(limits=all_of(take.limits), shadows=tuple(map(all_of, take.shadows)))


def _by_key(windows: Sequence[WindowState]) -> dict[str, tuple[int, int, int]]:
    return {each.key: (each.start_us, each.end_us, each.used) for each in windows}


async def _windows(store: CounterStore, now_us: int) -> dict[str, tuple[int, int, int]]:
    """The long windows of a store, all of them touched now."""
    long = ("quota", "day")
    touched = Take(tuple(LimitTake(key, replace(RULES[key], limit=10**6), 0) for key in long))
    await store.take([_dated(touched, now_us)])
    return _by_key(await store.changed_windows())


@pytest.mark.parametrize("make", ["redis", "redis-cluster"], indirect=True)
@settings(steady, max_examples=60)
@given(steps=_steps)
async def test_every_back_end_answers_like_memory(make: Maker, steps: Steps) -> None:
    clock, names = ManualClock(), Names()
    store, memory = await make(clock), MemoryCounterStore(clock)
    for gap_us, what, takes, amendments in steps:
        clock.advance(seconds=gap_us / S)
        asked = [_dated(names.named(take), clock.now_us()) for take in takes]
        if what == "take":
            assert list(await store.take(asked)) == list(await memory.take(asked))
        else:
            assert list(await store.peek(asked)) == list(await memory.peek(asked))
        ended = [names.found(amendment) for amendment in amendments]
        assert list(await store.amend(ended)) == list(await memory.amend(ended))
    assert await _windows(store, clock.now_us()) == await _windows(memory, clock.now_us())
