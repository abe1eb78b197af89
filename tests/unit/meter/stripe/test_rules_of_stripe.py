"""What is decided about Stripe without asking it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from meter.stripe.answers import account_in, denial, outcome_of, told_by
from meter.stripe.catalog import Account, Billable, MeterFacts, PriceFacts, refusal
from meter.stripe.rates import Bucket, Rates
from meter.stripe.subscriptions import Item
from meter.stripe.terms import Subscribed, by_item, by_meter, by_record
from tests.unit.fakes import steady
from usageflow.domain.billing import HOUR_S, Held, Method, Mode, Result, Target, Terms, Window, month_of
from usageflow.domain.clock import ManualClock
from usageflow.domain.policies import LateUsage, Trigger

USAGE, SUBSCRIPTION, INVOICE = Trigger.STRIPE_USAGE, Trigger.STRIPE_SUBSCRIPTION, Trigger.STRIPE_INVOICE
ACCOUNT = Account("acct_1", "test")
PRICE = PriceFacts(
    "price_1", recurring=True, licensed=False, meter_id="mtr_1", currency="usd", unit_amount=Decimal(1)
)
ONCE = replace(PRICE, recurring=False, meter_id="")
METER = MeterFacts(
    "mtr_1", "calls", "sum", "", active=True, customer_key="stripe_customer_id", value_key="value"
)
NOW_S = 1_700_000_000
HOUR = Window(NOW_S // HOUR_S * HOUR_S, NOW_S // HOUR_S * HOUR_S + HOUR_S)


invalid: Any = stripe.InvalidRequestError
unreachable: Any = stripe.APIConnectionError
"""The library's own types have no types here."""


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (unreachable("reset"), Result.UNKNOWN),
        (stripe.APIError("oops", http_status=500), Result.UNKNOWN),
        (stripe.IdempotencyError("in use", http_status=409), Result.UNKNOWN),
        (stripe.RateLimitError("slow down", http_status=429), Result.AGAIN),
        (stripe.AuthenticationError("no", http_status=401), Result.DENIED),
        (stripe.PermissionError("no", http_status=403), Result.DENIED),
        (
            invalid("An event already exists with identifier x.", None, http_status=400),
            Result.UNEXPECTED,
        ),
        (
            invalid("twice", None, code="duplicate_meter_event", http_status=400),
            Result.UNEXPECTED,
        ),
        (
            invalid("early", None, code="timestamp_in_future", http_status=400),
            Result.AGAIN,
        ),
        (invalid("No such price", None, http_status=404), Result.REFUSED),
        (invalid("bad", None, http_status=400), Result.REFUSED),
    ],
)
def test_an_error_means_one_thing(error: stripe.StripeError, result: Result) -> None:
    outcome = outcome_of(error)
    assert outcome.result is result
    assert outcome.told


def test_stripe_says_how_long_to_wait() -> None:
    error = stripe.RateLimitError("slow", http_status=429, headers={"Retry-After": "7"})
    assert outcome_of(error).wait_s == 7


@pytest.mark.parametrize(
    ("target", "price", "meter", "told"),
    [
        (Target(USAGE, "price_1", "calls"), PRICE, METER, ""),
        (Target(SUBSCRIPTION, "price_1"), PRICE, METER, ""),
        (Target(INVOICE, "price_1"), ONCE, None, ""),
        (Target(USAGE, "price_1"), replace(PRICE, meter_id=""), None, ""),
        (Target(INVOICE, "price_1"), PRICE, METER, "is a recurring price"),
        (Target(USAGE, "price_1"), ONCE, None, "is a one-time price"),
        (Target(USAGE, "price_1"), replace(PRICE, licensed=True, meter_id=""), None, "counts seats"),
        (
            Target(USAGE, "price_1", "calls"),
            replace(PRICE, meter_id=""),
            None,
            "has no meter that listens to 'calls'",
        ),
        (Target(USAGE, "price_1", "other"), PRICE, METER, "listens to 'calls', not 'other'"),
        (Target(USAGE, "price_1"), PRICE, replace(METER, active=False), "is inactive"),
        (Target(USAGE, "price_1"), PRICE, replace(METER, formula="count"), "aggregates by count"),
        (Target(USAGE, "price_1"), PRICE, replace(METER, formula="last"), "aggregates by last"),
    ],
)
def test_a_target_that_cannot_be_billed_is_told_why(
    target: Target, price: PriceFacts, meter: MeterFacts | None, told: str
) -> None:
    assert (told in refusal(target, price, meter)) if told else refusal(target, price, meter) == ""


def test_an_event_lies_in_its_window_never_at_its_end() -> None:
    terms = by_meter(ACCOUNT, "cus_1", METER, HOUR, HOUR.end_s + 600)
    assert (terms.mode, terms.timestamp_s, terms.span) == (Mode.DELTA, HOUR.end_s - 1, None)
    assert by_meter(ACCOUNT, "cus_1", METER, HOUR, HOUR.start_s + 5).timestamp_s == HOUR.start_s + 5


