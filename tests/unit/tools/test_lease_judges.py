from __future__ import annotations

from collections.abc import Iterable

import pytest

from tools.prove.lease_clients import Admission, Rule, Shared
from tools.prove.lease_judges import Steps, judge_steady, over_steps
from tools.prove.promises import Event

S = 1_000_000
BUCKET, WINDOW = Rule("TOKEN_BUCKET", 10, 1), Rule("FIXED_WINDOW", 10, 1)


def shared(rule: Rule, arrived: Iterable[int], admitted: Iterable[int]) -> Shared:
    """Requests at instants; windows of the clock's seconds."""
    found = Shared(rule, "alice", arrived=list(arrived))
    found.admitted = [Admission(Event(at_us, at_us), (at_us // S + 1) * S) for at_us in admitted]
    return found


def every(gap_ms: int, seconds: float, start_s: float = 0.0) -> range:
    return range(int(start_s * S), int((start_s + seconds) * S), gap_ms * 1_000)


@pytest.mark.parametrize("rule", [BUCKET, WINDOW])
def test_what_is_admitted_evenly_is_all_that_is_allowed(rule: Rule) -> None:
    steady = judge_steady(shared(rule, every(50, 10), every(100, 10)), 0)
    assert steady.beyond == 0
    assert steady.share == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rule", [BUCKET, WINDOW])
def test_a_tenth_too_many_is_seen_and_a_tenth_too_few(rule: Rule) -> None:
    many = judge_steady(shared(rule, every(50, 20), every(90, 20)), 0)
    assert many.beyond >= 10
    few = judge_steady(shared(rule, every(50, 20), every(112, 20)), 0)
    assert few.share < 0.95
    assert few.beyond == 0


@pytest.mark.parametrize("rule", [BUCKET, WINDOW])
def test_each_revision_is_judged_by_its_own_limit(rule: Rule) -> None:
    steps = Steps()
    steps.add(2.0, 3 * S, 4 * S)
    steps.add(0.5, 8 * S, 9 * S)
    kept = [*every(100, 3), *every(50, 5, 3), *every(200, 6, 8)]
    assert over_steps(shared(rule, kept, kept), steps, 0) == 0
    for too_many in ([*every(90, 3), *kept], [*kept, *every(80, 5, 3)], [*kept, *every(300, 6, 8)]):
        assert over_steps(shared(rule, too_many, sorted(too_many)), steps, 0) > 0
