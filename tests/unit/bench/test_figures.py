from __future__ import annotations

import pytest

from bench.figures import Better, Budget, Figure

RATE = Budget("rate", "Rate", 60_000, "decisions/s", Better.HIGHER)
RATIO = Budget("ratio", "Ratio", 1.5, "ratio", Better.LOWER)


@pytest.mark.parametrize(
    ("budget", "value", "verdict"),
    [
        (RATE, 60_000, "met"),
        (RATE, 90_000, "met"),
        (RATE, 45_000, "missed by 25%"),
        (RATIO, 1.5, "met"),
        (RATIO, 0.1, "met"),
        (RATIO, 1.8, "missed by 20%"),
    ],
)
def test_a_verdict_says_by_how_much_a_budget_is_missed(budget: Budget, value: float, verdict: str) -> None:
    figure = Figure(budget, value)
    assert figure.verdict == verdict
    assert figure.met is (verdict == "met")


def test_what_was_not_measured_is_not_met() -> None:
    figure = Figure(RATIO, None, "h2load is missing")
    assert not figure.met
    assert figure.verdict == "not measured: h2load is missing"
