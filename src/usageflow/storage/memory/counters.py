"""Counters in the process: atomic because nothing here awaits between reading and writing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from usageflow.domain.clock import Clock
from usageflow.domain.limits import (
    Bucket,
    Standing,
    State,
    Window,
    charge,
    current,
    debit,
    end_hold,
    expires_us,
    hold,
    instance_of,
    standing,
    taken_from,
)
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import (
    KEEP_ENDED_US,
    LONG_WINDOW_US,
    Amendment,
    LeaseReturn,
    LimitTake,
    Release,
    Renewal,
    Settlement,
    Take,
    Taken,
)
from usageflow.storage.memory.holds import Held, Hold, Holds
from usageflow.storage.memory.slots import Slots
from usageflow.storage.ports import WindowState

_SLOT_US = 10_000_000
"""Width of a slot of the timing wheel: states are forgotten at most this late."""

_CONCURRENCY = Algorithm.CONCURRENCY


class MemoryCounterStore:
    """CounterStore in memory. One event loop must own it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}
        self._wheel: defaultdict[int, set[str]] = defaultdict(set)
        self._changed: dict[str, int] = {}
        self._holds = Holds()
        self._slots = Slots()

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.take. O(limits)."""
        now_us = self._now()
        return [self._take(take, now_us) for take in takes]

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.peek."""
        now_us = self._now()
        return [self._peek(take.limits, take.slot_id, take.shadows, now_us) for take in takes]

    async def amend(self, amendments: Sequence[Amendment]) -> Sequence[bool]:
        """See CounterStore.amend."""
        now_us = self._now()
        return [self._amend(amendment, now_us) for amendment in amendments]

    def _now(self) -> int:
        """Returns the time, after what expired by then did expire: answers never depend on when sweep ran."""
        now_us = self._clock.now_us()
        for over in self._holds.due(now_us):
            kept = [0 if over.refund else held.amount for held in over.held]
            self._end(over, kept, over.expires_us)
        return now_us

    def _peek(
        self,
        limits: Sequence[LimitTake],
        slot_id: str,
        shadows: Sequence[tuple[LimitTake, ...]],
        now_us: int,
    ) -> Taken:
        seen = tuple(self._standing(item, slot_id, now_us) for item in limits)
        below = tuple(self._peek(shadow, slot_id, (), now_us) for shadow in shadows)
        return Taken(all(item.wait_us == 0 for item in seen), seen, below)

    def _state(self, item: LimitTake, now_us: int) -> State:
        return current(self._states.get(item.key), item.rule, now_us, item.bounds)

    def _standing(self, item: LimitTake, slot_id: str, now_us: int) -> Standing:
        if item.rule.algorithm is _CONCURRENCY:
            return self._slots.standing(item, slot_id, now_us)
        return standing(self._state(item, now_us), item.rule, now_us, item.cost)

    def _take(self, take: Take, now_us: int) -> Taken:
        taken = self._take_at_once(take, now_us)
        return self._take_of_any(take, now_us) if taken is None else taken

    def _take_at_once(self, take: Take, now_us: int) -> Taken | None:
        """Takes where every limit is a window or a bucket that is known and has room, else returns None: the same as below in a
        third of the time, for what nearly all takes are.
        """
        limits, reserve, lease, _, shadows = take
        if reserve is not None or lease is not None or shadows:
            return None
        states, changed, standings = self._states, [], []
        for item in limits:
            took = taken_from(states.get(item[0]), item[1], now_us, item[2])
            if took is None:
                return None
            changed.append(took[0])
            standings.append(took[1])
        for item, state in zip(limits, changed, strict=True):
            states[item[0]] = state
            if type(state) is Window and state.end_us - state.start_us >= LONG_WINDOW_US:
                self._changed[item[0]] = now_us
        return Taken(True, tuple(standings))

    def _take_of_any(self, take: Take, now_us: int) -> Taken:
        seen = [self._standing(item, take.slot_id, now_us) for item in take.limits]
        for each in seen:
            if each.wait_us != 0:
                return Taken(admitted=False, standings=self._charge(take, seen, now_us))
        tokens, life_us = self._lease(take, seen, now_us) if take.lease is not None else (0, 0)
        after = tuple([self._debit(item, take.slot_id, now_us, 1 + tokens) for item in take.limits])
        if take.reserve is not None:
            held = self._held([item for item in take.limits if not item.once], 1, now_us)
            expires = now_us + take.reserve.life_us
            self._holds.add(
                Hold(take.reserve.reservation_id, held, expires, expires + KEEP_ENDED_US, take.reserve.refund)
            )
        if tokens and take.lease is not None:
            held, expires = self._held(take.limits, tokens, now_us), now_us + life_us
            forget_us = max([expires, *self._ends(take.limits)]) + KEEP_ENDED_US
            self._holds.add(Hold(take.lease.lease_id, held, expires, forget_us, tokens=tokens))
        shadows = tuple([self._shadow(limits, take.slot_id, now_us) for limits in take.shadows])
        return Taken(True, after, shadows, tokens, life_us)

    def _shadow(self, limits: tuple[LimitTake, ...], slot_id: str, now_us: int) -> Taken:
        return self._take(Take(limits, slot_id=slot_id), now_us)

    def _charge(self, take: Take, before: Sequence[Standing], now_us: int) -> tuple[Standing, ...]:
        """Lets a denied request take where rules say so; returns where all limits stand then. A bucket that denies and
        whose rate was changed goes on at the new one from here, as its wait was told, though nothing was taken.
        """
        after = list(before)
        for index, item in enumerate(take.limits):
            known = self._states.get(item.key)
            if isinstance(known, Bucket) and before[index].wait_us != 0 and known.rate != item.rule.limit:
                self._put(item.key, self._state(item, now_us), now_us)
            if item.rule.charge_denied:
                state = self._state(item, now_us)
                charged = charge(state, item.rule, now_us, item.cost)
                after[index] = standing(charged, item.rule, now_us, item.cost)
                if charged != state:
                    self._put(item.key, charged, now_us)
        return tuple(after)

    def _debit(self, item: LimitTake, slot_id: str, now_us: int, times: int) -> Standing:
        """Takes from one limit, which has room; returns where it stands then."""
        if item.rule.algorithm is _CONCURRENCY:
            self._slots.put(item, slot_id, now_us)
            return self._slots.standing(item, slot_id, now_us)
        debited = debit(self._state(item, now_us), item.rule, item.cost * times)
        self._put(item.key, debited, now_us)
        remaining, reset_us, _, window_us = standing(debited, item.rule, now_us, item.cost)
        return Standing(remaining, reset_us, 0, window_us)

    def _lease(self, take: Take, seen: Sequence[Standing], now_us: int) -> tuple[int, int]:
        """Returns how many tokens beside the take itself are leased, and for how long."""
        asked = take.lease
        if asked is None:
            return 0, 0
        tokens, life_us = asked.tokens, asked.life_us
        for item, each in zip(take.limits, seen, strict=True):
            room = each.remaining - item.cost
            lessees = self._holds.lessees(item.key) + 1
            tokens = min(tokens, room // (4 * lessees * max(1, item.cost)))
            state = self._state(item, now_us)
            if isinstance(state, Window):
                life_us = min(life_us, state.end_us - now_us)
        return (tokens, life_us) if tokens > 0 and life_us > 0 else (0, 0)

    def _held(self, limits: Sequence[LimitTake], times: int, now_us: int) -> tuple[Held, ...]:
        held = []
        for item in limits:
            if item.rule.algorithm is not _CONCURRENCY:
                state = hold(self._states[item.key], item.cost * times)
                self._put(item.key, state, now_us)
                held.append(Held(item.key, item.rule, item.cost * times, instance_of(state)))
        return tuple(held)

    def _ends(self, limits: Sequence[LimitTake]) -> list[int]:
        states = (self._states[item.key] for item in limits)
        return [state.end_us for state in states if isinstance(state, Window)]

    def _put(self, key: str, state: State, now_us: int) -> None:
        if key not in self._states:
            self._wheel[expires_us(state) // _SLOT_US].add(key)
        self._states[key] = state
        if isinstance(state, Window) and state.end_us - state.start_us >= LONG_WINDOW_US:
            self._changed[key] = now_us

    def _amend(self, amendment: Amendment, now_us: int) -> bool:
        if isinstance(amendment, Release):
            return self._slots.release(amendment.slot_id, now_us)
        if isinstance(amendment, Renewal):
            return self._slots.renew(amendment.slot_id, now_us)
        if isinstance(amendment, Settlement):
            return self._settle(amendment, now_us)
        return self._return(amendment, now_us)

    def _settle(self, settlement: Settlement, now_us: int) -> bool:
        found = self._holds.find(settlement.reservation_id)
        if found is None or found.is_lease or (found.over and not found.settled):
            return False
        if not found.settled:
            self._holds.settle(found)
            self._end(found, [max(0, settlement.actual)] * len(found.held), now_us)
        return True

    def _return(self, returned: LeaseReturn, now_us: int) -> bool:
        found = self._holds.find(returned.lease_id)
        if found is None or not found.is_lease:
            return False
        if not found.settled:
            used = min(max(0, returned.used), found.tokens)
            self._holds.settle(found)
            self._end(found, [held.amount // found.tokens * used for held in found.held], now_us)
        return True

    def _end(self, ended: Hold, actuals: Sequence[int], now_us: int) -> None:
        """Corrects what a hold debited to ``actuals``; a bucket whose share of it is over already stays."""
        for held, actual in zip(ended.held, actuals, strict=True):
            state = self._states.get(held.key)
            if ended.over and ended.settled and isinstance(state, Bucket):
                continue
            after = end_hold(state, held.rule, now_us, held.amount, actual, held.instance_us)
            if after is not None:
                self._put(held.key, after, now_us)

    async def changed_windows(self) -> Sequence[WindowState]:
        """See CounterStore.changed_windows."""
        changed, self._changed = self._changed, {}
        states = ((key, at_us, self._states.get(key)) for key, at_us in changed.items())
        return [
            WindowState(key, state.start_us, state.end_us, state.used, at_us)
            for key, at_us, state in states
            if isinstance(state, Window)
        ]

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """See CounterStore.restore_windows."""
        now_us = self._now()
        for window in windows:
            live = self._states.get(window.key)
            known = isinstance(live, Window) and now_us < live.end_us and live.used >= window.used
            if not known and now_us < window.end_us:
                self._put(window.key, Window(window.start_us, window.end_us, window.used), now_us)

    async def came_back_empty(self) -> bool:
        """See CounterStore.came_back_empty: these counters go with the process."""
        return False

    async def sweep(self) -> int:
        """See CounterStore.sweep. O(states that expire)."""
        now_us = self._now()
        forgotten = self._slots.sweep(now_us)
        for slot in [slot for slot in self._wheel if slot < now_us // _SLOT_US]:
            for key in self._wheel.pop(slot):
                forgotten += self._forget(key, now_us)
        return forgotten

    def _forget(self, key: str, now_us: int) -> int:
        state = self._states[key]
        until_us = expires_us(state)
        if isinstance(state, Bucket) and state.held:
            until_us = max(until_us, now_us + _SLOT_US)
        if until_us > now_us:
            self._wheel[until_us // _SLOT_US].add(key)
            return 0
        del self._states[key]
        return 1

    async def close(self) -> None:
        """See CounterStore.close: there is nothing to give back."""
