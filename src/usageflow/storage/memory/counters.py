"""Counters in the process: atomic because nothing here awaits between reading and writing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from usageflow.domain.clock import Clock
from usageflow.domain.limits import (
    Rule,
    Standing,
    State,
    Window,
    charge,
    correct,
    current,
    debit,
    expires_us,
    instance_of,
    standing,
)
from usageflow.storage.counters import LONG_WINDOW_US, LimitTake, Reserve, Take, Taken
from usageflow.storage.ports import WindowState

_SLOT_US = 10_000_000
"""Width of a slot of the timing wheel: states are forgotten at most this late."""

_KEEP_SETTLED_US = 60_000_000
"""How long a settled reservation is remembered, so that a repeated settlement has no effect."""


@dataclass(slots=True)
class _Reservation:
    reserve: Reserve
    debits: tuple[tuple[str, Rule, int, int | None], ...]
    settled: bool = False


class MemoryCounterStore:
    """CounterStore in memory. One event loop must own it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}
        self._wheel: defaultdict[int, set[str]] = defaultdict(set)
        self._changed: set[str] = set()
        self._reservations: dict[str, _Reservation] = {}
        self._due: list[tuple[int, str]] = []

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.take. O(limits)."""
        now_us = self._now()
        return [self._take(take, now_us) for take in takes]

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.peek."""
        now_us = self._now()
        results = []
        for take in takes:
            _, before = self._assess(take.limits, now_us)
            results.append(Taken(all(item.wait_us == 0 for item in before), before))
        return results

    def _now(self) -> int:
        """Returns the time, after what expired by then did expire: answers never depend on when sweep ran."""
        now_us = self._clock.now_us()
        while self._due and self._due[0][0] <= now_us:
            self._expire(heappop(self._due)[1], now_us)
        return now_us

    def _expire(self, reservation_id: str, now_us: int) -> None:
        """Ends a hold; a settled one is remembered a little longer, for those who settle it again."""
        record = self._reservations[reservation_id]
        forget_us = record.reserve.expires_us + _KEEP_SETTLED_US
        if record.settled and forget_us > now_us:
            heappush(self._due, (forget_us, reservation_id))
            return
        if record.reserve.refund and not record.settled:
            self._correct(record, 0, now_us)
        del self._reservations[reservation_id]

    def _assess(self, limits: Sequence[LimitTake], now_us: int) -> tuple[list[State], tuple[Standing, ...]]:
        states = [current(self._states.get(item.key), item.rule, now_us, item.bounds) for item in limits]
        standings = tuple(
            standing(state, item.rule, now_us, item.cost) for state, item in zip(states, limits, strict=True)
        )
        return states, standings

    def _take(self, take: Take, now_us: int) -> Taken:
        states, before = self._assess(take.limits, now_us)
        if any(item.wait_us != 0 for item in before):
            return Taken(admitted=False, standings=self._charge(take, states, before, now_us))
        after = []
        for item, state in zip(take.limits, states, strict=True):
            debited = debit(state, item.rule, item.cost)
            self._put(item.key, debited)
            seen = standing(debited, item.rule, now_us, item.cost)
            after.append(Standing(seen.remaining, seen.reset_us, 0, seen.window_us))
        if take.reserve is not None:
            self._remember(take.reserve, take.limits)
        return Taken(admitted=True, standings=tuple(after))

    def _charge(
        self, take: Take, states: Sequence[State], before: Sequence[Standing], now_us: int
    ) -> tuple[Standing, ...]:
        """Lets a denied request take where rules say so; returns where all limits stand then."""
        after = list(before)
        for index, (item, state) in enumerate(zip(take.limits, states, strict=True)):
            if item.rule.charge_denied:
                charged = charge(state, item.rule, now_us, item.cost)
                after[index] = standing(charged, item.rule, now_us, item.cost)
                if charged != state:
                    self._put(item.key, charged)
        return tuple(after)

    def _put(self, key: str, state: State) -> None:
        if key not in self._states:
            self._wheel[expires_us(state) // _SLOT_US].add(key)
        self._states[key] = state
        if isinstance(state, Window) and state.end_us - state.start_us >= LONG_WINDOW_US:
            self._changed.add(key)

    def _remember(self, reserve: Reserve, limits: Sequence[LimitTake]) -> None:
        debits = tuple(
            (item.key, item.rule, item.cost, instance_of(self._states[item.key])) for item in limits
        )
        self._reservations[reserve.reservation_id] = _Reservation(reserve, debits)
        heappush(self._due, (reserve.expires_us, reserve.reservation_id))

    async def settle(self, reservation_id: str, actual: int) -> bool:
        """See CounterStore.settle."""
        now_us = self._now()
        record = self._reservations.get(reservation_id)
        if record is None:
            return False
        if not record.settled:
            record.settled = True
            self._correct(record, max(0, actual), now_us)
        return True

    def _correct(self, record: _Reservation, actual: int, now_us: int) -> None:
        for key, rule, reserved, instance_us in record.debits:
            state = current(self._states.get(key), rule, now_us)
            corrected = correct(state, rule, actual - reserved, instance_us)
            if corrected is not None:
                self._put(key, corrected)

    async def changed_windows(self) -> Sequence[WindowState]:
        """See CounterStore.changed_windows."""
        keys, self._changed = self._changed, set()
        states = ((key, self._states.get(key)) for key in keys)
        return [
            WindowState(key, state.start_us, state.end_us, state.used)
            for key, state in states
            if isinstance(state, Window)
        ]

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """See CounterStore.restore_windows."""
        now_us = self._now()
        for window in windows:
            live = self._states.get(window.key)
            known = isinstance(live, Window) and now_us < live.end_us and live.used >= window.used
            if not known and now_us < window.end_us:
                self._put(window.key, Window(window.start_us, window.end_us, window.used))

    async def sweep(self) -> int:
        """See CounterStore.sweep. O(states that expire)."""
        now_us = self._now()
        forgotten = 0
        for slot in [slot for slot in self._wheel if slot < now_us // _SLOT_US]:
            for key in self._wheel.pop(slot):
                forgotten += self._forget(key, now_us)
        return forgotten

    def _forget(self, key: str, now_us: int) -> int:
        until_us = expires_us(self._states[key])
        if until_us > now_us:
            self._wheel[until_us // _SLOT_US].add(key)
            return 0
        del self._states[key]
        return 1
