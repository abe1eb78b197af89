from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.limits import (
    MAX_COUNT,
    Rule,
    Sliding,
    Standing,
    State,
    current,
    debit,
    end_hold,
    expires_us,
    standing,
)
from usageflow.domain.policies import MAX_UNITS, Algorithm

S = 1_000_000
SLIDING = Algorithm.SLIDING_WINDOW
RULE = Rule(SLIDING, 10, 60 * S)
START = 1_700_000_040 * S  # a multiple of 60 s

counts = st.integers(0, 60) | st.integers(0, MAX_UNITS)
windows = st.integers(1, 366 * 86_400).map(lambda seconds: seconds * S)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Rule, Sliding, int, int]:
    """A rule, a state, an instant of its window and a cost."""
    rule = Rule(SLIDING, draw(st.integers(1, 60) | st.integers(1, MAX_UNITS)), draw(windows))
    start = START - START % rule.window_us
    state = Sliding(start, rule.window_us, draw(counts), draw(counts))
    return rule, state, start + draw(st.integers(0, rule.window_us - 1)), draw(st.integers(1, rule.limit))


def fits(state: State, rule: Rule, now_us: int, cost: int) -> bool:
    return standing(current(state, rule, now_us), rule, now_us, cost).wait_us == 0


def test_windows_begin_at_multiples_of_their_length() -> None:
    assert current(None, RULE, START + 7) == Sliding(START, 60 * S, 0, 0)


def test_the_previous_window_counts_by_the_share_that_is_still_covered() -> None:
    state = Sliding(START, 60 * S, 8, 3)
    assert standing(state, RULE, START, 1).remaining == 0  # 8 + 3 > 10
    assert standing(state, RULE, START + 30 * S, 1).remaining == 3  # 4 + 3
    assert standing(state, RULE, START + 30 * S - 1, 1).remaining == 2  # a part of a unit counts as one
    assert standing(state, RULE, START + 60 * S - 1, 1).remaining == 6


def test_what_was_present_is_previous_in_the_next_window_and_nothing_after_that() -> None:
    state = Sliding(START, 60 * S, 8, 3)
    assert current(state, RULE, START + 60 * S) == Sliding(START + 60 * S, 60 * S, 3, 0)
    assert current(state, RULE, START + 120 * S) == Sliding(START + 120 * S, 60 * S, 0, 0)


@steady
@given(situations())
def test_it_admits_exactly_what_the_estimate_leaves_room_for(
    situation: tuple[Rule, Sliding, int, int],
) -> None:
    rule, state, now, cost = situation
    share_left = 1 - Fraction(now - state.start_us, rule.window_us)
    assert fits(state, rule, now, cost) == (state.previous * share_left + state.present + cost <= rule.limit)


@steady
@given(situations())
def test_after_the_wait_it_fits_and_one_microsecond_earlier_it_does_not(
    situation: tuple[Rule, Sliding, int, int],
) -> None:
    rule, state, now, cost = situation
    wait = standing(state, rule, now, cost).wait_us
    assert wait is not None
    assert fits(state, rule, now + wait, cost)
    assert wait == 0 or not fits(state, rule, now + wait - 1, cost)


@steady
@given(situations())
def test_it_is_empty_at_its_reset_and_not_one_microsecond_earlier(
    situation: tuple[Rule, Sliding, int, int],
) -> None:
    rule, state, now, _ = situation
    reset = standing(state, rule, now, 1).reset_us
    whole = Rule(SLIDING, max(rule.limit, state.previous + state.present), rule.window_us)
    assert now + reset == max(now, expires_us(state))
    assert fits(state, whole, now + reset, whole.limit)
    assert reset == 0 or not fits(state, whole, now + reset - 1, whole.limit)


@steady
@given(situations(), counts)
def test_its_state_holds_no_number_that_a_double_does_not(
    situation: tuple[Rule, Sliding, int, int], more: int
) -> None:
    rule, state, now, _ = situation
    for after in (debit(state, rule, more), current(state, rule, now + rule.window_us)):
        assert isinstance(after, Sliding)
        numbers = (after.start_us, after.window_us, after.previous, after.present)
        assert all(int(float(number)) == number < 2**53 for number in numbers)
        assert max(after.previous, after.present) <= MAX_COUNT
    full = Sliding(state.start_us, state.window_us, 0, MAX_COUNT - 1)
    assert debit(full, rule, MAX_UNITS) == Sliding(state.start_us, state.window_us, 0, MAX_COUNT)


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    state = Sliding(START, 60 * S, 0, 10)
    back = current(state, RULE, START - 5 * S)
    assert back == state
    assert standing(back, RULE, START - 5 * S, 1) == Standing(0, 125 * S, 71 * S)
    assert fits(state, RULE, START + 66 * S, 1)


def test_a_hold_ends_in_the_window_that_was_debited_while_it_counts() -> None:
    state = Sliding(START, 60 * S, 8, 3)
    assert end_hold(state, RULE, START, 2, 0, START) == Sliding(START, 60 * S, 8, 1)
    assert end_hold(state, RULE, START, 5, 0, START - 60 * S) == Sliding(START, 60 * S, 3, 3)
    assert end_hold(state, RULE, START, 1, 5, START - 60 * S) == Sliding(START, 60 * S, 12, 3)
    assert end_hold(state, RULE, START, 2, 0, START - 120 * S) is None
    assert end_hold(state, RULE, START + 60 * S, 1, 0, START) == Sliding(START + 60 * S, 60 * S, 2, 0)
