from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.units import PICO, format_units, join, parse_units, split, units_of_quantity

exact = st.decimals(0, 10**15 - 1, places=12)


@steady
@given(exact)
def test_splitting_and_joining_loses_nothing(units: Decimal) -> None:
    whole, pico = split(units)
    assert 0 <= pico < PICO
    assert join(whole, pico) == units


@steady
@given(st.lists(exact, max_size=30))
def test_sums_of_parts_are_exact(units: list[Decimal]) -> None:
    parts = [split(item) for item in units]
    exact_sum = sum((int(item.scaleb(12)) for item in units), 0)
    total = join(sum(whole for whole, _ in parts), sum(pico for _, pico in parts))
    assert total.scaleb(12) == exact_sum


@steady
@given(exact)
def test_what_is_formatted_is_read_back(units: Decimal) -> None:
    text = format_units(units)
    assert parse_units(text) == units
    assert "E" not in text
    assert text == "0" or not text.endswith(".")


@pytest.mark.parametrize(
    ("quantity", "units"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (5e-13, "0"),
        (1.5e-12, "0.000000000002"),
        (2.5e-12, "0.000000000002"),
        (1e-300, "0"),
    ],
)
def test_a_quantity_is_its_shortest_decimal_rounded_half_even(quantity: float, units: str) -> None:
    assert units_of_quantity(quantity) == Decimal(units)


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", ".5", "1.", "1e3", "NaN", "1" * 16, "0." + "1" * 13, "1 ", "1\n"]
)
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a decimal"):
        parse_units(text)


def test_trailing_zeros_are_not_shown() -> None:
    assert [format_units(Decimal(text)) for text in ("100", "12.50", "0.000", "1E+2")] == [
        "100",
        "12.5",
        "0",
        "100",
    ]