@pytest.mark.parametrize(("window", "step"), [("hour", HOUR_S), ("day", 86_400)])
def test_a_meter_with_a_window_gets_totals_of_it(window: str, step: int) -> None:
    terms = by_meter(ACCOUNT, "cus_1", replace(METER, window=window), HOUR, HOUR.end_s + 600)
    assert terms.mode is Mode.TOTAL
    assert terms.resend_safe
    assert terms.span == Window(HOUR.start_s // step * step, HOUR.start_s // step * step + step)
    assert terms.span.start_s <= terms.timestamp_s < terms.span.end_s


PERIOD_S = 30 * 86_400


def piece_terms(
    late: LateUsage, *, final: bool, start_s: int, price: PriceFacts = PRICE, ended: bool = False
) -> list[tuple[Window, Terms | Held]]:
    item = Item("si_1", "sub_1", Window(start_s, start_s + PERIOD_S), final, ended)
    subscribed = Subscribed(ACCOUNT, "cus_1", Billable(price, METER), item, late, "installation")
    return [(each.window, each.terms) for each in subscribed.pieces(HOUR, HOUR.end_s + 600)]


def test_a_window_is_cut_where_the_period_began() -> None:
    cut_s = HOUR.start_s + 600
    pieces = piece_terms(LateUsage.HOLD, final=False, start_s=cut_s)
    assert [window for window, _ in pieces] == [Window(HOUR.start_s, cut_s), Window(cut_s, HOUR.end_s)]
    assert [terms.timestamp_s for _, terms in pieces if isinstance(terms, Terms)] == [
        cut_s - 1,
        HOUR.end_s - 1,
    ]


def test_usage_of_a_final_invoice_goes_where_the_policy_says() -> None:
    start_s = HOUR.end_s + HOUR_S
    ((_, moved),) = piece_terms(LateUsage.NEXT_PERIOD, final=True, start_s=start_s)
    ((_, held),) = piece_terms(LateUsage.HOLD, final=True, start_s=start_s)
    ((_, still),) = piece_terms(LateUsage.HOLD, final=False, start_s=start_s)
    assert isinstance(moved, Terms)
    assert moved.timestamp_s == start_s
    assert isinstance(held, Held)
    assert isinstance(still, Terms)
    assert still.timestamp_s == HOUR.end_s - 1, "a draft takes it still"


def test_late_usage_becomes_an_item_that_has_the_amount_of_its_price() -> None:
    start_s = HOUR.end_s + HOUR_S
    ((_, terms),) = piece_terms(LateUsage.INVOICE_ITEM, final=True, start_s=start_s)
    assert isinstance(terms, Terms)
    assert (terms.method, terms.mode) == (Method.INVOICE_ITEM, Mode.TOTAL)
    assert (terms.details["unit_amount"], terms.details["currency"]) == ("1", "usd")
    tiers = replace(PRICE, unit_amount=None)
    ((_, held),) = piece_terms(LateUsage.INVOICE_ITEM, final=True, start_s=start_s, price=tiers)
    assert isinstance(held, Held)
    assert "tiers" in held.message


def test_usage_after_the_end_of_a_subscription_waits_for_another() -> None:
    cut_s = HOUR.start_s + 600
    (_, before), (_, after) = piece_terms(LateUsage.HOLD, final=True, start_s=cut_s - PERIOD_S, ended=True)
    assert isinstance(before, Terms)
    assert before.timestamp_s == cut_s - 1
    assert isinstance(after, Held)


def test_installations_set_records_of_their_own() -> None:
    item = Item("si_1", "sub_1", Window(HOUR.start_s, HOUR.start_s + PERIOD_S), last_final=True)
    seconds = {by_record(ACCOUNT, "cus_1", item, name).timestamp_s for name in ("one", "two", "two")}
    assert len(seconds) == 2
    assert all(item.period.start_s <= each < item.period.start_s + HOUR_S for each in seconds)


def test_no_key_gets_into_a_message() -> None:
    quoted = "The provided key 'rk_live_*********qs8Kgd' does not have the permissions for this endpoint on account 'acct_1PJ'."
    error = stripe.PermissionError(quoted, http_status=403)
    assert account_in(error) == "acct_1PJ"
    for told in (told_by(error), denial(error, "Prices: read")):
        assert "Kgd" not in told
        assert "acct_1PJ" in told
    assert "'Prices: read'" in denial(error, "Prices: read")
    wrong = stripe.AuthenticationError("Invalid API Key provided: sk_test_*****dked", http_status=401)
    assert told_by(wrong) == "Invalid API Key provided: ***"


def test_items_of_a_month_share_a_span() -> None:
    terms = by_item(ACCOUNT, "cus_1", HOUR, "installation")
    assert terms.span == month_of(HOUR.start_s)
    assert terms.mode is Mode.TOTAL


@steady
@given(st.lists(st.integers(0, 500_000), min_size=1, max_size=60), st.floats(1, 1_000))
def test_no_more_calls_than_the_rate_allows(gaps: list[int], rate: float) -> None:
    bucket, now_us, ready = Bucket(rate, 0), 0, []
    for gap in gaps:
        now_us += gap
        ready.append(now_us + bucket.wait_s(now_us) * 1_000_000)
    for first, at_us in enumerate(ready):
        within = sum(at_us <= each < at_us + 1_000_000 for each in ready[first:])
        assert within <= 2 * max(1.0, rate) + 2


async def test_a_test_key_has_one_bucket_and_slows_down() -> None:
    clock, waits = ManualClock(), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    rates = Rates(clock, live=False, rate=2, sleep=sleep)
    for event in (True, False, True):
        await rates.wait(event=event)
    assert waits == [0.5, 1.0]
    rates.slow_down(event=True)
    await rates.wait(event=False)
    assert waits[-1] == 3.0, "half as fast"
