from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.spans import NO_END, Piece, pieces

DAY = 86_400


def test_a_day_that_begins_at_half_past_is_minutes_and_hours() -> None:
    since = 10 * DAY + 10 * 3_600 + 1_800
    assert pieces(since, since + DAY) == [
        Piece(60, since, since + 1_800),
        Piece(3_600, since + 1_800, 11 * DAY + 36_000),
        Piece(60, 11 * DAY + 36_000, since + DAY),
    ]


def test_what_has_no_end_ends_in_days() -> None:
    assert pieces(DAY - 60, None) == [Piece(60, DAY - 60, DAY), Piece(DAY, DAY, NO_END)]


@steady
@given(
    st.integers(0, 5_000),
    st.none() | st.integers(0, 5_000),
    st.sampled_from([(DAY, 60), (3_600, 60), (60, 60), (DAY, 3_600), (3_600, 3_600)]),
)
def test_pieces_are_the_span_without_gaps_in_whole_steps(
    since: int, length: int | None, steps: tuple[int, int]
) -> None:
    longest, shortest = steps
    start = since * shortest
    until = None if length is None else start + length * shortest
    found = pieces(start, until, longest, shortest)
    bounds = [start, *(piece.end for piece in found)]
    assert [piece.start for piece in found] == bounds[:-1]
    assert bounds[-1] == (NO_END if until is None else until)
    assert all(shortest <= piece.step <= longest for piece in found)
    assert all(piece.start % piece.step == 0 for piece in found)
    assert all(piece.end % piece.step == 0 for piece in found if piece.end != NO_END)


@pytest.mark.parametrize("until", [60, 0])
def test_no_span_has_no_pieces(until: int) -> None:
    assert pieces(60, until) == []
