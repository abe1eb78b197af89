from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from admin.tail_window import BEHIND, OVERLAP_US, TailWindow
from tests.unit.fakes import steady


def test_what_stood_there_before_is_not_sent() -> None:
    window = TailWindow(5)
    window.add([3, 5])
    assert window.unsent([5, 4, 3, 6]) == [4, 6]


def test_it_reaches_back_only_so_far() -> None:
    window = TailWindow(BEHIND + 10)
    assert window.after == 10
    assert window.unsent([10, 11]) == [11]


def test_numbers_that_begin_anew_are_followed() -> None:
    window = TailWindow(BEHIND + 100)
    window.move(3, 0)
    assert window.unsent([3, 4]) == [4]


def test_a_jump_forgets_what_was_left_out() -> None:
    window = TailWindow(0)
    window.jump([7, 8])
    assert (window.size, window.unsent([3, 7, 8, 9])) == (2, [9])


@steady
@given(seed=st.integers(0, 2**32), writers=st.integers(1, 4), looks=st.integers(1, 40))
def test_nothing_is_skipped_or_doubled_while_commits_come_out_of_order(
    seed: int, writers: int, looks: int
) -> None:
    """Writers take numbers in order and commit late by less than the overlap."""
    rng = random.Random(seed)
    window, sent, number = TailWindow(0), [], 0
    waiting: list[tuple[int, int]] = []  # (when it comes to light, number)
    visible: set[int] = set()
    now_us = 0
    for _ in range(looks + 2 * OVERLAP_US // 500_000):
        now_us += 500_000
        for _ in range(rng.randrange(writers + 1) if looks > 0 else 0):
            number += 1
            waiting.append((now_us + rng.randrange(OVERLAP_US - 500_000), number))
        looks -= 1
        visible |= {each for due_us, each in waiting if due_us <= now_us}
        newest = max(visible, default=0)
        new = window.unsent(each for each in visible if each > window.after)
        window.add(new)
        sent += new
        window.move(newest, now_us)
    assert sorted(sent) == list(range(1, number + 1))
