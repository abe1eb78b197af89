from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.latency import unpack
from usageflow.domain.summing import MOST, MOST_REQUESTS, sum_metering, sum_usage
from usageflow.domain.units import PICO, split
from usageflow.domain.usage import EndpointName, MeteringDelta, Series, UsageDelta

SERIES = [Series(EndpointName("GET", path), 200, False, "OK", "", "p") for path in ("/a", "/b")]
UNITS = st.decimals(0, 10**15 - 1, places=12)
BYTES = st.integers(0, MOST)
LATENCY = st.lists(st.tuples(st.integers(0, 1111), st.integers(0, 2**33)), max_size=3).map(tuple)
PEOPLE, SECONDS = st.sampled_from(["", "v:ann"]), st.integers(0, 1)
REQUESTS = st.integers(0, MOST_REQUESTS)
USAGE = st.builds(
    UsageDelta, st.sampled_from(SERIES), PEOPLE, SECONDS, REQUESTS, UNITS, BYTES, BYTES, LATENCY
)
METERING = st.builds(
    MeteringDelta,
    st.sampled_from([series.endpoint for series in SERIES]),
    PEOPLE,
    st.sampled_from(["p", "q"]),
    st.just("price_1"),
    st.integers(1, 2),
    SECONDS,
    REQUESTS,
    UNITS,
)


def _total(rows: Iterable[tuple[Any, Sequence[int]]]) -> dict[Any, tuple[int, ...]]:
    totals: dict[Any, tuple[int, ...]] = {}
    for key, numbers in rows:
        totals[key] = tuple(map(sum, zip(totals.get(key, (0,) * len(numbers)), numbers, strict=True)))
    return totals


def _pico(units: Decimal) -> int:
    whole, pico = split(units)
    return whole * PICO + pico


@given(st.lists(USAGE, max_size=30))
def test_sums_of_usage_are_those_of_single_deltas(deltas: list[UsageDelta]) -> None:
    rows = sum_usage(deltas)
    assert _total(
        (row[:3], (row.requests, row.whole * PICO + row.pico, row.request_bytes, row.response_bytes))
        for row in rows
    ) == _total(
        (one[:3], (one.requests, _pico(one.units), one.request_bytes, one.response_bytes)) for one in deltas
    )
    sums: Counter[Any] = Counter()
    for row in rows:
        assert 0 <= row.requests <= MOST_REQUESTS
        assert 0 <= row.pico < PICO
        assert max(row.whole, row.request_bytes, row.response_bytes) <= MOST
        for bucket, requests in unpack(row.latency):
            sums[row[:3], bucket] += requests
    for one in deltas:
        for bucket, requests in one.latency:
            sums[one[:3], bucket] -= requests
    assert not any(sums.values())


@given(st.lists(METERING, max_size=30))
def test_sums_of_metering_are_those_of_single_deltas(deltas: list[MeteringDelta]) -> None:
    rows = sum_metering(deltas)
    assert _total((row[:6], (row.requests, row.whole * PICO + row.pico)) for row in rows) == _total(
        (one[:6], (one.requests, _pico(one.units))) for one in deltas
    )


def test_what_the_store_refuses_hides_behind_nothing() -> None:
    good = UsageDelta(SERIES[0], "", 0, 5, Decimal(1))
    bad = good._replace(requests=-1)
    assert [row.requests for row in sum_usage([good, bad, good, bad])] == [10, -1, -1]
