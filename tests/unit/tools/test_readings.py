from __future__ import annotations

from collections.abc import Iterable

import pytest

from tools.prove.readings import JUDGES, Judged, Reading

S = 1_000_000
AT = 1_000 * S


def readings(*instants: tuple[int, bool], took_us: int = 2_000, ends_us: int = AT + S) -> list[Reading]:
    """Answers decided ``took_us`` / 2 before they came."""
    return [
        Reading(at_us - took_us // 2, at_us + took_us // 2, allowed, ends_us - at_us)
        for at_us, allowed in instants
    ]


def at(milliseconds: Iterable[int], *, allowed: bool = True) -> list[tuple[int, bool]]:
    return [(AT + each * 1_000, allowed) for each in milliseconds]


@pytest.mark.parametrize("algorithm", JUDGES)
def test_as_many_as_fit(algorithm: str) -> None:
    found = readings(*at(range(100, 110)), *at(range(110, 130), allowed=False))
    assert JUDGES[algorithm](found, 10, S) == Judged(10, 10, 0)


@pytest.mark.parametrize("algorithm", JUDGES)
def test_what_was_admitted_although_nothing_fits(algorithm: str) -> None:
    found = readings(*at(range(100, 113)), took_us=0)
    assert JUDGES[algorithm](found, 10, S) == Judged(10, 13, 3)


@pytest.mark.parametrize("algorithm", JUDGES)
def test_what_was_denied_although_it_fits(algorithm: str) -> None:
    found = readings(*at(range(100, 105)), *at(range(110, 130), allowed=False))
    assert JUDGES[algorithm](found, 10, S) == Judged(10, 5, 0)


@pytest.mark.parametrize("algorithm", ["TOKEN_BUCKET", "SLIDING_WINDOW"])
def test_what_may_have_happened_apart_is_not_beyond(algorithm: str) -> None:
    crowded = [AT - 400_000 + each for each in range(20)]
    found = [Reading(at_us, at_us + 3 * S, True, 0) for at_us in crowded]
    assert JUDGES[algorithm](found, 10, S).beyond == 0


def test_an_answer_that_took_long_is_of_no_known_window() -> None:
    slow = readings(*at(range(100, 103)), took_us=600_000)
    quick = readings(*at(range(200, 207)), *at(range(210, 220), allowed=False))
    assert JUDGES["FIXED_WINDOW"]([*slow, *quick], 10, S) == Judged(7, 7, 0)
