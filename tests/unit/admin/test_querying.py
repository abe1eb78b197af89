from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from admin.handler.usage import question, usage_response
from admin.querying import Querying, Question
from tests.unit.fakes import KEY_OF, FakeControl
from usageflow.domain.analytics import (
    UsageAnswer,
    UsageFilter,
    UsageGroup,
    UsageInterval,
    UsageKey,
    UsageOrder,
    UsageQuery,
    UsageRow,
    UsageSum,
    UsageSums,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.domain.usage import EndpointName
from usageflow.runtime.resources import latency_boundaries
from usageflow.storage.analytics import HashOf
from usageflow.v1 import analytics_pb2, common_pb2

NOW = 1_700_000_000


class FakeAnalytics:
    """Answers nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[UsageQuery] = []

    async def sums(self, application_id: str, query: UsageQuery, hash_of: HashOf) -> UsageSums:
        assert (application_id, len(hash_of("v:ann"))) == ("app-1", 32)
        self.asked.append(query)
        return UsageSums()


async def ask(**fields: Any) -> UsageQuery:
    control, analytics = FakeControl(), FakeAnalytics()
    control.add()
    querying = Querying(control, analytics, ManualClock(), KEY_OF, latency_boundaries())
    answer = await querying.query(Question("demo", **fields))
    assert (answer.rows, answer.since) == ((), analytics.asked[0].since)
    return analytics.asked[0]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, (1_699_913_580, None)),
        ({"since": NOW - 65}, ((NOW - 65) // 60 * 60, None)),
        ({"since": NOW - 65, "until": NOW - 64}, ((NOW - 65) // 60 * 60, (NOW - 64) // 60 * 60 + 60)),
        ({"since": 65}, (0, None)),  # minutes are gone after 36 days
        ({"since": 65, "until": 3_601}, (0, 7_200)),
        ({"since": 3_700, "until": 7_200, "groups": (UsageGroup.CUSTOMER,)}, (3_600, 7_200)),
        ({"since": 3_700, "until": 7_201, "filter": UsageFilter(identities=("ann",))}, (3_600, 10_800)),
    ],
)
async def test_a_span_is_rounded_outwards(fields: Mapping[str, Any], asked: tuple[int, int | None]) -> None:
    query = await ask(**fields)
    assert (query.since, query.until) == asked


async def test_groups_default_to_endpoints() -> None:
    assert (await ask()).groups == (UsageGroup.ENDPOINT,)
    assert (await ask(interval=UsageInterval.HOUR)).groups == ()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"since": -1}, "start_time"),
        ({"since": 5, "until": 5}, "end_time"),
        ({"since": NOW - 20 * 86_400, "until": NOW, "interval": UsageInterval.MINUTE}, "interval"),
        (
            {"since": NOW - 37 * 86_400, "until": NOW - 37 * 86_400 + 60, "interval": UsageInterval.MINUTE},
            "interval",
        ),
        ({"groups": (UsageGroup.STATUS, UsageGroup.STATUS)}, "group_by"),
        ({"groups": (UsageGroup.STATUS, UsageGroup.STATUS_CLASS)}, "group_by"),
        ({"groups": (UsageGroup.POLICY, UsageGroup.SHADOW_POLICY)}, "group_by"),
        ({"groups": (UsageGroup.IDENTITY, UsageGroup.STATUS)}, "group_by"),
        ({"groups": (UsageGroup.CUSTOMER,), "interval": UsageInterval.MINUTE}, "interval"),
        ({"filter": UsageFilter(customers=("a",), statuses=(4,))}, "filter.statuses"),
        ({"filter": UsageFilter(customers=("a",), degraded=False)}, "filter.degraded"),
        ({"filter": UsageFilter(customers=("a", ""))}, "filter.customers[1]"),
        ({"filter": UsageFilter(identities=("hash:12",))}, "filter.identities[0]"),
        ({"filter": UsageFilter(statuses=(404, 6))}, "filter.statuses[1]"),
        ({"filter": UsageFilter(reasons=("R",) * 1_001)}, "filter.reasons"),
    ],
)
async def test_what_does_not_go_together_is_named(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await ask(**fields)
    assert [each.field for each in error.value.faults] == [fault]


async def test_an_unknown_application_is_an_error() -> None:
    querying = Querying(FakeControl(), FakeAnalytics(), ManualClock(), KEY_OF, latency_boundaries())
    with pytest.raises(NotFound):
        await querying.query(Question("other"))


def test_a_request_is_unpacked() -> None:
    request = analytics_pb2.QueryUsageRequest(
        application="demo",
        start_time=Timestamp(seconds=60),
        end_time=Timestamp(seconds=119, nanos=1),
        group_by=[analytics_pb2.USAGE_GROUP_STATUS_CLASS],
        interval=analytics_pb2.USAGE_INTERVAL_DAY,
        filter=analytics_pb2.UsageFilter(endpoints=[common_pb2.Endpoint(method="get")], denied=False),
        order_by=analytics_pb2.USAGE_ORDER_P95,
        limit=3,
    )
    assert question(request) == Question(
        "demo",
        60,
        120,
        (UsageGroup.STATUS_CLASS,),
        UsageInterval.DAY,
        UsageFilter(endpoints=(EndpointName("GET", ""),), denied=False),
        UsageOrder.P95,
        3,
    )
    assert question(analytics_pb2.QueryUsageRequest()) == Question("")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"group_by": [0]}, "group_by[0]"), ({"interval": 9}, "interval"), ({"order_by": 9}, "order_by")],
)
def test_values_that_the_contract_does_not_know_are_faults(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        question(analytics_pb2.QueryUsageRequest(**fields))
    assert error.value.faults[0].field == fault


def test_only_what_was_asked_for_is_set_in_a_row() -> None:
    sums = UsageSum(requests=3, errors=1, whole=2, pico=500_000_000_000)
    keys = [UsageKey(EndpointName("GET", "/a")), UsageKey(status=4, customer=""), UsageKey(identity="ann")]
    rows = tuple(UsageRow(key, None, sums, None) for key in keys)
    total = UsageRow(UsageKey(), None, sums, (1_000.0, 2_000.5, 3_000.0))
    packed = usage_response(UsageAnswer(rows, 60, total))
    fields = [{field.name for field, _ in row.ListFields()} for row in packed.rows]
    sent = {"requests", "errors", "units"}
    assert fields == [sent | {"endpoint"}, sent | {"status", "customer"}, sent | {"identity"}]
    assert (packed.start_time.seconds, packed.total.units) == (60, "2.5")
    assert packed.total.p95.ToMicroseconds() == 2_000
    assert packed.total.p95.nanos == 2_000_500
