"""The arithmetic in Lua says the same as usageflow.domain.limits: for the golden cases, and at the ends of what may be counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from tests.vectors.limits_in_lua import LuaLimits, Told
from tests.vectors.test_limits import LIMITS, rule_of, state_of
from tools.redis_servers import RedisServer
from usageflow.domain.limits import (
    MAX_COUNT,
    Bucket,
    Rule,
    Sliding,
    Standing,
    State,
    Window,
    charge,
    current,
    debit,
    end_hold,
    standing,
)
from usageflow.domain.policies import MAX_UNITS, Algorithm

NOW_US = 1_700_000_000_000_000
LONGEST_US = 2**45 - 1
FIXED, TOKENS, SLIDING = Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET, Algorithm.SLIDING_WINDOW


@pytest.fixture(scope="session")
def lua(redis_server: RedisServer) -> Iterator[LuaLimits]:
    with redis_server.client() as client:
        yield LuaLimits(client)


def test_golden_cases(lua: LuaLimits) -> None:
    asked = []
    for case in LIMITS:
        rule = rule_of(case)
        previous, present, following, end = case.bounds or (0, 0, 0, 0)
        bounds = (previous, present, following, end) if case.bounds else None
        asked.append((state_of(case.state, rule), rule, case.now_us, case.cost, bounds))
    for case, told in zip(LIMITS, lua.take(asked), strict=True):
        rule = rule_of(case)
        seen = told.after if told.fits or rule.charge_denied else told.before
        wait_us = 0 if told.fits else -1 if seen.wait_us is None else seen.wait_us
        assert (told.fits, seen.remaining, seen.reset_us, wait_us) == (
            case.want_admitted,
            case.want_remaining,
            case.want_reset_us,
            case.want_wait_us,
        ), case.name
        if told.fits or rule.charge_denied:
            assert told.state == state_of(case.want_state, rule), case.name


def sizes(most: int, least: int = 0) -> st.SearchStrategy[int]:
    """Numbers of every length, so that long ones come as often as short ones."""
    return st.integers(0, most.bit_length()).flatmap(
        lambda bits: st.integers(min(most, max(least, (1 << bits) >> 1)), max(least, min(most, 1 << bits)))
    )


products = st.tuples(sizes(2**51), sizes(2**46), sizes(2**45 - 1, 1))


@steady
@given(cases=st.lists(products, min_size=1, max_size=60))
def test_products_are_divided_exactly(lua: LuaLimits, cases: list[tuple[int, int, int]]) -> None:
    for (a, b, c), (quotient, rest) in zip(cases, lua.divide(cases), strict=True):
        expected, left = divmod(a * b, c)
        assert rest == left
        assert quotient == expected if expected < 2**53 else abs(quotient - expected) <= expected / 2**50


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    algorithm = draw(st.sampled_from([FIXED, TOKENS, SLIDING]))
    burst = draw(st.one_of(st.just(0), sizes(MAX_UNITS, 1))) if algorithm is TOKENS else 0
    return Rule(
        algorithm,
        draw(sizes(MAX_UNITS, 1)),
        draw(sizes(LONGEST_US, 1)),
        burst,
        charge_denied=draw(st.booleans()),
    )


@st.composite
def states(draw: st.DrawFn, rule: Rule) -> State:
    """A state as it may have been stored by an earlier rule of other numbers."""
    window_us, at_us = rule.window_us, NOW_US - draw(sizes(2**46)) + draw(sizes(10**7))
    if rule.algorithm is FIXED:
        return Window(at_us, at_us + window_us, draw(sizes(MAX_COUNT)))
    if rule.algorithm is SLIDING:
        aligned = at_us - at_us % window_us
        return Sliding(aligned, window_us, draw(sizes(MAX_COUNT)), draw(sizes(MAX_COUNT)))
    debt = min(
        MAX_COUNT * window_us, draw(sizes(MAX_COUNT)) * window_us + draw(st.integers(0, window_us - 1))
    )
    held = draw(st.one_of(st.just(0), sizes(debt // window_us)))
    return Bucket(debt, at_us, draw(sizes(MAX_UNITS, 1)), held)


@st.composite
def takes(draw: st.DrawFn) -> tuple[State, Rule, int, int, None]:
    rule = draw(rules())
    return draw(states(rule)), rule, NOW_US, draw(sizes(MAX_UNITS)), None


def in_python(state: State, rule: Rule, now_us: int, cost: int) -> Told:
    now = current(state, rule, now_us)
    before = standing(now, rule, now_us, cost)
    if before.wait_us == 0:
        after = debit(now, rule, cost)
    else:
        after = charge(now, rule, now_us, cost) if rule.charge_denied else now
    return Told(before.wait_us == 0, before, standing(after, rule, now_us, cost), after)


@steady
@given(cases=st.lists(takes(), min_size=1, max_size=10))
def test_takes_of_every_size(lua: LuaLimits, cases: list[tuple[State, Rule, int, int, None]]) -> None:
    for (state, rule, now_us, cost, _), told in zip(cases, lua.take(cases), strict=True):
        assert told == in_python(state, rule, now_us, cost)


@st.composite
def endings(draw: st.DrawFn) -> tuple[State, Rule, int, int, int, int | None]:
    rule = draw(rules())
    state = draw(states(rule))
    actual = draw(sizes(2 * MAX_COUNT))
    if isinstance(state, Bucket):
        return state, rule, NOW_US, draw(sizes(max(1, state.held))), actual, None
    start_us = state.start_us
    instance_us = draw(st.sampled_from([start_us, start_us - rule.window_us, NOW_US]))
    return state, rule, NOW_US, draw(sizes(MAX_UNITS)), actual, instance_us


@steady
@given(cases=st.lists(endings(), min_size=1, max_size=10))
def test_holds_that_end(lua: LuaLimits, cases: list[tuple[State, Rule, int, int, int, int | None]]) -> None:
    for case, after in zip(cases, lua.end_hold(cases), strict=True):
        assert after == end_hold(*case)


def test_what_never_fits_and_what_takes_too_long(lua: LuaLimits) -> None:
    slow = Rule(TOKENS, 1, LONGEST_US, burst=MAX_UNITS)
    (told,) = lua.take([(Bucket(MAX_COUNT * LONGEST_US, NOW_US, 1), slow, NOW_US, MAX_UNITS, None)])
    assert told.before == Standing(0, 2**53 - 1, 2**53 - 1)
    (told,) = lua.take([(None, slow, NOW_US, MAX_UNITS + 1, None)])
    assert told.before.wait_us is None
