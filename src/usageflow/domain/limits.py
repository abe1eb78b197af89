"""The arithmetic of limits: pure functions of (state, rule, now, cost). All times are Unix time in microseconds.

FIXED_WINDOW keeps the window's bounds and what was used of it. TOKEN_BUCKET is the leaky bucket as a meter, which admits
the same as GCRA (ITU-T I.371): the debt of used units drains at limit/window and must stay within the burst. The debt is
kept in units x window, so every step is exact integer arithmetic at any rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from usageflow.domain.policies import Algorithm


@dataclass(frozen=True, slots=True)
class Rule:
    """What a limit promises: ``limit`` units per ``window_us``; ``burst`` is the bucket's size (0: ``limit``)."""

    algorithm: Algorithm
    limit: int
    window_us: int
    burst: int = 0

    @property
    def capacity(self) -> int:
        """Units that fit at once: a higher cost can never be admitted."""
        return (self.burst or self.limit) if self.algorithm is Algorithm.TOKEN_BUCKET else self.limit


@dataclass(frozen=True, slots=True)
class Window:
    """State of a FIXED_WINDOW: ``used`` units of [start_us, end_us)."""

    start_us: int
    end_us: int
    used: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """State of a TOKEN_BUCKET at ``at_us``: ``debt`` in units x window, draining at ``rate`` units per window.

    The rate it was written with stays until now; from now on the rule's rate counts, so a changed limit acts at once.
    """

    debt: int
    at_us: int
    rate: int


State = Window | Bucket


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands. ``remaining`` units fit now; ``reset_us`` until the window ends or the bucket is full;
    ``wait_us`` until the asked cost fits: 0 now, None never.
    """

    remaining: int
    reset_us: int
    wait_us: int | None


def current(state: State | None, rule: Rule, now_us: int) -> State:
    """Returns the state as it is at ``now_us``: a window that has ended is fresh, a bucket has drained."""
    if rule.algorithm is Algorithm.FIXED_WINDOW:
        if isinstance(state, Window) and now_us < state.end_us:
            return state
        return Window(now_us, now_us + rule.window_us, 0)
    if not isinstance(state, Bucket):
        return Bucket(0, now_us, rule.limit)
    elapsed = max(0, now_us - state.at_us)
    return Bucket(max(0, state.debt - elapsed * state.rate), max(now_us, state.at_us), rule.limit)


def standing(state: State, rule: Rule, now_us: int, cost: int) -> Standing:
    """Returns where a current state stands for one more request of ``cost``."""
    if isinstance(state, Window):
        remaining = rule.limit - state.used
        reset_us = max(0, state.end_us - now_us)
        wait_us = 0 if cost <= remaining else reset_us
    else:
        room = rule.capacity * rule.window_us - state.debt
        remaining = room // rule.window_us
        reset_us = _ceil_div(state.debt, rule.limit)
        wait_us = max(0, _ceil_div(cost * rule.window_us - room, rule.limit))
    return Standing(max(0, remaining), reset_us, wait_us if cost <= rule.capacity else None)


def debit(state: State, rule: Rule, cost: int) -> State:
    """Returns a current state after ``cost`` units; a negative cost credits, never below empty."""
    if isinstance(state, Window):
        return Window(state.start_us, state.end_us, max(0, state.used + cost))
    return Bucket(max(0, state.debt + cost * rule.window_us), state.at_us, state.rate)


def expires_us(state: State) -> int:
    """Returns the instant from which on the state says nothing: it may be forgotten then."""
    if isinstance(state, Window):
        return state.end_us
    return state.at_us + _ceil_div(state.debt, state.rate)


def same_instance(state: State | None, instance_us: int | None) -> bool:
    """Tells whether a credit may go to this state: a window must be the one that was debited; buckets always are."""
    return not isinstance(state, Window) or state.start_us == instance_us


def instance_of(state: State) -> int | None:
    """Returns what names this instance for a later credit: a window's start, None for a bucket."""
    return state.start_us if isinstance(state, Window) else None


def _ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
