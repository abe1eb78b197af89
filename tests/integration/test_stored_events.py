"""Events, headroom and pending units through the whole service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.integration.conftest import Running
from tests.integration.test_overrides import CUSTOMERS, FILE, apply, asked, limit_of
from usageflow.v1 import analytics_pb2, common_pb2, decision_pb2, headroom_pb2, meter_pb2, usage_pb2

A = common_pb2.Endpoint(method="GET", template="/a")


async def report(service: Running, user: str, *names: str, **fields: Any) -> None:
    events = [
        usage_pb2.UsageEvent(
            **{
                "event_id": name,
                "endpoint": A,
                "path": "/a",
                "status": 200,
                "identity": common_pb2.Identity(value=user),
                **fields,
            }
        )
        for name in names
    ]
    answer = await service.decision.Report(usage_pb2.ReportRequest(events=events), metadata=service.as_app)
    assert answer.accepted == len(names)


def listed(service: Running, **fields: Any) -> AsyncIterator[analytics_pb2.ListEventsResponse]:
    request = analytics_pb2.ListEventsRequest(application="demo", **fields)
    return service.admin.ListEvents(request, metadata=service.as_admin)  # type: ignore[return-value]


async def names_of(service: Running, **fields: Any) -> list[str]:
    return [each.event_id async for page in listed(service, **fields) for each in page.events]


async def test_events_are_listed_by_filter_and_customer(service: Running) -> None:
    await apply(service, FILE + CUSTOMERS)
    await report(service, "ann", "e1", "e2")
    await report(service, "eve", "e3", status=503)
    pages = [page async for page in listed(service)]
    assert [each.event_id for page in pages for each in page.events] == ["e1", "e2", "e3"]
    assert pages[0].total == 3
    first = pages[0].events[0]
    assert (first.identity, first.endpoint, first.path, first.status) == ("ann", A, "/a", 200)
    wanted = analytics_pb2.UsageFilter
    assert await names_of(service, filter=wanted(customers=["acme"])) == ["e1", "e2"]
    assert await names_of(service, filter=wanted(identities=["eve"], statuses=[5])) == ["e3"]
    assert await names_of(service, limit=2) == ["e1", "e2"]
    for bad, code in (
        (wanted(customers=["x"]), grpc.StatusCode.NOT_FOUND),
        (wanted(statuses=[999]), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await names_of(service, filter=bad)
        assert caught.value.code() is code


async def test_a_tail_begins_with_the_latest_and_goes_on(service: Running) -> None:
    await report(service, "ann", "e1", "e2", "e3")
    request = analytics_pb2.TailEventsRequest(application="demo", recent=2)
    call: Any = service.admin.TailEvents(request, metadata=service.as_admin, timeout=20)
    first = await call.read()
    assert [each.event_id for each in first.events] == ["e2", "e3"]
    await report(service, "eve", "e4")
    assert [each.event_id for each in (await call.read()).events] == ["e4"]
    await report(service, "eve", *(f"n{number}" for number in range(600)))
    sizes: list[int] = []
    while sum(sizes) < 600:
        sizes.append(len((await call.read()).events))
    assert max(sizes) <= 500
    assert sum(sizes) == 600
    call.cancel()


async def test_a_tail_ends_when_the_service_does(service: Running) -> None:
    request = analytics_pb2.TailEventsRequest(application="demo")
    call: Any = service.admin.TailEvents(request, metadata=service.as_admin, timeout=20)
    assert not (await call.read()).events
    service.embedded.plane.drain()
    assert await asyncio.wait_for(call.read(), 10) is grpc.aio.EOF


async def test_many_reporters_are_tailed_whole_and_once(service: Running) -> None:
    request = analytics_pb2.TailEventsRequest(application="demo")
    call: Any = service.admin.TailEvents(request, metadata=service.as_admin, timeout=30)
    await call.read()
    wanted = {f"r{reporter}-{number}" for reporter in range(8) for number in range(40)}
    await asyncio.gather(*(report(service, "ann", name) for name in sorted(wanted)))
    seen: list[str] = []
    while len(seen) < len(wanted):
        seen += [each.event_id for each in (await call.read()).events]
    assert sorted(seen) == sorted(wanted)
    call.cancel()


async def test_headroom_tells_what_is_left_and_takes_nothing(service: Running) -> None:
    await apply(service, FILE + CUSTOMERS)
    await limit_of(service, "ann")
    await report(service, "ann", "e1")
    request = headroom_pb2.ListHeadroomRequest(application="demo", customer="acme", identities=["eve"])
    for _ in range(2):
        answer = await service.decision.ListHeadroom(request, metadata=service.as_admin)
        told = {each.identity: each.limits[0] for each in answer.identities if each.limits}
        assert (told["eve"].limit, told["eve"].used, told["eve"].HasField("reset")) == (2, 0, False)
        ann = told["ann"]
        assert (ann.limit, ann.used, ann.remaining, ann.percent, ann.source) == (10, 1, 9, 10, "plan pro")
        assert 3590 <= ann.reset.seconds <= 3600
        assert answer.identities[0].identity == "eve"
        assert len(answer.identities) == 4
    check = decision_pb2.CheckRequest(request=asked("eve"))
    assert (await service.decision.Check(check, metadata=service.as_app)).limits[0].remaining == 1


async def test_pending_units_of_a_customer(service: Running) -> None:
    metered = FILE.replace(
        "limits: [{name", "metering: {price: price_1, trigger: stripe_usage}, limits: [{name"
    )
    await apply(service, metered + CUSTOMERS)
    now = int(time.time())
    for user, units in (("ann", "2"), ("eve", "5")):
        count = usage_pb2.Count(
            endpoint=A,
            status=200,
            second=now,
            requests=1,
            units=units,
            identity=common_pb2.Identity(value=user),
        )
        batch = usage_pb2.CountBatch(batch_id=f"b-{user}", counts=[count])
        await service.decision.Report(usage_pb2.ReportRequest(batches=[batch]), metadata=service.as_app)

    async def units_of(customer: str) -> list[str]:
        request = meter_pb2.ListPendingRequest(application="demo", customer=customer)
        answer = await service.meter.ListPending(request, metadata=service.as_admin)
        return [row.units for row in answer.pending]

    assert (await units_of(""), await units_of("acme")) == (["7"], ["2"])
