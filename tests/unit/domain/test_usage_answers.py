from __future__ import annotations

import pytest

from usageflow.domain.analytics import (
    UsageGroup,
    UsageInterval,
    UsageKey,
    UsageOrder,
    UsageQuery,
    UsageSum,
    UsageSums,
)
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.histograms import counts_of, quantiles
from usageflow.domain.latency import pack, value_of
from usageflow.domain.usage_answers import MOST_ROWS, answered
from usageflow.runtime.resources import latency_boundaries

BOUNDARIES = latency_boundaries()
A, B, C = (UsageKey(policy=name) for name in "abc")


def sums(*rows: tuple[UsageKey, int, UsageSum]) -> UsageSums:
    made = UsageSums()
    for key, step, each in rows:
        made.add([key], step, each)
    return made


THREE = sums(
    (A, 0, UsageSum(requests=5, whole=1, errors=1, latency=[pack([(300, 5)])])),
    (C, 0, UsageSum(requests=9, whole=2, pico=1, latency=[pack([(200, 9)])])),
    (B, 0, UsageSum(requests=5, whole=2, denied=3)),
)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (UsageOrder.REQUESTS, "cab"),
        (UsageOrder.UNITS, "cba"),
        (UsageOrder.ERRORS, "abc"),
        (UsageOrder.DENIED, "bac"),
        (UsageOrder.P95, "acb"),
    ],
)
def test_rows_come_most_first_then_by_key(order: UsageOrder, names: str) -> None:
    answer = answered(UsageQuery(0, order=order), THREE, BOUNDARIES)
    assert "".join(str(row.key.policy) for row in answer.rows) == names
    assert (answer.total.sums.requests, answer.total.time) == (19, None)


def test_a_limit_leaves_groups_out_and_the_total_whole() -> None:
    answer = answered(UsageQuery(60, limit=1), THREE, BOUNDARIES)
    assert [row.key for row in answer.rows] == [C]
    assert (answer.total.sums.requests, answer.since) == (19, 60)


def test_percentiles_are_those_of_the_buckets_and_none_without() -> None:
    rows = {row.key: row for row in answered(UsageQuery(0), THREE, BOUNDARIES).rows}
    assert rows[A].percentiles == (value_of(300, BOUNDARIES),) * 3
    assert rows[B].percentiles is None


@pytest.mark.parametrize("limit", [0, 1, 2])
@pytest.mark.parametrize("interval", [None, UsageInterval.MINUTE])
def test_the_percentiles_of_the_total_count_every_row_once(
    limit: int, interval: UsageInterval | None
) -> None:
    buckets = {(key, step): 100 + 7 * place for place, key in enumerate((A, B, C)) for step in (0, 60)}
    rows = [
        (key, step, UsageSum(latency=[pack([(bucket + step // 60, 5 + bucket)])]))
        for (key, step), bucket in buckets.items()
    ]
    answer = answered(UsageQuery(0, interval=interval, limit=limit), sums(*rows), BOUNDARIES)
    together = [each for _, _, row in rows for each in row.latency]
    assert answer.total.percentiles == quantiles(
        counts_of(together, len(BOUNDARIES)), (0.5, 0.95, 0.99), BOUNDARIES
    )


def test_usage_in_several_groups_is_in_the_total_once() -> None:
    made = UsageSums()
    made.add([A, B], 0, UsageSum(latency=[pack([(100, 10)])]))
    made.add([A], 0, UsageSum(latency=[pack([(400, 15)])]))
    answer = answered(UsageQuery(0, groups=(UsageGroup.SHADOW_POLICY,)), made, BOUNDARIES)
    assert answer.total.percentiles is not None
    assert answer.total.percentiles[0] == value_of(400, BOUNDARIES)


def test_a_series_is_in_order_of_time_with_the_whole_series_of_the_largest_groups() -> None:
    made = sums(
        (A, 60, UsageSum(requests=5)),
        (B, 60, UsageSum(requests=4)),
        (C, 0, UsageSum(requests=6)),
        (A, 0, UsageSum(requests=1)),
        (A, 120, UsageSum(requests=1)),
    )
    answer = answered(UsageQuery(0, interval=UsageInterval.MINUTE, limit=2), made, BOUNDARIES)
    assert [(row.time, row.key) for row in answer.rows] == [(0, A), (0, C), (60, A), (120, A)]


def test_too_many_rows_are_refused() -> None:
    made = UsageSums({(UsageKey(identity=str(n)), 0): UsageSum() for n in range(MOST_ROWS + 1)})
    with pytest.raises(InvalidArgument) as error:
        answered(UsageQuery(0), made, BOUNDARIES)
    assert error.value.faults[0].field == "limit"
    assert len(answered(UsageQuery(0, limit=3), made, BOUNDARIES).rows) == 3
