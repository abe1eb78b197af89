from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.integration.conftest import Running
from tests.integration.test_decisions import check
from usageflow.domain.errors import Unavailable
from usageflow.v1 import admin_pb2, analytics_pb2, common_pb2, meter_pb2, policies_pb2, usage_pb2

TRANSACTIONS = common_pb2.Endpoint(method="POST", template="/api/transactions")


def event(event_id: str, status: int = 200, **more: object) -> usage_pb2.UsageEvent:
    fields = {"endpoint": TRANSACTIONS, "identity": common_pb2.Identity(value="alice"), **more}
    return usage_pb2.UsageEvent(event_id=event_id, status=status, **fields)  # type: ignore[arg-type]


def batch(batch_id: str, requests: int, units: str = "", second: int | None = None) -> usage_pb2.CountBatch:
    count = usage_pb2.Count(
        endpoint=TRANSACTIONS,
        status=200,
        second=int(time.time()) if second is None else second,
        requests=requests,
        units=units,
    )
    return usage_pb2.CountBatch(batch_id=batch_id, counts=[count])


async def rows(
    service: Running, group: analytics_pb2.UsageGroup.ValueType = analytics_pb2.USAGE_GROUP_ENDPOINT
) -> list[analytics_pb2.UsageRow]:
    request = analytics_pb2.QueryUsageRequest(application="demo", group_by=[group])
    return list((await service.admin.QueryUsage(request, metadata=service.as_admin)).rows)


async def test_overlapping_reports_count_once(service: Running) -> None:
    """Every client sends a window of the same 300 events, twice: each is counted once, whoever was first."""

    async def send(first: int) -> usage_pb2.ReportResponse:
        events = [event(f"event-{index % 300}") for index in range(first, first + 120)]
        return await service.decision.Report(usage_pb2.ReportRequest(events=events), metadata=service.as_app)

    answers = await asyncio.gather(*(send(first) for first in range(0, 300, 30) for _ in range(2)))
    assert sum(answer.accepted for answer in answers) == 300
    assert sum(answer.duplicates for answer in answers) == 20 * 120 - 300
    (row,) = await rows(service)
    assert (row.requests, row.units, row.endpoint.template) == (300, "300", "/api/transactions")


async def test_a_bad_item_never_sinks_its_report(service: Running) -> None:
    events = [event("good"), event("bad", status=99), event("good"), event("", status=200)]
    batches = [batch("b1", 5, "2.5"), batch("b2", 0), batch("b3", 1, "x"), batch("b4", 1, second=1)]
    response = await service.decision.Report(
        usage_pb2.ReportRequest(events=events, batches=batches), metadata=service.as_app
    )
    assert (response.accepted, response.duplicates) == (2, 1)
    faults = [(error.index, error.id, error.status.field, error.status.code) for error in response.errors]
    assert sorted(faults) == [
        (1, "b2", "counts[0].requests", common_pb2.ITEM_CODE_INVALID_ARGUMENT),
        (1, "bad", "status", common_pb2.ITEM_CODE_INVALID_ARGUMENT),
        (2, "b3", "counts[0].units", common_pb2.ITEM_CODE_INVALID_ARGUMENT),
        (3, "", "event_id", common_pb2.ITEM_CODE_INVALID_ARGUMENT),
        (3, "b4", "counts[0].second", common_pb2.ITEM_CODE_OUT_OF_RANGE),
    ]
    (row,) = await rows(service)
    assert (row.requests, row.units) == (6, "3.5")


async def test_an_id_with_another_payload_is_a_conflict(service: Running) -> None:
    await service.decision.Report(usage_pb2.ReportRequest(events=[event("one")]), metadata=service.as_app)
    response = await service.decision.Report(
        usage_pb2.ReportRequest(events=[event("one", status=500)]), metadata=service.as_app
    )
    assert [error.status.reason for error in response.errors] == ["ID_REUSED"]
    assert response.errors[0].status.code == common_pb2.ITEM_CODE_ALREADY_EXISTS
    (row,) = await rows(service)
    assert (row.requests, row.errors) == (1, 0)


async def test_denials_errors_and_units_are_told_apart(service: Running) -> None:
    events = [
        event("a", quantity=2.5),
        event("b", status=503),
        event("c", status=429),
        event("d", status=429, decision=common_pb2.DECISION_ALLOW),
        event("e", status=403, decision=common_pb2.DECISION_DENY, reason=common_pb2.REASON_BLOCKED),
    ]
    await service.decision.Report(usage_pb2.ReportRequest(events=events), metadata=service.as_app)
    (row,) = await rows(service)
    assert (row.requests, row.errors, row.denied, row.units) == (5, 1, 2, "4.5")
    by_status = await rows(service, analytics_pb2.USAGE_GROUP_STATUS)
    assert {(item.status, item.requests) for item in by_status} == {(200, 1), (503, 1), (429, 2), (403, 1)}
    pending = await service.meter.ListPending(
        meter_pb2.ListPendingRequest(application="demo"), metadata=service.as_admin
    )
    assert [(item.price, item.requests, item.units) for item in pending.pending] == [("price_123", 3, "4.5")]


