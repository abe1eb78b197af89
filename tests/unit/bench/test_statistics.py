from __future__ import annotations

import pytest

from bench.statistics import median_ratio, percentile, ratios_in_turn


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.5) == 50
    assert percentile(values, 1) == 100


def test_the_99th_percentile_of_a_few_values_is_the_highest() -> None:
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([7], 0.0) == 7


def test_a_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.99)


def test_both_sides_begin_in_turn() -> None:
    order: list[str] = []

    def side(name: str, value: float) -> float:
        order.append(name)
        return value

    pairs = ratios_in_turn(3, lambda: side("above", 6), lambda: side("below", 2))
    assert pairs == [(6, 2)] * 3
    assert order == ["above", "below", "below", "above", "above", "below"]


def test_one_disturbed_pair_does_not_count() -> None:
    assert median_ratio([(3, 4), (3, 4), (1, 10)]) == 0.75
