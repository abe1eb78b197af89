"""The contract of UsageStore."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.causes import NOBODY
from tests.contract.conftest import Stores
from usageflow.domain.analytics import UsageGroup, UsageQuery, UsageSums
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.usage import (
    EndpointName,
    MeteringDelta,
    MeteringFailure,
    Outcome,
    PendingRow,
    Series,
    StoredEvent,
    UsageDelta,
    UsageRecord,
)
from usageflow.storage.analytics import UsageAnalytics
from usageflow.storage.ports import ControlStore, UsageStore

ORDERS = EndpointName("GET", "/orders")
USERS = EndpointName("POST", "/users")
ACCEPTED, DUPLICATE, CONFLICT = Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT


_SERIES = Series(ORDERS, 200, False, "OK", "", "p")
_DELTA = UsageDelta(_SERIES, "ann", 60, 1, Decimal(1), 10, 20, latency=((5, 1),))
_METERING = MeteringDelta(ORDERS, "ann", "p", "price_1", 1, 60, 1, Decimal(1))


def delta(endpoint: EndpointName = ORDERS, *, units: str = "1", **changes: Any) -> UsageDelta:
    labels = {name: changes.pop(name) for name in Series._fields if name in changes}
    series = _SERIES._replace(endpoint=endpoint, **labels)
    return _DELTA._replace(series=series, units=Decimal(units), **changes)


def metering(endpoint: EndpointName = ORDERS, *, units: str = "1", **changes: Any) -> MeteringDelta:
    return _METERING._replace(endpoint=endpoint, units=Decimal(units), **changes)


def record(
    record_id: str,
    *usage: UsageDelta,
    metered: tuple[MeteringDelta, ...] = (),
    day: int = 0,
    payload: int = 0,
) -> UsageRecord:
    event = StoredEvent(record_id, 60_000_000, _SERIES, "/orders", "ann", 1_500, 1.0, 10, 20, "{}")
    return UsageRecord(record_id, day, bytes([payload]) * 16, usage or (delta(),), metered, event)


async def sums(analytics: UsageAnalytics, application_id: str) -> tuple[int, Decimal]:
    """Returns all requests and units of the application."""
    total = (await asked(analytics, application_id)).total
    return total.requests, total.units


async def asked(analytics: UsageAnalytics, application_id: str) -> UsageSums:
    query = UsageQuery(0, groups=(UsageGroup.ENDPOINT,))
    return await analytics.sums(application_id, query, lambda _: bytes(32))


async def test_new_records_are_accepted_and_counted(
    stores: Stores, usage: UsageStore, application_id: str
) -> None:
    records = [record("a", metered=(metering(),)), record("b", delta(), delta(USERS, identity=""))]
    assert await usage.ingest([(application_id, records)]) == [[ACCEPTED, ACCEPTED]]
    assert await sums(stores.analytics, application_id) == (3, Decimal(3))
    assert await usage.pending(application_id) == [PendingRow(ORDERS, "p", "price_1", 1, Decimal(1), 60)]


async def test_outcomes_stand_per_group_and_in_order(usage: UsageStore, application_id: str) -> None:
    assert await usage.ingest([]) == []
    groups = [
        (application_id, [record("b"), record("a")]),
        (application_id, []),
        (application_id, [record("b")]),
    ]
    assert await usage.ingest(groups) == [[ACCEPTED, ACCEPTED], [], [DUPLICATE]]


async def test_an_id_stored_before_adds_nothing(
    stores: Stores, usage: UsageStore, application_id: str
) -> None:
    stored = record("a", metered=(metering(),))
    await usage.ingest([(application_id, [stored])])
    other = record("a", delta(requests=9), metered=(metering(requests=9),), payload=1)
    again = [stored, other, record("b"), stored]
    assert await usage.ingest([(application_id, again)]) == [[DUPLICATE, CONFLICT, ACCEPTED, DUPLICATE]]
    assert await sums(stores.analytics, application_id) == (2, Decimal(2))
    assert [row.requests for row in await usage.pending(application_id)] == [1]


async def test_an_id_twice_in_one_call_counts_once(
    stores: Stores, usage: UsageStore, application_id: str
) -> None:
    records = [record("a"), record("a", delta(requests=9), payload=1), record("a")]
    groups = [(application_id, records), (application_id, [record("a"), record("b")])]
    assert await usage.ingest(groups) == [[ACCEPTED, CONFLICT, DUPLICATE], [DUPLICATE, ACCEPTED]]
    assert await sums(stores.analytics, application_id) == (2, Decimal(2))


async def test_an_id_is_unique_per_day_and_application(
    stores: Stores, usage: UsageStore, control: ControlStore, application_id: str
) -> None:
    other = (await control.create_application("other", [], cause=NOBODY)).application_id
    await usage.ingest([(application_id, [record("a", day=1)])])
    groups = [(application_id, [record("a", day=2), record("a", day=1)]), (other, [record("a", day=1)])]
    assert await usage.ingest(groups) == [[ACCEPTED, DUPLICATE], [ACCEPTED]]
    assert await sums(stores.analytics, application_id) == (2, Decimal(2))
    assert await sums(stores.analytics, other) == (1, Decimal(1))


@pytest.mark.parametrize(
    "bad",
    [
        record("x" * 257),
        record(""),
        record("x", delta(requests=-1)),
        record("x", delta(second=2**63)),
        record("x", delta(identity="\ud800")),
        record("x", metered=(metering(requests=-1),)),
        UsageRecord("x", 0, b"short", (delta(),)),
    ],
    ids=["long id", "no id", "negative", "past 64 bits", "not Unicode", "negative metering", "short hash"],
)
async def test_after_an_error_nothing_of_the_call_is_stored(
    stores: Stores, usage: UsageStore, control: ControlStore, application_id: str, bad: UsageRecord
) -> None:
    other = (await control.create_application("other", [], cause=NOBODY)).application_id
    good = record("a", metered=(metering(),))
    with pytest.raises(InvalidArgument):
        await usage.ingest([(other, [good]), (application_id, [good, bad, record("b")])])
    for application in (application_id, other):
        assert not (await asked(stores.analytics, application)).rows
        assert await usage.pending(application) == []
    assert await usage.ingest([(application_id, [good]), (other, [good])]) == [[ACCEPTED], [ACCEPTED]]


async def test_usage_of_no_application_is_refused(usage: UsageStore) -> None:
    with pytest.raises(InvalidArgument):
        await usage.ingest([("nobody", [record("a")])])


async def test_concurrent_calls_with_overlapping_ids_count_each_once(
    stores: Stores, usage: UsageStore, other_usage: UsageStore, application_id: str
) -> None:
    chance = random.Random(7)
    metered = (metering(units="0.1"),)
    calls = [[record(f"id-{chance.randrange(300)}", metered=metered) for _ in range(40)] for _ in range(40)]
    in_turn = itertools.cycle((usage, other_usage))
    answers = await asyncio.gather(*(next(in_turn).ingest([(application_id, call)]) for call in calls))
    accepted = Counter(
        sent.record_id
        for call, (outcomes,) in zip(calls, answers, strict=True)
        for sent, outcome in zip(call, outcomes, strict=True)
        if outcome is ACCEPTED
    )
    distinct = {sent.record_id for call in calls for sent in call}
    assert accepted == dict.fromkeys(distinct, 1)
    assert await sums(stores.analytics, application_id) == (len(distinct), Decimal(len(distinct)))
    (pending,) = await usage.pending(application_id)
    assert (pending.requests, pending.units) == (len(distinct), len(distinct) * Decimal("0.1"))


async def test_a_large_call_with_many_names(stores: Stores, usage: UsageStore, application_id: str) -> None:
    records = [
        record(f"id-{index}", delta(EndpointName("GET", f"/{index % 700}"), identity=f"user-{index}"))
        for index in range(2_500)
    ]
    assert await usage.ingest([(application_id, records[::2])]) == [[ACCEPTED] * 1250]
    assert await usage.ingest([(application_id, records)]) == [[DUPLICATE, ACCEPTED] * 1250]
    assert len((await asked(stores.analytics, application_id)).rows) == 700
    assert await sums(stores.analytics, application_id) == (2_500, Decimal(2_500))


async def test_what_was_answered_is_there_for_everybody(
    usage: UsageStore, other_stores: Stores, application_id: str
) -> None:
    for number in range(5):
        await usage.ingest([(application_id, [record(f"id-{number}")])])
        assert await sums(other_stores.analytics, application_id) == (number + 1, Decimal(number + 1))


async def test_queries_see_one_application(
    stores: Stores, usage: UsageStore, control: ControlStore, application_id: str
) -> None:
    other = (await control.create_application("other", [], cause=NOBODY)).application_id
    await usage.ingest([(application_id, [record("a", metered=(metering(),))])])
    assert not (await asked(stores.analytics, other)).rows
    assert await usage.pending(other) == []


async def test_pending_sums_per_endpoint_policy_and_price_with_most_units_first(
    usage: UsageStore, application_id: str
) -> None:
    metered = (
        metering(second=90, units="0.25"),
        metering(second=70, units="0.5", requests=3),
        metering(price="price_2", units="0.75"),
        metering(policy="q", units="0.8"),
        metering(USERS, units="10"),
    )
    await usage.ingest([(application_id, [record("a", metered=metered)])])
    assert await usage.pending(application_id) == [
        PendingRow(USERS, "p", "price_1", 1, Decimal(10), 60),
        PendingRow(ORDERS, "q", "price_1", 1, Decimal("0.8"), 60),
        PendingRow(ORDERS, "p", "price_1", 4, Decimal("0.75"), 70),
        PendingRow(ORDERS, "p", "price_2", 1, Decimal("0.75"), 60),
    ]


_UNITS = st.decimals(0, 10**15 - 1, places=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_UNITS, st.booleans()), min_size=1, max_size=40))
async def test_sums_of_units_are_exact(
    stores: Stores, usage: UsageStore, control: ControlStore, amounts: list[tuple[Decimal, bool]]
) -> None:
    application_id = (
        await control.create_application(f"demo-{next(_NUMBERS)}", [], cause=NOBODY)
    ).application_id
    usages = [delta(units=str(units), denied=denied) for units, denied in amounts]
    metered = tuple(metering(units=str(units)) for units, _ in amounts)
    await usage.ingest([(application_id, [record("a", *usages, metered=metered)])])
    total = (await asked(stores.analytics, application_id)).total
    assert total.units == _sum(units for units, denied in amounts if not denied)
    (pending,) = await usage.pending(application_id)
    assert pending.units == _sum(units for units, _ in amounts)


_NUMBERS = itertools.count()


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    """Returns the exact sum: the default context would round to 28 digits."""
    with localcontext() as context:
        context.prec = 60
        return sum(amounts, Decimal(0))


async def test_what_could_not_be_metered_is_listed_once(usage: UsageStore, application_id: str) -> None:
    failed = MeteringFailure("p", "price_a", 7, "Key not found", 1_000_000)
    records = [
        UsageRecord(f"e{number}", 0, bytes(16), (), failures=(failed._replace(revision=number),))
        for number in (1, 2, 3)
    ]
    for _ in range(2):
        await usage.ingest([(application_id, records)])
    first = await usage.metering_failures(application_id, before=0, limit=2)
    assert [(each.record_id, each.failure.revision) for each in first] == [("e3", 3), ("e2", 2)]
    rest = await usage.metering_failures(application_id, before=first[-1].row_id, limit=2)
    assert [(each.record_id, each.failure) for each in rest] == [("e1", failed._replace(revision=1))]
    assert await usage.metering_failures("another", before=0, limit=9) == []
