"""The contract of UsageAnalytics and RollupStore."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.causes import NOBODY
from tests.contract.conftest import Stores
from usageflow.domain.analytics import (
    UsageFilter,
    UsageGroup,
    UsageInterval,
    UsageQuery,
    UsageSum,
    UsageSums,
    keys_of,
)
from usageflow.domain.customers import Customer
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import display, keyed_hash
from usageflow.domain.identity import identity_hash, title_of
from usageflow.domain.usage import EndpointName, Series, UsageDelta, UsageRecord
from usageflow.domain.usage_rules import check_query
from usageflow.storage.ports import ChangeSet

KEY = bytes(32)
HASH_OF = partial(identity_hash, hash_key=KEY)
SECRET = f"h:{keyed_hash(KEY, 'secret').hex()}"
OWNERS = {"v:ann": "acme", SECRET: "acme", "v:bob": "bolt"}
ORDERS, USERS = EndpointName("GET", "/orders"), EndpointName("POST", "/users")
NOON = 1_700_049_600
DAY = 86_400
PLAIN = Series(ORDERS, 200, False, "OK", "", "p")

series = st.builds(
    Series,
    endpoint=st.sampled_from([ORDERS, USERS]),
    status=st.sampled_from([200, 404, 429, 503]),
    denied=st.booleans(),
    reason=st.sampled_from(["OK", "LIMIT_EXCEEDED"]),
    degraded=st.sampled_from(["", "STORE_TIMEOUT"]),
    policy=st.sampled_from(["", "p"]),
    shadow=st.sampled_from(["", "new", "new\nother"]),
)
seconds = st.integers(NOON - 2 * DAY - 5_000, NOON + 2 * DAY + 5_000)
deltas = st.builds(
    UsageDelta,
    series=series,
    identity=st.sampled_from(["", "v:ann", "v:bob", "v:eve", SECRET, "a:192.0.2.1"]),
    second=seconds | st.integers(NOON - 200, NOON + 200),
    requests=st.integers(1, 9),
    units=st.decimals(0, 10**15 - 1, places=12),
    request_bytes=st.integers(0, 2**40),
    response_bytes=st.integers(0, 2**40),
    latency=st.lists(st.tuples(st.integers(0, 1111), st.integers(1, 2**33)), max_size=3).map(tuple),
)
maybe = st.sampled_from([None, None, True, False])
filters = st.builds(
    UsageFilter,
    endpoints=st.sampled_from(
        [(), (), (ORDERS,), (EndpointName("", "/users"),), (EndpointName("GET", ""), USERS)]
    ),
    customers=st.sampled_from([(), (), ("acme",), ("acme", "bolt"), ("idle",)]),
    identities=st.sampled_from(
        [(), (), ("ann",), ("secret", "nobody"), (display(bytes.fromhex(SECRET[2:])),)]
    ),
    statuses=st.sampled_from([(), (), (404,), (2, 503)]),
    policies=st.sampled_from([(), (), ("p",)]),
    reasons=st.sampled_from([(), (), ("OK",)]),
    denied=maybe,
    degraded=maybe,
    shadow_denied=maybe,
)
queries = st.builds(
    UsageQuery,
    since=seconds,
    until=st.none() | seconds,
    groups=st.lists(st.sampled_from(list(UsageGroup)), max_size=3).map(tuple),
    interval=st.sampled_from([None, *UsageInterval]),
    filter=filters,
)


def answerable(query: UsageQuery) -> UsageQuery:
    """The query, or one without what does not go together."""
    try:
        check_query(query)
    except InvalidArgument:
        wanted = replace(
            query.filter, statuses=(), policies=(), reasons=(), degraded=None, shadow_denied=None
        )
        groups = tuple(dict.fromkeys(group for group in query.groups if group in _CALLER_GROUPS))
        interval = UsageInterval.HOUR if query.interval else None
        until = None if query.until is None else max(query.until, query.since + 1)
        return replace(query, until=until, groups=groups, interval=interval, filter=wanted).rounded()
    return query.rounded()


_CALLER_GROUPS = (UsageGroup.ENDPOINT, UsageGroup.CUSTOMER, UsageGroup.IDENTITY)


def naive(reported: Iterable[UsageDelta], query: UsageQuery) -> UsageSums:
    """What the store must answer, by looking at everything that was reported."""
    sums = UsageSums()
    for each in reported:
        if not (query.since <= each.second < (query.until or 2**62)) or not query.filter.counts(each.series):
            continue
        owner, title = OWNERS.get(each.identity, ""), title_of(each.identity) if each.identity else ""
        wanted = query.filter
        named = {title, "secret"} if each.identity == SECRET else {title}
        if (wanted.customers and owner not in wanted.customers) or (
            wanted.identities and named.isdisjoint(wanted.identities)
        ):
            continue
        callers = {UsageGroup.CUSTOMER: ("customer", owner), UsageGroup.IDENTITY: ("identity", title)}
        more: dict[str, Any] = dict(callers[group] for group in query.groups if group in callers)
        keys = [key._replace(**more) for key in keys_of(each.series, query.groups)]
        step = each.second // query.interval * query.interval if query.interval else 0
        sums.add(keys, step, _sum_of(each, told=not query.by_caller))
    return sums


def _sum_of(each: UsageDelta, *, told: bool) -> UsageSum:
    labels, requests = each.series, each.requests
    scaled = 0 if labels.denied else int(each.units.scaleb(12))
    return UsageSum(
        requests=requests,
        errors=requests * (labels.status >= 500),
        client_errors=requests * (400 <= labels.status < 500 and not labels.denied),
        denied=requests * labels.denied,
        degraded=requests * bool(labels.degraded),
        shadow_denied=requests * bool(labels.shadow) * told,
        whole=scaled // 10**12,
        pico=scaled % 10**12,
        request_bytes=each.request_bytes,
        response_bytes=each.response_bytes,
        latency=[b"".join(_packed(each.latency))],
    )


def _packed(histogram: Sequence[tuple[int, int]]) -> Iterable[bytes]:
    from usageflow.domain.latency import pack

    yield pack(histogram)


def plain(sums: UsageSums) -> dict[Any, Any]:
    """Sums as they are compared."""
    return {"total": _plain(sums.total), **{key: _plain(each) for key, each in sums.rows.items()}}


def _plain(each: UsageSum) -> dict[str, Any]:
    from usageflow.domain.latency import unpack

    buckets: dict[int, int] = {}
    for bucket, requests in unpack(b"".join(each.latency)):
        buckets[bucket] = buckets.get(bucket, 0) + requests
    names = [name for name in UsageSum.__slots__ if name not in ("whole", "pico", "latency")]
    return {
        **{name: getattr(each, name) for name in names},
        "units": each.whole * 10**12 + each.pico,
        "latency": {bucket: requests for bucket, requests in buckets.items() if requests},
    }


_NUMBERS = itertools.count()


async def application(stores: Stores) -> str:
    made = await stores.control.create_application(f"demo-{next(_NUMBERS)}", [], cause=NOBODY)
    customers: dict[str, list[str]] = {"idle": []}
    for identity, owner in OWNERS.items():
        customers.setdefault(owner, []).append(HASH_OF(identity).hex())
    change = ChangeSet(
        policies=None,
        blocks_upserted=(),
        blocks_deleted=(),
        names=(),
        customers_upserted=tuple(
            Customer(name=name, identities=tuple(sorted(identities)))
            for name, identities in customers.items()
        ),
    )
    await stores.control.change(made.application_id, change, cause=NOBODY, expected_plan_version=None)
    return made.application_id


async def ingest(stores: Stores, application_id: str, reported: Sequence[UsageDelta]) -> None:
    record = UsageRecord(f"id-{next(_NUMBERS)}", 0, bytes(16), tuple(reported))
    await stores.usage.ingest([(application_id, [record])])


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.lists(deltas, max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.lists(queries, min_size=1, max_size=4),
)
async def test_whatever_is_folded_every_query_equals_a_look_at_everything(
    stores: Stores, parts: list[list[UsageDelta]], folded: list[int], asked: list[UsageQuery]
) -> None:
    application_id = await application(stores)
    reported: list[UsageDelta] = []
    for part, some in zip(parts, folded, strict=False):
        await ingest(stores, application_id, part)
        reported += part
        if some:
            await stores.rollups.fold(some)
        for query in map(answerable, asked):
            answer = await stores.analytics.sums(application_id, query, HASH_OF)
            assert plain(answer) == plain(naive(reported, query)), query
    while await stores.rollups.fold(1_000):
        pass
    for query in map(answerable, asked):
        answer = await stores.analytics.sums(application_id, query, HASH_OF)
        assert plain(answer) == plain(naive(reported, query)), query


async def test_two_who_fold_at_once_add_each_delta_once(
    stores: Stores, other_stores: Stores, application_id: str
) -> None:
    reported = [
        UsageDelta(PLAIN, f"v:{n % 7}", NOON + n % 90, 1, Decimal("0.1"), latency=((n % 50, 1),))
        for n in range(600)
    ]
    await ingest(stores, application_id, reported)

    async def fold(folder: Stores) -> int:
        done = [await folder.rollups.fold(25) for _ in range(40)]
        return sum(done)

    done = sum(await asyncio.gather(fold(stores), fold(other_stores)))
    while more := await stores.rollups.fold(1_000):
        done += more
    assert done == 600
    assert (await stores.rollups.backlog()).waiting == 0
    for groups in ((UsageGroup.ENDPOINT,), (UsageGroup.IDENTITY,)):
        query = UsageQuery(NOON - 3_600, groups=groups).rounded()
        answer = await stores.analytics.sums(application_id, query, HASH_OF)
        assert plain(answer) == plain(naive(reported, query))


async def test_the_backlog_tells_how_much_waits_and_since_when(stores: Stores, application_id: str) -> None:
    assert ((await stores.rollups.backlog()).waiting, (await stores.rollups.backlog()).oldest) == (0, None)
    reported = [UsageDelta(PLAIN, "", NOON + n, 1, Decimal(1)) for n in range(3)]
    await ingest(stores, application_id, reported)
    assert ((await stores.rollups.backlog()).waiting, (await stores.rollups.backlog()).oldest) == (3, NOON)
    assert [await stores.rollups.fold(2) for _ in range(3)] == [2, 1, 0]


async def test_a_sum_that_no_database_holds_stops_and_nothing_else_does(
    stores: Stores, application_id: str
) -> None:
    vast = UsageDelta(PLAIN, "v:ann", NOON, 1, Decimal(10**15 - 1), 2**62, 2**62)
    await ingest(stores, application_id, [vast] * 4 + [UsageDelta(PLAIN, "v:ann", NOON, 1, Decimal(1))])
    assert await stores.rollups.fold(100) in (4, 5)  # what fits into one row came as one
    sums = await stores.analytics.sums(
        application_id, UsageQuery(NOON, groups=(UsageGroup.ENDPOINT,)), HASH_OF
    )
    assert (sums.total.requests, sums.total.request_bytes) == (5, 2**63 - 1)
    assert sums.total.units == 4 * Decimal(10**15 - 1) + 1


async def test_queries_see_one_application(stores: Stores, application_id: str) -> None:
    other = await application(stores)
    await ingest(stores, application_id, [UsageDelta(PLAIN, "v:ann", NOON, 1, Decimal(1))])
    for _ in range(2):
        for groups in ((UsageGroup.ENDPOINT,), (UsageGroup.IDENTITY,)):
            assert not (await stores.analytics.sums(other, UsageQuery(0, groups=groups), HASH_OF)).rows
        await stores.rollups.fold(10)


async def test_an_erased_identity_is_a_number_and_nobodys(stores: Stores) -> None:
    application_id = await application(stores)
    await ingest(stores, application_id, [UsageDelta(PLAIN, "v:ann", NOON, 2, Decimal(1))])
    await stores.forget_identities()
    for _ in range(2):
        groups = (UsageGroup.IDENTITY, UsageGroup.CUSTOMER)
        sums = await stores.analytics.sums(application_id, UsageQuery(0, groups=groups), HASH_OF)
        ((key, _),) = sums.rows
        assert (key.customer, key.identity is not None and key.identity.startswith("erased:")) == ("", True)
        await stores.rollups.fold(10)


async def test_a_customer_that_is_not_there_is_named(stores: Stores) -> None:
    application_id = await application(stores)
    query = UsageQuery(0, filter=UsageFilter(customers=("acme", "acne")))
    with pytest.raises(InvalidArgument) as error:
        await stores.analytics.sums(application_id, query, HASH_OF)
    assert [fault.field for fault in error.value.faults] == ["filter.customers[1]"]


async def test_nothing_counts_where_nothing_was_reported(stores: Stores, application_id: str) -> None:
    sums = await stores.analytics.sums(application_id, UsageQuery(0), HASH_OF)
    assert (sums.rows, sums.total) == ({}, UsageSum())
