from __future__ import annotations

import pytest

from tests.vectors.loading import files
from usageflow.domain.calendars import Alignment, Calendar, bounds_of, format_instant, parse_instant
from usageflow.domain.limits import (
    Bucket,
    Rule,
    Sliding,
    State,
    Window,
    charge,
    current,
    debit,
    standing,
)
from usageflow.domain.policies import Algorithm
from usageflow.v1.common_pb2 import Algorithm as WireAlgorithm
from usageflow.v1.policies_pb2 import WindowAlignment
from usageflow.vectors.v1.vectors_pb2 import CalendarCase, CalendarFile, LimitCase, LimitFile, LimitState

LIMITS = [case for file in files("limits", LimitFile) for case in file.cases]
CALENDARS = [case for file in files("calendars", CalendarFile) for case in file.cases]


def rule_of(case: LimitCase) -> Rule:
    algorithm = Algorithm[WireAlgorithm.Name(case.rule.algorithm).removeprefix("ALGORITHM_")]
    calendar = Calendar(Alignment.DAY) if case.bounds else None
    return Rule(
        algorithm, case.rule.limit, case.rule.window_us, case.rule.burst, calendar, case.rule.charge_denied
    )


def state_of(message: LimitState, rule: Rule) -> State | None:
    window, bucket, sliding = message.window, message.bucket, message.sliding
    match message.WhichOneof("kind"):
        case "window":
            return Window(window.start_us, window.end_us, window.used)
        case "bucket":
            return Bucket(bucket.debt, bucket.at_us, bucket.rate)
        case "sliding":
            return Sliding(sliding.start_us, rule.window_us, sliding.previous, sliding.present)
        case _:
            return None


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in LIMITS])
def test_limit(case: LimitCase) -> None:
    rule, now_us, cost = rule_of(case), case.now_us, case.cost
    previous, present, following, end = case.bounds or (0, 0, 0, 0)
    bounds = (previous, present, following, end) if case.bounds else None
    after = current(state_of(case.state, rule), rule, now_us, bounds)
    seen = standing(after, rule, now_us, cost)
    admitted = seen.wait_us == 0
    changed = admitted or rule.charge_denied
    if changed:
        after = debit(after, rule, cost) if admitted else charge(after, rule, now_us, cost)
        seen = standing(after, rule, now_us, cost)
    wait_us = 0 if admitted else -1 if seen.wait_us is None else seen.wait_us
    assert (admitted, seen.remaining, seen.reset_us, wait_us) == (
        case.want_admitted,
        case.want_remaining,
        case.want_reset_us,
        case.want_wait_us,
    )
    assert (after if changed else None) == state_of(case.want_state, rule)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CALENDARS])
def test_calendar(case: CalendarCase) -> None:
    alignment = Alignment[WindowAlignment.Name(case.align).removeprefix("WINDOW_ALIGNMENT_")]
    anchor_us = parse_instant(case.anchor) if case.anchor else 0
    bounds = bounds_of(Calendar(alignment, case.time_zone, anchor_us), parse_instant(case.instant))
    assert [format_instant(each) for each in bounds] == list(case.want_bounds)
