from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.limits import (
    Bucket,
    Rule,
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

HOUR = 3_600_000_000
S = 1_000_000
FIXED, TOKENS, SLIDING, _ = Algorithm
NOW = 1_700_000_000_123_457


def attempt(state: State | None, rule: Rule, now_us: int, cost: int = 1) -> tuple[bool, State, Standing]:
    """Takes where it fits; returns (admitted, state afterwards, standing before)."""
    state = current(state, rule, now_us)
    before = standing(state, rule, now_us, cost)
    return (True, debit(state, rule, cost), before) if before.wait_us == 0 else (False, state, before)


def admitted(state: State | None, rule: Rule, now_us: int, tries: int) -> tuple[int, State | None]:
    passed = 0
    for _ in range(tries):
        fits, state, _ = attempt(state, rule, now_us)
        passed += fits
    return passed, state


rules = st.builds(
    Rule,
    st.sampled_from([FIXED, TOKENS, SLIDING]),
    st.integers(1, 50),
    st.integers(1_000_000, HOUR),
    st.integers(0, 60),
)
bucket_rules = st.builds(
    Rule, st.just(TOKENS), st.integers(1, 1000), st.integers(1_000_000, HOUR), st.integers(0, 60)
)
requests = st.lists(st.tuples(st.integers(0, 2_000_000_000), st.integers(1, 20)), max_size=40)


def test_a_window_is_anchored_at_the_first_request() -> None:
    state = current(None, Rule(FIXED, 3, HOUR), NOW)
    assert (state, instance_of(state)) == (Window(NOW, NOW + HOUR, 0), NOW)


def test_exactly_n_fit_a_window_and_the_next_one_waits_for_its_end() -> None:
    rule = Rule(FIXED, 1000, HOUR)
    passed, state = admitted(None, rule, NOW, 1000)
    assert passed == 1000
    fits, state, seen = attempt(state, rule, NOW + 7)
    assert (fits, seen) == (False, Standing(0, HOUR - 7, HOUR - 7))
    assert not attempt(state, rule, NOW + HOUR - 1)[0]
    fits, state, _ = attempt(state, rule, NOW + HOUR)
    assert (fits, state) == (True, Window(NOW + HOUR, NOW + 2 * HOUR, 1))


def test_the_next_window_begins_with_its_first_request_not_with_the_old_ones_end() -> None:
    rule = Rule(FIXED, 1, HOUR)
    _, state, _ = attempt(None, rule, NOW)
    later = NOW + 3 * HOUR + 5
    assert current(state, rule, later) == Window(later, later + HOUR, 0)


def test_a_bucket_begins_full_and_refills_at_exact_instants() -> None:
    rule = Rule(TOKENS, 7, 1_000_000, burst=2)
    passed, state = admitted(None, rule, NOW, 5)
    assert passed == 2
    seen = standing(current(state, rule, NOW), rule, NOW, 1)
    assert seen == Standing(0, 285_715, 142_858)  # 2/7 s and 1/7 s, rounded up to microseconds


@steady
@given(rules, requests, st.integers(1, 70))
def test_after_the_wait_the_cost_fits_and_one_microsecond_earlier_it_does_not(
    rule: Rule, gaps: list[tuple[int, int]], cost: int
) -> None:
    state: State | None = None
    now = NOW
    for gap, spent in gaps:
        now += gap
        _, state, _ = attempt(state, rule, now, spent)
    fits, state, seen = attempt(state, rule, now, cost)
    if cost > rule.capacity:
        assert seen.wait_us is None
        assert not fits
    elif not fits:
        assert seen.wait_us is not None
        assert seen.wait_us > 0
        assert attempt(state, rule, now + seen.wait_us, cost)[0]
        assert not attempt(state, rule, now + seen.wait_us - 1, cost)[0]


@steady
@given(bucket_rules, requests)
def test_a_bucket_never_admits_more_than_burst_and_rate_in_any_span(
    rule: Rule, gaps: list[tuple[int, int]]
) -> None:
    state: State | None = None
    now = NOW
    taken: list[tuple[int, int]] = []
    for gap, cost in gaps:
        now += gap
        fits, state, _ = attempt(state, rule, now, cost)
        if fits:
            taken.append((now, cost))
    for start in range(len(taken)):
        spent = 0
        for at, cost in taken[start:]:
            spent += cost
            assert (
                spent * rule.window_us <= rule.capacity * rule.window_us + (at - taken[start][0]) * rule.limit
            )


@steady
@given(bucket_rules, requests)
def test_a_bucket_admits_all_that_its_promise_allows(rule: Rule, gaps: list[tuple[int, int]]) -> None:
    """No unit is lost to rounding: the admitted set is that of a bucket of exact fractions."""
    from fractions import Fraction

    state: State | None = None
    now, level, seen_at = NOW, Fraction(rule.capacity), NOW
    for gap, cost in gaps:
        now += gap
        level = min(Fraction(rule.capacity), level + Fraction((now - seen_at) * rule.limit, rule.window_us))
        seen_at = now
        fits, state, _ = attempt(state, rule, now, cost)
        assert fits == (cost <= level)
        level -= cost if fits else 0


@pytest.mark.parametrize("algorithm", [FIXED, TOKENS, SLIDING])
def test_raising_a_limit_frees_the_difference_at_once(algorithm: Algorithm) -> None:
    _, state = admitted(None, Rule(algorithm, 100, HOUR), NOW, 100)
    passed, _ = admitted(state, Rule(algorithm, 1000, HOUR), NOW, 1000)
    assert passed == 900


@pytest.mark.parametrize("algorithm", [FIXED, TOKENS, SLIDING])
def test_cutting_a_limit_below_what_was_used_leaves_nothing(algorithm: Algorithm) -> None:
    _, state = admitted(None, Rule(algorithm, 1000, HOUR), NOW, 900)
    cut = Rule(algorithm, 100, HOUR)
    fits, _, seen = attempt(state, cut, NOW)
    assert (fits, seen.remaining) == (False, 0)


def test_a_changed_rate_counts_from_the_change_on() -> None:
    slow, fast = Rule(TOKENS, 10, 10_000_000), Rule(TOKENS, 100, 10_000_000, burst=10)
    _, state = admitted(None, slow, NOW, 10)
    state = current(state, fast, NOW + 1_000_000)  # one unit came back at the old rate
    assert standing(state, fast, NOW + 1_000_000, 1).remaining == 1
    assert standing(current(state, fast, NOW + 1_100_000), fast, NOW + 1_100_000, 1).remaining == 2


@steady
@given(rules, st.integers(1, 100))
def test_a_cost_above_the_capacity_never_fits_not_even_an_idle_limit(rule: Rule, excess: int) -> None:
    fits, _, seen = attempt(None, rule, NOW, rule.capacity + excess)
    assert (fits, seen.wait_us) == (False, None)


@pytest.mark.parametrize("algorithm", [FIXED, TOKENS, SLIDING])
def test_a_cost_of_the_whole_capacity_fits_an_idle_limit(algorithm: Algorithm) -> None:
    assert attempt(None, Rule(algorithm, 5, HOUR), NOW, 5)[0]


def test_burst_is_the_capacity_of_a_bucket_only() -> None:
    assert Rule(TOKENS, 5, HOUR, burst=9).capacity == 9
    assert Rule(TOKENS, 5, HOUR).capacity == 5
    assert Rule(FIXED, 5, HOUR, burst=9).capacity == 5


@steady
@given(rules, st.integers(0, 30), st.integers(0, 100))
def test_a_credit_never_makes_more_room_than_the_capacity(rule: Rule, spent: int, credit: int) -> None:
    state = debit(current(None, rule, NOW), rule, spent)
    credited = debit(state, rule, -credit)
    expected = min(rule.capacity, max(0, rule.capacity - max(0, spent - credit)))
    assert standing(credited, rule, NOW, 1).remaining == expected


@steady
@given(rules, st.integers(1, 30), st.integers(0, 2 * HOUR))
def test_an_expired_state_answers_like_none(rule: Rule, spent: int, later: int) -> None:
    state = debit(current(None, rule, NOW), rule, spent)
    now = expires_us(state) + later
    assert standing(current(state, rule, now), rule, now, 1) == standing(
        current(None, rule, now), rule, now, 1
    )


@steady
@given(bucket_rules, st.integers(1, 30))
def test_a_state_says_something_until_it_expires(rule: Rule, spent: int) -> None:
    state = debit(current(None, rule, NOW), rule, spent)
    now = expires_us(state) - 1
    assert standing(current(state, rule, now), rule, now, 1).reset_us == 1


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    rule = Rule(TOKENS, 10, 10_000_000)
    _, state = admitted(None, rule, NOW, 10)
    back = current(state, rule, NOW - 5_000_000)
    assert standing(back, rule, NOW - 5_000_000, 1).remaining == 0
    assert standing(current(back, rule, NOW + 1_000_000), rule, NOW + 1_000_000, 1).remaining == 1


@pytest.mark.parametrize(
    ("before", "after"), [(FIXED, TOKENS), (TOKENS, FIXED), (FIXED, SLIDING), (SLIDING, TOKENS)]
)
def test_a_state_of_the_other_algorithm_counts_as_none(before: Algorithm, after: Algorithm) -> None:
    _, state = admitted(None, Rule(before, 5, HOUR), NOW, 5)
    assert standing(current(state, Rule(after, 5, HOUR), NOW), Rule(after, 5, HOUR), NOW, 1).remaining == 5


def test_a_hold_ends_only_in_the_window_that_was_debited() -> None:
    rule = Rule(FIXED, 5, 1)
    assert end_hold(Window(NOW, NOW + 1, 3), rule, NOW, 2, 0, NOW) == Window(NOW, NOW + 1, 1)
    assert end_hold(Window(NOW + 1, NOW + 2, 3), rule, NOW + 1, 2, 0, NOW) is None
    assert end_hold(Window(NOW, NOW + 1, 3), rule, NOW + 1, 2, 0, NOW) is None
    assert end_hold(None, rule, NOW, 2, 0, NOW) is None


def test_a_bucket_never_drains_below_what_it_holds() -> None:
    rule = Rule(TOKENS, 10, 10 * S)
    _, state = admitted(None, rule, NOW, 6)
    assert state is not None
    state = hold(state, 4)
    assert standing(current(state, rule, NOW + 60 * S), rule, NOW + 60 * S, 1).remaining == 6
    ended = end_hold(state, rule, NOW + 60 * S, 4, 1, None)
    assert ended == Bucket(1 * 10 * S, NOW + 60 * S, 10, 0)


@steady
@given(
    rules.filter(lambda rule: rule.algorithm is TOKENS),
    st.lists(
        st.tuples(st.integers(0, 20_000_000), st.integers(1, 5), st.integers(0, 5), st.booleans()),
        max_size=30,
    ),
)
def test_held_units_that_are_used_late_keep_the_promise(
    rule: Rule, steps: list[tuple[int, int, int, bool]]
) -> None:
    """Whatever is used at any time of its hold: in any span at most burst + rate x t."""
    now, state = NOW, None
    held: list[int] = []
    used: list[tuple[int, int]] = []
    for gap, cost, late, ends in steps:
        now += gap
        state = current(state, rule, now)
        if held and ends:
            amount = held.pop()
            actual = min(amount, late)
            used.append((now, actual))
            state = end_hold(state, rule, now, amount, actual, None)
            assert state is not None
        if standing(state, rule, now, cost).wait_us == 0:
            state = hold(debit(state, rule, cost), cost)
            held.append(cost)
    used += [(now, amount) for amount in held]
    for index, (start, _) in enumerate(used):
        for end in range(index, len(used)):
            units = sum(units for _, units in used[index : end + 1])
            assert (
                units * rule.window_us <= rule.capacity * rule.window_us + (used[end][0] - start) * rule.limit
            )


@steady
@given(rules, st.integers(0, 30), st.integers(1, 200))
def test_a_charge_takes_the_cost_and_never_more_than_is_left(rule: Rule, spent: int, cost: int) -> None:
    state = debit(current(None, rule, NOW), rule, spent)
    left = standing(state, rule, NOW, 1).remaining
    assert standing(charge(state, rule, NOW, cost), rule, NOW, 1).remaining == max(0, left - cost)


@steady
@given(rules, requests)
def test_a_take_in_one_step_is_one_in_three(rule: Rule, steps: list[tuple[int, int]]) -> None:
    now, state = NOW, None
    for gap, cost in steps:
        now += gap
        quick = taken_from(state, rule, now, cost)
        fits, after, _ = attempt(state, rule, now, cost)
        if quick is not None:
            seen = standing(after, rule, now, cost)
            assert fits
            assert quick == (after, seen._replace(wait_us=0))
        elif state is not None and rule.algorithm is TOKENS:
            assert not fits
        state = after if fits else state
