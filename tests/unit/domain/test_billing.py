from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.billing import (
    HOUR_S,
    MOST_DIGITS,
    Method,
    Mode,
    Target,
    Terms,
    Window,
    amount_of,
    cut,
    hour_of,
    identifier_of,
    month_of,
)
from usageflow.domain.policies import Trigger

TERMS = Terms(Method.METER_EVENT, "acct_1", "test", "cus_1", Mode.DELTA, 1_700_000_000)
TOTAL = replace(TERMS, mode=Mode.TOTAL)
TARGET = Target(Trigger.STRIPE_USAGE, "price_1", "calls")
units = st.decimals(0, 10**15, places=12, allow_nan=False, allow_infinity=False)
seconds = st.integers(0, 2**40)


@steady
@given(seconds, st.frozensets(st.integers(-HOUR_S, 2 * HOUR_S)))
def test_pieces_make_up_the_window_and_end_where_periods_do(second: int, offsets: frozenset[int]) -> None:
    window = hour_of(second)
    assert window.start_s <= second < window.end_s == window.start_s + HOUR_S
    ends = frozenset(window.start_s + each for each in offsets)
    pieces = cut(window, ends)
    assert all(piece.start_s < piece.end_s for piece in pieces)
    assert [piece.start_s for piece in pieces[1:]] == [piece.end_s for piece in pieces[:-1]]
    assert Window(pieces[0].start_s, pieces[-1].end_s) == window
    assert {piece.end_s for piece in pieces[:-1]} == {
        each for each in ends if window.start_s < each < window.end_s
    }


@steady
@given(st.lists(units, max_size=8), st.booleans())
def test_deltas_and_what_they_carry_are_the_units(parts: list[Decimal], whole: bool) -> None:
    terms, carry, sent = replace(TERMS, whole=whole), Decimal(0), Decimal(0)
    for each in parts:
        amount = amount_of(terms, each, carry=carry, before=Decimal(0))
        carry, sent = amount.carry, sent + amount.value
        assert len(amount.value.normalize().as_tuple().digits) <= MOST_DIGITS
        assert not whole or amount.value == amount.value.to_integral_value()
        assert carry >= 0
    assert sent + carry == sum(parts, Decimal(0))


@steady
@given(st.lists(units, min_size=1, max_size=8))
def test_a_total_is_all_so_far_and_never_more(parts: list[Decimal]) -> None:
    before = Decimal(0)
    for each in parts:
        amount = amount_of(TOTAL, each, carry=Decimal(7), before=before)
        before += each
        assert amount.carry == 0
        assert 0 <= before - amount.value < max(Decimal(1), before.scaleb(1 - MOST_DIGITS))


def test_what_was_taken_back_is_sent_as_less() -> None:
    assert amount_of(TERMS, Decimal(-5), carry=Decimal(0), before=Decimal(0)).value == -5
    assert amount_of(TOTAL, Decimal(-5), carry=Decimal(0), before=Decimal(8)).value == 3


def test_a_value_is_rounded_towards_zero_at_15_digits() -> None:
    amount = amount_of(TERMS, Decimal("123456789012345.678"), carry=Decimal(0), before=Decimal(0))
    assert (amount.value, amount.carry) == (Decimal(123456789012345), Decimal("0.678"))


def identifier(**other: object) -> str:
    usual = {
        "installation_id": "i",
        "application_id": "a",
        "customer": "acme",
        "target": TARGET,
        "window": Window(0, HOUR_S),
        "number": 1,
        "terms": TERMS,
        "issue": 0,
    }
    return identifier_of(**{**usual, **other})  # type: ignore[arg-type]


def test_an_identifier_is_the_same_at_every_attempt_and_another_for_every_part() -> None:
    others = [
        identifier(installation_id="j"),
        identifier(application_id="b"),
        identifier(customer="acm"),
        identifier(target=TARGET._replace(price="price_2")),
        identifier(target=TARGET._replace(event_name="")),
        identifier(target=TARGET._replace(trigger=Trigger.STRIPE_INVOICE)),
        identifier(window=Window(0, 1800)),
        identifier(window=Window(HOUR_S, 2 * HOUR_S)),
        identifier(number=2),
        identifier(terms=replace(TERMS, account="acct_2")),
        identifier(terms=replace(TERMS, environment="live")),
        identifier(issue=1),
    ]
    assert identifier() == identifier()
    assert len({identifier(), *others}) == len(others) + 1
    assert len(identifier()) == 68


@steady
@given(
    st.lists(st.text(max_size=4), min_size=3, max_size=3),
    st.lists(st.text(max_size=4), min_size=3, max_size=3),
)
def test_no_two_parts_share_an_identifier_however_their_names_are_spelled(
    one: list[str], other: list[str]
) -> None:
    def spelled(names: list[str]) -> str:
        return identifier(installation_id=names[0], application_id=names[1], customer=names[2])

    assert (spelled(one) == spelled(other)) == (one == other)


@steady
@given(st.integers(0, 4_000_000_000))
def test_a_second_lies_in_its_month(second: int) -> None:
    month = month_of(second)
    assert month.start_s <= second < month.end_s
    assert month_of(month.start_s) == month == month_of(month.end_s - 1)
    assert 28 * 86_400 <= month.end_s - month.start_s <= 31 * 86_400
