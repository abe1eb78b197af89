"""The arithmetic of limits: pure functions of (state, rule, now, cost). All times are Unix time in microseconds.

FIXED_WINDOW keeps the window's bounds and what was used of it. TOKEN_BUCKET is the leaky bucket as a meter, which admits
the same as GCRA (ITU-T I.371): the debt of used units drains at limit/window and must stay within the burst. The debt is
kept in units x window, so every step is exact integer arithmetic at any rate. SLIDING_WINDOW keeps two counts of windows
that begin at multiples of the window's length since the epoch; its estimate weighs the previous count by the part of it
that the sliding window still covers, as if its units had come evenly: an approximation, never the exact count.
CONCURRENCY counts members, not units: usageflow.domain.slots.

**Holds.** Units that were debited but may be used later (a lease, a reservation) are *held*. A bucket's debt never drains
below what is held: refilled beside tokens that are still to come it would admit more than burst + rate x t. For the same
reason a hold that ends is credited only as it ends; what a bucket had drained meanwhile cannot be told any more.

Counts stay below 2^45 and windows are shorter than 2^45 microseconds, so that a store that counts in doubles keeps
quotients and remainders of every product exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from usageflow.domain.calendars import Bounds, Calendar
from usageflow.domain.policies import Algorithm

MAX_COUNT = 2**45 - 1
"""The most units that a state counts: further debits are lost, long after every limit."""

MAX_SPAN_US = 2**53 - 1
"""The longest time that a standing tells, 285 years."""


_FIXED, _TOKENS = Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET


@dataclass(frozen=True, slots=True)
class Rule:
    """What a limit promises: ``limit`` units per ``window_us``; ``burst`` is the bucket's size (0: ``limit``).

    With a ``calendar`` the windows are its own, and ``window_us`` is only their usual length. ``charge_denied``: denied
    requests take from this limit too.
    """

    algorithm: Algorithm
    limit: int
    window_us: int
    burst: int = 0
    calendar: Calendar | None = None
    charge_denied: bool = False

    @property
    def capacity(self) -> int:
        """Units that fit at once: a higher cost can never be admitted."""
        return (self.burst or self.limit) if self.algorithm is Algorithm.TOKEN_BUCKET else self.limit


class Window(NamedTuple):
    """State of a FIXED_WINDOW: ``used`` units of [start_us, end_us)."""

    start_us: int
    end_us: int
    used: int


class Bucket(NamedTuple):
    """State of a TOKEN_BUCKET at ``at_us``: ``debt`` in units x window, draining at ``rate`` units per window, but not below
    the ``held`` units.

    The rate it was written with stays until now; from now on the rule's rate counts, so a changed limit acts at once.
    """

    debt: int
    at_us: int
    rate: int
    held: int = 0


class Sliding(NamedTuple):
    """State of a SLIDING_WINDOW: ``present`` units of the window from ``start_us`` on, ``previous`` of the one before."""

    start_us: int
    window_us: int
    previous: int
    present: int


State = Window | Bucket | Sliding


class Standing(NamedTuple):
    """Where a limit stands. ``remaining`` units fit now; ``reset_us`` until the window ends, the bucket is full or the
    sliding window is empty; ``wait_us`` until the asked cost fits: 0 now, None never. ``window_us`` is the length of the
    present window of a calendar; 0: the rule's.
    """

    remaining: int
    reset_us: int
    wait_us: int | None
    window_us: int = 0


def current(state: State | None, rule: Rule, now_us: int, bounds: Bounds | None = None) -> State:
    """Returns the state as it is at ``now_us``: a window that has ended is fresh, a bucket has drained.

    ``bounds`` are the calendar's around the caller's time, for a rule that has a calendar.
    """
    if rule.algorithm is Algorithm.FIXED_WINDOW:
        return _current_window(state, rule, now_us, bounds)
    if rule.algorithm is Algorithm.SLIDING_WINDOW:
        return _current_sliding(state, rule, now_us)
    if not isinstance(state, Bucket):
        return Bucket(0, now_us, rule.limit)
    return _drained(state, rule.window_us, now_us)._replace(rate=rule.limit)


def _drained(state: Bucket, window_us: int, now_us: int) -> Bucket:
    elapsed = max(0, now_us - state.at_us)
    debt = max(state.held * window_us, state.debt - elapsed * state.rate)
    return Bucket(debt, max(now_us, state.at_us), state.rate, state.held)


def _current_window(state: State | None, rule: Rule, now_us: int, bounds: Bounds | None) -> Window:
    if isinstance(state, Window) and now_us < state.end_us:
        return state
    fresh = Window(now_us, now_us + rule.window_us, 0) if bounds is None else _aligned(bounds, now_us)
    # Only where clocks are more than a window apart has the fresh one ended too: it goes on then.
    return state if isinstance(state, Window) and state.start_us == fresh.start_us else fresh


def _aligned(bounds: Bounds, now_us: int) -> Window:
    """Returns the fresh window that holds ``now_us``, else the nearest one."""
    index = sum(now_us >= start for start in bounds[1:3])
    return Window(bounds[index], bounds[index + 1], 0)


def _current_sliding(state: State | None, rule: Rule, now_us: int) -> Sliding:
    start_us = now_us - now_us % rule.window_us
    if not isinstance(state, Sliding) or state.start_us < start_us - rule.window_us:
        return Sliding(start_us, rule.window_us, 0, 0)
    if state.start_us < start_us:
        return Sliding(start_us, rule.window_us, state.present, 0)
    return state  # of this window, or of a later one where the clock went back


def standing(state: State, rule: Rule, now_us: int, cost: int) -> Standing:
    """Returns where a current state stands for one more request of ``cost``."""
    window_us = 0
    if isinstance(state, Window):
        remaining = rule.limit - state.used
        reset_us = max(0, state.end_us - now_us)
        wait_us = 0 if cost <= remaining else max(1, reset_us)
        window_us = state.end_us - state.start_us if rule.calendar else 0
    elif isinstance(state, Sliding):
        remaining = rule.limit - state.present - _weighed(state, now_us)
        reset_us = max(0, expires_us(state) - now_us)
        wait_us = 0 if cost <= remaining else _sliding_wait(state, rule.limit - cost, now_us)
    else:
        room = rule.capacity * rule.window_us - state.debt
        remaining = room // rule.window_us
        reset_us = min(MAX_SPAN_US, _ceil_div(state.debt, rule.limit))
        wait_us = min(MAX_SPAN_US, max(0, _ceil_div(cost * rule.window_us - room, rule.limit)))
    return Standing(max(0, remaining), reset_us, wait_us if cost <= rule.capacity else None, window_us)


def _weighed(state: Sliding, now_us: int) -> int:
    """Returns what counts of the previous window, rounded up: the share of it that the sliding window still covers."""
    covered_us = min(state.window_us, state.start_us + state.window_us - now_us)
    return _ceil_div(state.previous * covered_us, state.window_us)


def _sliding_wait(state: Sliding, room: int, now_us: int) -> int:
    """Returns the time until no more than ``room`` units count. They only get fewer: first the previous window's weight
    falls, then, from the next window on, that of the present one.
    """
    if room < 0:
        return 1  # never: the cost is above the capacity, which the caller says
    if room >= state.present:
        wanted_us = _fades_to(state.previous, room - state.present, state.window_us)
        return state.start_us + wanted_us - now_us
    wanted_us = _fades_to(state.present, room, state.window_us)
    return state.start_us + state.window_us + wanted_us - now_us


def _fades_to(count: int, room: int, window_us: int) -> int:
    """Returns how long into the next window ``count`` units of this one weigh no more than ``room``."""
    return 0 if count <= room else window_us - room * window_us // count


def debit(state: State, rule: Rule, cost: int) -> State:
    """Returns a current state after ``cost`` units; a negative cost credits, never below empty."""
    if isinstance(state, Window):
        return Window(state.start_us, state.end_us, _counted(state.used, cost))
    if isinstance(state, Sliding):
        present = _counted(state.present, cost)
        return Sliding(state.start_us, state.window_us, state.previous, present)
    debt = min(MAX_COUNT * rule.window_us, max(0, state.debt + cost * rule.window_us))
    return Bucket(debt, state.at_us, state.rate, state.held)


def taken_from(
    state: State | None, rule: Rule, now_us: int, cost: int
) -> tuple[Window | Bucket, Standing] | None:
    """Returns state and standing after a take from a window that is open or a bucket that is known, where the cost fits; else
    None. It says what current, debit and standing say, in one step.
    """
    if type(state) is Window and rule.algorithm is _FIXED:
        start_us, end_us, used = state
        remaining = rule.limit - used - cost
        if remaining < 0 or now_us >= end_us:
            return None
        length_us = end_us - start_us if rule.calendar else 0
        return Window(start_us, end_us, used + cost), Standing(remaining, end_us - now_us, 0, length_us)
    if type(state) is Bucket and rule.algorithm is _TOKENS:
        debt, at_us, rate, held = state
        window_us = rule.window_us
        if now_us > at_us:
            debt = max(held * window_us, debt - (now_us - at_us) * rate)
            at_us = now_us
        debt += cost * window_us
        room = rule.capacity * window_us - debt
        if room < 0:
            return None
        reset_us = min(MAX_SPAN_US, -(-debt // rule.limit))
        return Bucket(debt, at_us, rule.limit, held), Standing(room // window_us, reset_us, 0, 0)
    return None


def charge(state: State, rule: Rule, now_us: int, cost: int) -> State:
    """Returns a current state after a denied request: it takes ``cost``, at most what is left. A limit never owes for
    requests that were denied, so whoever stops waits for one cost, not for all that was tried.
    """
    return debit(state, rule, min(cost, standing(state, rule, now_us, cost).remaining))


def hold(state: State, amount: int) -> State:
    """Returns a state that holds ``amount`` of the units that it was just debited."""
    return state._replace(held=state.held + amount) if isinstance(state, Bucket) else state


def end_hold(
    state: State | None, rule: Rule, now_us: int, amount: int, actual: int, instance_us: int | None
) -> State | None:
    """Returns the state at ``now_us`` after a hold of ``amount`` units ended with ``actual`` units used, which may be more;
    None where the window that was debited (``instance_us``) no longer counts. Of the rule only the window's length matters.
    """
    if isinstance(state, Bucket):
        drained = _drained(state, rule.window_us, now_us)
        return debit(drained._replace(held=max(0, drained.held - amount)), rule, actual - amount)
    if isinstance(state, Window):
        ended = now_us >= state.end_us or state.start_us != instance_us
        return None if ended else debit(state, rule, actual - amount)
    if not isinstance(state, Sliding):
        return None
    now = _current_sliding(state, rule, now_us)
    if instance_us == now.start_us - rule.window_us:
        return now._replace(previous=_counted(now.previous, actual - amount))
    return debit(now, rule, actual - amount) if instance_us == now.start_us else None


def expires_us(state: State) -> int:
    """Returns the instant from which on the state says nothing: it may be forgotten then, unless it holds units."""
    if isinstance(state, Window):
        return state.end_us
    if isinstance(state, Sliding):
        return state.start_us + state.window_us * (2 if state.present else 1 if state.previous else 0)
    return state.at_us + _ceil_div(state.debt, state.rate)


def instance_of(state: State) -> int | None:
    """Returns what names this instance for a later credit: a window's start, None for a bucket."""
    return None if isinstance(state, Bucket) else state.start_us


def _counted(count: int, more: int) -> int:
    return min(MAX_COUNT, max(0, count + more))


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