async def test_raw_paths_never_become_names(service: Running) -> None:
    def by_path(event_id: str, method: str, path: str) -> usage_pb2.UsageEvent:
        return event(event_id, endpoint=common_pb2.Endpoint(method=method), path=path)

    events = [
        by_path("1", "POST", "/api/transactions"),
        by_path("2", "GET", "/api/users/42"),
        by_path("3", "GET", "/elsewhere/7"),
        by_path("4", "GET", "/elsewhere/8"),
    ]
    await service.decision.Report(usage_pb2.ReportRequest(events=events), metadata=service.as_app)
    names = {(row.endpoint.method, row.endpoint.template): row.requests for row in await rows(service)}
    assert names == {
        ("POST", "/api/transactions"): 1,
        ("GET", "/api/users/{rest*}"): 1,
        ("GET", "{unmatched}"): 2,
    }


async def test_too_many_events_are_refused_whole(service: Running) -> None:
    events = [event(f"event-{index}") for index in range(10_001)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.decision.Report(usage_pb2.ReportRequest(events=events), metadata=service.as_app)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await rows(service) == []


async def test_a_full_report_does_not_hold_up_checks(service: Running) -> None:
    """10,000 events are read in slices: checks that come meanwhile are answered before the report is."""
    report = asyncio.ensure_future(
        service.decision.Report(
            usage_pb2.ReportRequest(events=[event(f"event-{index}") for index in range(10_000)]),
            metadata=service.as_app,
        )
    )
    answered = 0
    while not report.done():
        await service.decision.Check(check("alice"), metadata=service.as_app)
        answered += 1
    assert (await report).accepted == 10_000
    assert answered > 3


async def test_a_raw_credential_in_a_report_is_stored_as_a_hash(service: Running, tmp_path: Path) -> None:
    source = policies_pb2.Source(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-Api-Key")
    request = admin_pb2.ApplyRequest(application="demo")
    request.strategies.add(name="by-key", sources=[source])
    request.policies.add(name="keyed", match=policies_pb2.Match(path="/api/transactions"), strategy="by-key")
    await service.admin.Apply(request, metadata=service.as_admin)
    await service.embedded.decision.snapshots.refresh()
    raw = common_pb2.Identity(value="sk_planted_secret")
    await service.decision.Report(
        usage_pb2.ReportRequest(events=[event("a", identity=raw)]), metadata=service.as_app
    )
    assert len(await rows(service)) == 1
    assert b"sk_planted_secret" not in b"".join(path.read_bytes() for path in tmp_path.glob("usageflow.db*"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"identity": common_pb2.Identity(value="p" * 257)}, "identity.value"),
        ({"identity": common_pb2.Identity(value="é" * 129)}, "identity.value"),
        ({"decision": 9}, "decision"),
    ],
)
async def test_nothing_is_cut_or_guessed(service: Running, fields: dict[str, Any], field: str) -> None:
    request = usage_pb2.ReportRequest(events=[event("a", **fields)])
    response = await service.decision.Report(request, metadata=service.as_app)
    assert [error.status.field for error in response.errors] == [field]
    assert await rows(service) == []


async def test_an_unknown_group_is_refused(service: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rows(service, 99)  # type: ignore[arg-type]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_no_message_are_refused_in_our_words(service: Running) -> None:
    call: Any = service.channel.unary_unary("/usageflow.v1.DecisionService/Check")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff", metadata=service.as_app)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a message of this method" in str(caught.value.details())


async def retry_after_s(service: Running, request: usage_pb2.ReportRequest, code: grpc.StatusCode) -> float:
    """Returns the delay of RetryInfo, as it arrives at a caller whose report is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.decision.Report(request, metadata=service.as_app)
    assert refused.value.code() is code
    packed = status_pb2.Status.FromString(dict(refused.value.trailing_metadata())["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    assert [item for item in packed.details if item.Unpack(retry)]
    return float(retry.retry_delay.ToTimedelta().total_seconds())


async def test_who_is_refused_is_told_when_to_come_back_and_nothing_is_lost_or_doubled(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = usage_pb2.ReportRequest(events=[event(f"e{index}") for index in range(5)])
    with monkeypatch.context() as full:
        full.setattr("decision.ingest.MAX_WAITING", 4)
        assert await retry_after_s(service, request, grpc.StatusCode.RESOURCE_EXHAUSTED) > 0
    with monkeypatch.context() as down:

        async def fail(_work: object) -> None:
            raise Unavailable("the database does not answer")

        down.setattr(service.embedded.database, "write", fail)
        assert await retry_after_s(service, request, grpc.StatusCode.UNAVAILABLE) > 0
    assert await rows(service) == []
    for expected in ((5, 0), (0, 5)):
        answer = await service.decision.Report(request, metadata=service.as_app)
        assert (answer.accepted, answer.duplicates) == expected
    (row,) = await rows(service)
    assert row.requests == 5
