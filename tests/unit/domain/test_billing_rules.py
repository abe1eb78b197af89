from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.billing import (
    Method,
    Mode,
    Outcome,
    Part,
    PartKind,
    PartState,
    Result,
    Target,
    Terms,
    Window,
)
from usageflow.domain.billing_rules import (
    LONGEST_WAIT_US,
    OLDEST_US,
    UNKNOWN_FOR_US,
    after_sending,
    before_sending,
)
from usageflow.domain.policies import Trigger

NOW = 1_700_000_000_000_000
TERMS = Terms(Method.METER_EVENT, "acct_1", "test", "cus_1", Mode.DELTA, NOW // 1_000_000 - 3_600)
FIRST = Part(
    part_id=1,
    application_id="a",
    customer="acme",
    target=Target(Trigger.STRIPE_USAGE, "price_1"),
    window=Window(0, 3_600),
    number=1,
    kind=PartKind.USAGE,
    requests=1,
    units=Decimal(1),
    value=Decimal(1),
    identifier="uf1_x",
    terms=TERMS,
    state=PartState.SENDING,
    attempts=1,
    first_attempt_us=NOW,
    updated_us=NOW,
)
LATER = replace(FIRST, attempts=2, updated_us=NOW + 60_000_000)
"""Its first attempt has an unknown outcome."""

SAFE = replace(TERMS, resend_safe=True)


@pytest.mark.parametrize(
    ("part", "result", "state"),
    [
        (FIRST, Result.TAKEN, PartState.SENT),
        (FIRST, Result.REFUSED, PartState.REJECTED),
        (FIRST, Result.UNKNOWN, PartState.SENDING),
        (FIRST, Result.AGAIN, PartState.FROZEN),
        (FIRST, Result.DENIED, PartState.FROZEN),
        (FIRST, Result.UNEXPECTED, PartState.AMBIGUOUS),
        (LATER, Result.UNEXPECTED, PartState.SENT),
        (LATER, Result.AGAIN, PartState.SENDING),
        (LATER, Result.DENIED, PartState.SENDING),
    ],
)
def test_an_outcome_leads_to_one_state(part: Part, result: Result, state: PartState) -> None:
    step = after_sending(part, Outcome(result, "told"), part.updated_us, 0.5)
    assert step.state is state
    assert bool(step.next_us) is (state in {PartState.FROZEN, PartState.SENDING})
    assert step.pause is (result is Result.DENIED)


@steady
@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 900))
def test_waits_are_bounded_and_never_shorter_than_asked(attempts: int, jitter: float, asked_s: float) -> None:
    outcome = Outcome(Result.AGAIN, wait_s=asked_s)
    step = after_sending(replace(FIRST, attempts=attempts), outcome, NOW, jitter)
    wait_us = step.next_us - NOW
    assert round(asked_s * 1_000_000) <= wait_us <= max(LONGEST_WAIT_US, round(asked_s * 1_000_000))


@pytest.mark.parametrize(
    ("part", "later_us", "state"),
    [
        (FIRST, 0, None),
        (LATER, UNKNOWN_FOR_US, None),
        (LATER, UNKNOWN_FOR_US + 1, PartState.AMBIGUOUS),
        (FIRST, UNKNOWN_FOR_US + 1, None),
        (replace(LATER, terms=SAFE), UNKNOWN_FOR_US + 1, None),
        (FIRST, OLDEST_US, PartState.EXPIRED),
        (LATER, OLDEST_US, PartState.AMBIGUOUS),
        (replace(FIRST, terms=SAFE), OLDEST_US, None),
        (replace(FIRST, terms=replace(TERMS, method=Method.FILE_LINE)), OLDEST_US, None),
    ],
)
def test_what_is_too_late_is_not_sent(part: Part, later_us: int, state: PartState | None) -> None:
    step = before_sending(part, NOW + later_us)
    assert (step.state if step else None) is state
    assert step is None or (step.next_us == 0 and step.note)


@steady
@given(st.lists(st.sampled_from(list(Result)), min_size=1, max_size=12))
def test_a_part_is_sent_only_where_an_attempt_may_have_arrived(results: list[Result]) -> None:
    part, arrived = replace(FIRST, attempts=0, first_attempt_us=0, updated_us=0), False
    for number, result in enumerate(results):
        now_us = NOW + number * 60_000_000
        first_us = part.first_attempt_us or now_us
        part = replace(part, attempts=part.attempts + 1, first_attempt_us=first_us, updated_us=now_us)
        step = after_sending(part, Outcome(result), now_us, 0.5)
        arrived = arrived or result in {Result.TAKEN, Result.UNKNOWN}
        assert step.state is not PartState.SENT or arrived
        assert step.state is not PartState.FROZEN or not arrived, (
            "what may have arrived is never as good as new"
        )
        if step.state not in {PartState.FROZEN, PartState.SENDING}:
            break
        part = replace(part, state=step.state)
        if step.state is PartState.FROZEN:
            part = replace(part, first_attempt_us=0)
