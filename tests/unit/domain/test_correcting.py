from __future__ import annotations

import contextlib
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.billing import Method, Mode, Part, PartKind, PartState, Target, Terms, hour_of
from usageflow.domain.correcting import (
    can_cancel,
    ensure_reason,
    ensure_sent,
    ensure_within,
    read_units,
)
from usageflow.domain.errors import FailedPrecondition, InvalidArgument
from usageflow.domain.policies import Trigger
from usageflow.domain.units import format_units

DAY_US = 86_400_000_000
NOW_US = 1_700_000_000_000_000
HOUR = hour_of(NOW_US // 1_000_000)
TERMS = Terms(Method.METER_EVENT, "acct_1", "test", "cus_1", Mode.DELTA, HOUR.start_s)
PART = Part(
    7,
    "app",
    "acme",
    Target(Trigger.STRIPE_USAGE, "price_1"),
    HOUR,
    1,
    PartKind.USAGE,
    3,
    Decimal(5),
    Decimal(5),
    "uf1_x",
    TERMS,
    PartState.SENT,
    first_attempt_us=NOW_US,
    created_us=NOW_US,
)


@given(
    st.decimals(min_value=Decimal("1e-12"), max_value=10**15 - 1, places=12), st.sampled_from(["", "+", "-"])
)
def test_signed_units_are_read_as_they_are_written(units: Decimal, sign: str) -> None:
    assert read_units(sign + format_units(units)) == (-units if sign == "-" else units)


@given(st.text(max_size=40))
def test_any_text_is_units_or_a_fault(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert read_units(text)


@pytest.mark.parametrize("text", ["", "-", "0", "-0.0", "1e3", "NaN", "--1", "1\n", " 1", "٣"])
def test_what_is_no_units_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        read_units(text)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "two\nlines"])
def test_a_reason_is_one_line(reason: str) -> None:
    ensure_reason("x" * 200)
    with pytest.raises(InvalidArgument):
        ensure_reason(reason)


@pytest.mark.parametrize("state", [each for each in PartState if each is not PartState.SENT])
def test_only_what_counts_is_corrected(state: PartState) -> None:
    ensure_sent(PART)
    with pytest.raises(FailedPrecondition, match=f"part 7 is {state}: "):
        ensure_sent(replace(PART, state=state))


def test_no_more_than_the_part_is_taken_back() -> None:
    ensure_within(PART, Decimal(-5), NOW_US)
    ensure_within(PART, Decimal(10**9), NOW_US)
    with pytest.raises(InvalidArgument, match="take back at most 5"):
        ensure_within(PART, Decimal("-5.001"), NOW_US)
    with pytest.raises(FailedPrecondition, match="35 days"):
        ensure_within(PART, Decimal(-5), NOW_US + 35 * DAY_US)


def test_a_meter_event_is_cancelled_for_a_day() -> None:
    assert can_cancel(PART, NOW_US + DAY_US - 1)
    assert not can_cancel(PART, NOW_US + DAY_US)
    assert not can_cancel(replace(PART, terms=replace(TERMS, mode=Mode.TOTAL)), NOW_US)
    assert not can_cancel(replace(PART, terms=replace(TERMS, method=Method.FILE_LINE)), NOW_US)
