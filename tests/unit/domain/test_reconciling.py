from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.billing import HOUR_S, Target, Window
from usageflow.domain.policies import Trigger
from usageflow.domain.reconciling import Place, Sent, compare, drifted, span_of

TARGET = Target(Trigger.STRIPE_USAGE, "price_1", "calls")
NOW_S = 1_700_000_000
HERE = Place("cus_1", TARGET, 0)

places = st.builds(
    Place, st.sampled_from(["cus_1", "cus_2"]), st.just(TARGET), st.sampled_from([0, 3600, 7200])
)
units = st.decimals(min_value=-(10**15), max_value=10**15, places=12, allow_nan=False)
sent = st.builds(Sent, st.sampled_from(["acme", "b"]), units, st.integers(0, 2))


@given(st.dictionaries(places, sent), st.dictionaries(places, units))
def test_every_place_of_either_side_is_told_once(
    ours: dict[Place, Sent], theirs: dict[Place, Decimal]
) -> None:
    found = compare(ours, theirs)
    assert sorted(each.place for each in found) == sorted(ours.keys() | theirs.keys())
    differ = [each.drifted for each in found]
    assert differ == sorted(differ, reverse=True)
    assert drifted(found) == found[: sum(differ)]
    for each in found:
        assert (each.theirs, each.drift is None) == (theirs.get(each.place), each.place not in theirs)


@given(st.dictionaries(places, sent))
def test_a_destination_that_counts_the_same_never_drifts(ours: dict[Place, Sent]) -> None:
    # It counts in doubles or in 15 digits: what both lose is no drift.
    theirs = {place: Decimal(f"{each.value:.14e}") for place, each in ours.items()}
    assert not drifted(compare(ours, theirs))


@given(units, st.decimals(min_value=Decimal("0.001"), max_value=10**6, places=3))
def test_what_differs_is_told_exactly(value: Decimal, more: Decimal) -> None:
    ours = {HERE: Sent("acme", Decimal(round(value) % 1000), 0)}
    (found,) = compare(ours, {HERE: ours[HERE].value + more})
    assert (found.drift, found.drifted) == (more, True)


def test_open_outcomes_explain_drift() -> None:
    (found,) = compare({HERE: Sent("acme", Decimal(1), 1)}, {HERE: Decimal(3)})
    assert found.drift == 2
    assert not found.drifted


def test_what_the_destination_alone_counts_belongs_to_the_payees_customer() -> None:
    later = HERE._replace(hour_s=HOUR_S)
    first, second = compare({HERE: Sent("acme", Decimal(1), 0)}, {HERE: Decimal(1), later: Decimal(2)})
    assert (first.place, first.customer) == (later, "acme")
    assert (first.ours, first.drift) == (Decimal(0), Decimal(2))
    assert second.drift == 0
    assert not second.drifted


@pytest.mark.parametrize(
    ("since_s", "until_s", "window"),
    [
        (NOW_S - 7200, None, Window(1_699_992_000, 1_699_999_200)),
        (NOW_S - 7200, NOW_S + 10**9, Window(1_699_992_000, 1_699_999_200)),
        (NOW_S - 7200, NOW_S - 3600, Window(1_699_992_000, 1_699_995_600)),
        (NOW_S, None, Window(1_699_999_200, 1_699_999_200)),
    ],
)
def test_only_hours_that_the_destination_has_added_up_are_compared(
    since_s: int, until_s: int | None, window: Window
) -> None:
    assert span_of(since_s, until_s, now_s=NOW_S) == window


def test_an_hour_that_just_ended_waits() -> None:
    ended = NOW_S // HOUR_S * HOUR_S
    assert span_of(0, None, now_s=ended + 599).end_s == ended - HOUR_S
    assert span_of(0, None, now_s=ended + 600).end_s == ended
