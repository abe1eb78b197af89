from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usageflow.domain.alerting import (
    PERIOD_US,
    QUIET,
    Phase,
    Reading,
    Transition,
    Verdict,
    judge,
    period_us,
    step,
)
from usageflow.domain.alerts import DAY_US, MINUTE_US, AlertRule

steady = settings(derandomize=True, deadline=None, max_examples=300)
BOUNDARIES = [102**index // 100**index for index in range(1112)]


def rule(kind: str = "ERROR_RATE", **fields: Any) -> AlertRule:
    usual = {} if kind in ("SILENCE", "QUOTA") else {"threshold": 5}
    return AlertRule.model_validate({"name": "r", "kind": kind, **usual, **fields})


@pytest.mark.parametrize(
    ("kind", "fields", "reading", "verdict", "value"),
    [
        ("ERROR_RATE", {}, Reading(100, errors=5), Verdict.REACHED, 5),
        ("ERROR_RATE", {}, Reading(1, errors=1), Verdict.CLEAR, 100),
        ("ERROR_RATE", {"threshold": 10}, Reading(190, errors=10, denied=90), Verdict.REACHED, 10),
        ("ERROR_RATE", {"threshold": 10}, Reading(1000, errors=95), Verdict.BETWEEN, 9.5),
        ("DENIALS", {"threshold": 50}, Reading(100, denied=50), Verdict.REACHED, 50),
        ("DENIALS", {"measure": "COUNT", "threshold": 3}, Reading(3, denied=3), Verdict.REACHED, 3),
        ("SILENCE", {}, Reading(earlier=True), Verdict.REACHED, 300),
        ("SILENCE", {}, Reading(), Verdict.BETWEEN, 300),
        ("SILENCE", {}, Reading(1), Verdict.CLEAR, 0),
    ],
)
def test_readings_are_judged(
    kind: str, fields: dict[str, Any], reading: Reading, verdict: Verdict, value: float
) -> None:
    assert judge(rule(kind, **fields), reading, BOUNDARIES) == (verdict, value)


def test_p95_is_in_milliseconds_of_what_was_served() -> None:
    slow = Reading(100, latency={900: 10, 100: 90})
    verdict, value = judge(rule("P95", threshold=BOUNDARIES[900] / 1000 * 0.9), slow, BOUNDARIES)
    assert verdict is Verdict.REACHED
    assert value == pytest.approx(BOUNDARIES[900] / 1000, rel=0.011)


def test_an_alert_fires_after_its_time_and_clears_after_another() -> None:
    made = rule(pending_for="1m", keep_firing_for="30s")
    state, seen = QUIET, []
    verdicts = [Verdict.REACHED] * 5 + [Verdict.BETWEEN] + [Verdict.CLEAR] * 3
    for number, verdict in enumerate(verdicts):
        state, transition = step(state, verdict, 1.0, made, number * PERIOD_US, f"id-{number}")
        seen.append(transition)
    assert seen == [None] * 4 + [Transition.FIRED] + [None] * 3 + [Transition.RESOLVED]
    assert state == QUIET


def test_a_time_in_which_nobody_looked_does_not_count() -> None:
    made = rule(pending_for="1m")
    state, _ = step(QUIET, Verdict.REACHED, 1.0, made, DAY_US, "a")
    state, transition = step(state, Verdict.REACHED, 1.0, made, DAY_US + 10 * MINUTE_US, "b")
    assert (state.phase, transition) == (Phase.PENDING, None)
    assert state.since_us == DAY_US + 10 * MINUTE_US


def test_long_windows_are_looked_at_less_often() -> None:
    assert period_us(rule(window="1m")) == PERIOD_US
    assert period_us(rule(window="1h")) == MINUTE_US
    assert period_us(rule(window="24h")) == 5 * MINUTE_US


@given(
    st.lists(st.tuples(st.sampled_from(list(Verdict)), st.integers(-5, 90)), max_size=80),
    st.integers(0, 120),
    st.integers(0, 120),
)
@steady
def test_it_never_flaps_and_every_fire_has_one_end(
    looks: list[tuple[Verdict, int]], pending_s: int, keep_s: int
) -> None:
    made = rule(pending_for=f"{pending_s}s", keep_firing_for=f"{keep_s}s")
    state, now_us, told = QUIET, DAY_US, []
    for number, (verdict, ahead_s) in enumerate(looks):
        now_us += ahead_s * 1_000_000
        before = state
        state, transition = step(state, verdict, 1.0, made, now_us, f"id-{number}")
        assert state.seen_us >= before.seen_us or state == QUIET
        if transition is not None:
            told.append((transition, max(now_us, before.seen_us)))
    kinds = [each for each, _ in told]
    assert kinds == [Transition.FIRED, Transition.RESOLVED] * (len(kinds) // 2) + [Transition.FIRED] * (
        len(kinds) % 2
    )
    assert (state.phase is Phase.FIRING) == bool(len(kinds) % 2)
    if all(ahead >= 0 for _, ahead in looks):
        fired = [at for each, at in told if each is Transition.FIRED]
        least_us = (pending_s + keep_s) * 1_000_000
        assert all(later - earlier >= least_us for earlier, later in pairwise(fired))
