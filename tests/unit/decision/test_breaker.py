from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from decision.breaker import CircuitBreaker
from decision.checkpoints import INTERVAL_S
from tests.unit.fakes import steady

MS = 1_000
INTERVAL_US = round(INTERVAL_S * 1_000_000)
OPEN_US, MAX_US = 250 * MS, 500 * MS


def opened(now_us: int = 0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(5):
        fail(breaker, now_us)
    assert breaker.is_open
    return breaker


def fail(breaker: CircuitBreaker, now_us: int) -> None:
    breaker.failed(let_in(breaker, now_us), now_us)


def let_in(breaker: CircuitBreaker, now_us: int) -> int:
    ticket = breaker.allow(now_us)
    assert ticket is not None
    return ticket


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        for _ in range(4):
            fail(breaker, 0)
        breaker.succeeded(let_in(breaker, 0))
    assert not breaker.is_open
    for _ in range(5):
        fail(breaker, 0)
    assert breaker.is_open
    assert breaker.allow(OPEN_US - 1) is None


def test_one_probe_at_a_time_and_its_success_closes() -> None:
    breaker = opened()
    probe = let_in(breaker, OPEN_US)
    assert breaker.allow(10 * MAX_US) is None
    breaker.succeeded(probe)
    assert not breaker.is_open
    assert all(breaker.allow(OPEN_US) for _ in range(3))


def test_each_failed_probe_doubles_the_pause_up_to_half_a_second() -> None:
    breaker, now_us, pauses = opened(), 0, []
    for _ in range(5):
        start_us = now_us
        while (ticket := breaker.allow(now_us)) is None:
            now_us += MS
        pauses.append(now_us - start_us)
        breaker.failed(ticket, now_us)
    assert pauses == [OPEN_US, MAX_US, MAX_US, MAX_US, MAX_US]


@given(outage_ms=st.integers(5_000, 60_000), phase_ms=st.integers(0, 749))
def test_counters_that_come_back_empty_decide_again_within_two_seconds(outage_ms: int, phase_ms: int) -> None:
    """The checkpointer restores them in its next round, and the breaker must ask soon after that."""
    back_us = outage_ms * MS
    restored_us = back_us + INTERVAL_US - (back_us + phase_ms * MS) % INTERVAL_US
    breaker, now_us = opened(), 0
    while breaker.is_open:
        if (ticket := breaker.allow(now_us)) is not None:
            if now_us < restored_us:
                breaker.failed(ticket, now_us)
            else:
                breaker.succeeded(ticket)
        now_us += 10 * MS
    assert now_us <= back_us + 2_000 * MS - 400 * MS  # what is left is for a slow machine


def test_a_success_starts_the_pauses_anew() -> None:
    breaker, back_us = opened(), OPEN_US + MAX_US
    fail(breaker, OPEN_US)
    breaker.succeeded(let_in(breaker, back_us))
    for _ in range(5):
        fail(breaker, back_us)
    assert breaker.allow(back_us + OPEN_US - 1) is None
    assert breaker.allow(back_us + OPEN_US) is not None


def test_an_abandoned_probe_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.abandoned(let_in(breaker, OPEN_US))
    assert breaker.is_open
    assert breaker.allow(OPEN_US) is not None


@pytest.mark.parametrize("lives", [False, True])
def test_what_began_before_it_opened_changes_nothing(lives: bool) -> None:
    breaker = CircuitBreaker()
    late = [let_in(breaker, 0) for _ in range(3)]
    for _ in range(5):
        fail(breaker, 0)
    for ticket in late:
        if lives:
            breaker.succeeded(ticket)
        else:
            breaker.failed(ticket, OPEN_US - 1)
    assert breaker.is_open
    probe = let_in(breaker, OPEN_US)
    breaker.failed(late[0], OPEN_US)
    breaker.abandoned(late[0])
    assert breaker.allow(2 * MAX_US) is None  # the probe is still out
    breaker.succeeded(probe)
    assert not breaker.is_open


@steady
@given(st.lists(st.integers(0, 60 * MAX_US), min_size=1, max_size=30), st.integers(0, 100 * MAX_US))
def test_normal_service_is_back_within_a_second_of_the_stores_return(outage: list[int], back_us: int) -> None:
    breaker = CircuitBreaker()
    for now_us in sorted(min(at_us, back_us) for at_us in [*outage, *outage, back_us]):
        if (ticket := breaker.allow(now_us)) is not None:
            breaker.failed(ticket, now_us)
    ticket = breaker.allow(back_us + MAX_US)
    assert ticket is not None
    breaker.succeeded(ticket)
    assert not breaker.is_open


class Life(RuleBasedStateMachine):
    """Any order of tickets and outcomes: what holds always."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(threshold=3, open_us=4, max_open_us=16)
        self.now_us = 0
        self.out: list[tuple[int, bool]] = []
        self.probes_us: list[int] = []

    @rule(us=st.integers(0, 20))
    def wait(self, us: int) -> None:
        self.now_us += us

    @rule()
    def ask(self) -> None:
        probing = self.breaker.is_open
        ticket = self.breaker.allow(self.now_us)
        if ticket is None:
            assert probing
            return
        if probing:
            assert not any(probe for _, probe in self.out)
        self.out.append((ticket, probing))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        ticket, probe = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        was_open = self.breaker.is_open
        if outcome == "failed":
            self.breaker.failed(ticket, self.now_us)
            if probe:
                self.probes_us.append(self.now_us)
                assert self.breaker.allow(self.now_us + 3) is None
        elif outcome == "succeeded":
            self.breaker.succeeded(ticket)
            assert not probe or not self.breaker.is_open
        else:
            self.breaker.abandoned(ticket)
        if was_open and not probe:
            assert self.breaker.is_open

    @invariant()
    def never_shut_for_good(self) -> None:
        probing = self.breaker.is_open and any(probe for _, probe in self.out)
        copied = CircuitBreaker.__new__(CircuitBreaker)
        copied.__dict__.update(self.breaker.__dict__)
        assert probing or copied.allow(self.now_us + 16) is not None

    def teardown(self) -> None:
        assert all(later - earlier >= 4 for earlier, later in pairwise(self.probes_us))


TestLife = Life.TestCase
TestLife.settings = steady
