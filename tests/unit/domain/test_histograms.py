from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.histograms import counts_of, normalised, quantiles
from usageflow.domain.latency import pack, quantile, unpack
from usageflow.runtime.resources import latency_boundaries

BOUNDARIES = latency_boundaries()
entries = st.lists(st.tuples(st.integers(0, 1111), st.integers(0, 2**34)), max_size=12)


def counted(packed: bytes) -> Counter[int]:
    """The requests per bucket."""
    counts: Counter[int] = Counter()
    for bucket, requests in unpack(packed):
        counts[bucket] += requests
    return counts


@steady
@given(st.lists(entries, max_size=6))
def test_normalised_histograms_count_the_same_with_an_entry_per_bucket(
    rows: list[list[tuple[int, int]]],
) -> None:
    packed = [pack(row) for row in rows]
    for before, after in zip(packed, normalised(packed), strict=True):
        assert counted(after) == counted(before)
        buckets = [bucket for bucket, _ in unpack(after)]
        assert buckets == sorted(buckets)
        if max(counted(before).values(), default=0) < 2**32:
            assert len(buckets) == len(set(buckets))


@steady
@given(st.lists(entries, max_size=4), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_those_of_the_plain_arithmetic(rows: list[list[tuple[int, int]]], share: float) -> None:
    packed = [pack(row) for row in rows]
    plain = sum((counted(each) for each in packed), Counter())
    found = quantiles(counts_of(packed, len(BOUNDARIES)), [share], BOUNDARIES)
    if sum(plain.values()) == 0:
        assert found is None
    else:
        assert found is not None
        assert found[0] == pytest.approx(quantile(plain, share, BOUNDARIES))


def test_long_histograms_are_counted_in_parts() -> None:
    long = pack((bucket, 2) for bucket in range(1_000)) * 30
    counts = counts_of([long, b"", long, pack([(3, 1), (1_200, 4)])], len(BOUNDARIES))
    assert counts[:5].tolist() == [120, 120, 120, 121, 120]
    assert counts.sum() == 120_005
    assert counts[1_200] == 4
