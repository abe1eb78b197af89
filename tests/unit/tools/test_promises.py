from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.prove.promises import FITS, Event, fits_bucket, fullest, over_bucket

S = 1_000_000


@pytest.mark.parametrize(
    ("algorithm", "times", "admitted"),
    [
        ("FIXED_WINDOW", [0, 1, 2, S - 1, S, S + 1, S + 2], 4),
        ("TOKEN_BUCKET", [0, 0, 0, S // 2 - 1, S // 2, S], 4),
        ("SLIDING_WINDOW", [0, 0, 0, S, S + S // 2 - 1, S + S // 2, 3 * S], 4),
    ],
)
def test_what_two_a_second_allow(algorithm: str, times: list[int], admitted: int) -> None:
    assert len(FITS[algorithm](times, 2, S)) == admitted


def rates(limit: int) -> list[tuple[int, Fraction]]:
    return [(0, Fraction(limit, S))]


@given(st.lists(st.integers(0, 5 * S), max_size=40), st.integers(1, 5))
def test_what_a_bucket_admits_is_never_over(times: list[int], limit: int) -> None:
    kept = fits_bucket(sorted(times), limit, S)
    assert over_bucket([Event(at_us, at_us) for at_us in kept], limit, rates(limit)) == 0


events = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda pair: Event(pair[0], sum(pair)))


@given(st.lists(events, max_size=5), st.integers(1, 3), st.integers(1, 3))
def test_over_is_wherever_no_choice_of_instants_fits(happened: list[Event], burst: int, gap: int) -> None:
    def fits(instants: Sequence[int]) -> bool:
        spans = combinations(enumerate(sorted(instants)), 2)
        return all(
            later - earlier + 1 <= burst + Fraction(to - at, gap) for (earlier, at), (later, to) in spans
        )

    choices = product(*(range(one.early_us, one.late_us + 1) for one in happened))
    over = over_bucket(happened, burst, [(0, Fraction(1, gap))])
    assert (
        over == 0
        or not all(one.early_us == one.late_us for one in happened)
        or not fits([one.early_us for one in happened])
    )
    assert over > 0 or any(fits(choice) for choice in choices)


def test_a_rate_that_changes_and_an_error_of_the_clock() -> None:
    twice = [Event(0, 0)] * 2 + [Event(S, S)] * 2
    assert over_bucket(twice, 2, rates(1)) == 1
    assert over_bucket(twice, 2, [(0, Fraction(1, S)), (S // 2, Fraction(3, S))]) == 0
    assert over_bucket(twice, 2, rates(1), error_us=S // 2) == 0


def test_windows_are_told_apart_by_their_ends() -> None:
    assert fullest([S + 3, S, 2 * S + 1, S + 1], S) == {S: 3, 2 * S + 1: 1}
