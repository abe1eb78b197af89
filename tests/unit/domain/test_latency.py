from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.latency import bucket_of, quantile, value_of

steady = settings(derandomize=True, deadline=None, max_examples=200)

BOUNDARIES = [102**index // 100**index for index in range(1112)]
OPEN = len(BOUNDARIES) - 1


@given(st.integers(2, BOUNDARIES[-2]))
@steady
def test_a_bucket_holds_what_its_formula_says(us: int) -> None:
    index = bucket_of(us, BOUNDARIES)
    assert math.isclose(index, math.log(us) / math.log(1.02), abs_tol=1.0)
    assert BOUNDARIES[index - 1] < us <= BOUNDARIES[index]


@given(st.integers(100, BOUNDARIES[-2]))
@steady
def test_a_value_is_close_to_the_duration(us: int) -> None:
    assert value_of(bucket_of(us, BOUNDARIES), BOUNDARIES) == pytest.approx(us, rel=0.011)


@pytest.mark.parametrize(
    ("us", "index"), [(-5, 0), (0, 0), (1, 0), (2, 36), (10**15, OPEN), (BOUNDARIES[-1] + 1, OPEN)]
)
def test_ends(us: int, index: int) -> None:
    assert bucket_of(us, BOUNDARIES) == index


@pytest.mark.parametrize("index", [-1, 1112])
def test_no_such_bucket(index: int) -> None:
    with pytest.raises(IndexError):
        value_of(index, BOUNDARIES)


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0, 1))
@steady
def test_a_quantile_is_the_value_of_the_ranked_duration(durations: list[int], q: float) -> None:
    counts = Counter(bucket_of(us, BOUNDARIES) for us in durations)
    ranked = sorted(durations)[max(0, math.ceil(q * len(durations) - 1e-6) - 1)]
    assert quantile(counts, q, BOUNDARIES) == value_of(bucket_of(ranked, BOUNDARIES), BOUNDARIES)


def test_quantiles_of_a_hundred() -> None:
    counts = {bucket_of(1_000, BOUNDARIES): 99, bucket_of(50_000, BOUNDARIES): 1}
    assert quantile(counts, 0.99, BOUNDARIES) == pytest.approx(1_000, rel=0.011)
    assert quantile(counts, 1.0, BOUNDARIES) == pytest.approx(50_000, rel=0.011)
    assert quantile({1: 7, 700: 93}, 0.07, BOUNDARIES) == value_of(1, BOUNDARIES)


def test_nothing_was_counted() -> None:
    assert quantile({}, 0.5, BOUNDARIES) == 0.0


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_no_quantile(q: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        quantile({1: 1}, q, BOUNDARIES)
    assert [fault.field for fault in caught.value.faults] == ["quantile"]
