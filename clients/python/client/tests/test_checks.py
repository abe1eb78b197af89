"""Checks against a real gRPC server: coalescing, deadlines, fail modes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest

from clients.python.client.tests.exchanges import Make, ready, run, script, view
from clients.python.client.tests.fake_service import (
    KEY,
    FakeService,
    abort,
    deny,
    endpoint_plan,
    full_plan,
    hang,
    until,
)
from usageflow.client import UsageFlowClient
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import plan_pb2

SKIP, REPORT, CHECK = plan_pb2.PLAN_ACTION_SKIP, plan_pb2.PLAN_ACTION_REPORT, plan_pb2.PLAN_ACTION_CHECK
HEADER = common.ATTRIBUTE_LOCATION_HEADER


async def test_each_action_and_every_request_is_reported_once(service: FakeService, make: Make) -> None:
    service.push(
        full_plan(endpoint_plan(1, "GET", "/skip", SKIP), endpoint_plan(2, "GET", "/report", REPORT))
    )
    client = make()
    await ready(client)
    assert await run(client, view("/skip")) is None
    assert (await run(client, view("/report"))).allowed
    assert (await run(client)).allowed
    assert len(service.checks) == 1, "only the endpoint that is to be checked was"
    events = await service.wait_for_events(2)
    assert [(e.endpoint.template, e.status) for e in events] == [("/report", 200), ("/x", 200)]
    assert service.keys == {f"Bearer {KEY}"}


async def test_numbers_values_identity_and_limits(service: FakeService, make: Make) -> None:
    attribute = plan_pb2.PlanAttribute(number=3, location=HEADER, name="X-User-Id")
    service.push(full_plan(endpoint_plan(5, "GET", "/x", CHECK, attributes=[3]), attributes=[attribute]))
    state = wire.LimitState(policy_number=9, remaining=0, reset_us=10, exceeded=True)
    service.answer = lambda _: deny(
        common.REASON_LIMIT_EXCEEDED, policy_number=9, limits=[state], identity=common.Identity(value="alice")
    )
    client = make()
    await ready(client)
    verdict = await run(client, view(headers=[(b"x-user-id", b"alice"), (b"x-other", b"secret")]))
    assert not verdict.allowed
    item = service.checks[0].items[0]
    assert (item.endpoint_number, item.values[0].text, service.checks[0].plan_version) == (5, "alice", 1)
    assert b"secret" not in service.checks[0].SerializeToString()
    event = (await service.wait_for_events(1))[0]
    assert (event.decision, event.status, event.identity.value) == (common.DECISION_DENY, 429, "alice")
    assert service.reports[0].plan_version == 1


async def test_checks_coalesce_without_a_timer(service: FakeService, make: Make) -> None:
    gate, in_flight, most = asyncio.Event(), 0, 0

    async def slow(*_: object) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await gate.wait()
        in_flight -= 1

    client = make(deadline_s=5.0)
    await ready(client)
    service.on_check = slow
    requests = [asyncio.create_task(run(client)) for _ in range(150)]
    await until(lambda: in_flight == 4)
    await asyncio.sleep(0.02)
    assert most == 4
    gate.set()
    assert all(verdict.allowed for verdict in await asyncio.gather(*requests))
    assert sum(len(batch.items) for batch in service.checks) == 150
    assert len(service.checks) < 20
    assert all(len(batch.items) <= 100 for batch in service.checks)
    assert all(0 < item.deadline_ms <= 5_000 for batch in service.checks for item in batch.items)


async def test_a_slow_store_group_holds_up_only_its_own(service: FakeService, make: Make) -> None:
    service.push(full_plan(*(endpoint_plan(n, "GET", f"/{n}", CHECK, store_group=n) for n in (1, 2))))

    async def slow_first(request: wire.BatchCheckRequest, _: object) -> None:
        if any(item.endpoint_number == 1 for item in request.items):
            await hang()

    service.on_check = slow_first
    client = make(deadline_s=0.3)
    await ready(client)
    stuck = [asyncio.create_task(run(client, view("/1"))) for _ in range(20)]
    await asyncio.sleep(0)
    verdict = await run(client, view("/2"))
    assert verdict.degraded is None
    assert all(
        v.degraded.reason == common.DEGRADED_REASON_SERVICE_TIMEOUT for v in await asyncio.gather(*stuck)
    )


@pytest.mark.parametrize(
    ("mode", "allowed"), [(common.FAIL_MODE_OPEN, True), (common.FAIL_MODE_CLOSED, False)]
)
async def test_a_hanging_service_costs_the_deadline_then_the_fail_mode_decides(
    service: FakeService, make: Make, mode: common.FailMode.ValueType, allowed: bool
) -> None:
    service.push(full_plan(endpoint_plan(1, "GET", "/x", CHECK, fail_mode=mode)))
    service.on_check = hang
    client = make(deadline_s=0.05)
    await ready(client)
    started = time.perf_counter()
    verdict = await run(client)
    assert 0.045 <= time.perf_counter() - started < 10.0
    assert verdict.allowed is allowed
    event = (await service.wait_for_events(1))[0]
    assert event.degraded == common.Degraded(reason=common.DEGRADED_REASON_SERVICE_TIMEOUT, fail_mode=mode)
    assert event.status == (200 if allowed else 503)
    assert len(service.checks) == 1, "a check that timed out is not retried"


async def test_the_breaker_stops_asking_a_dead_service(service: FakeService, make: Make) -> None:
    service.on_check = hang
    client = make(deadline_s=0.02)
    await ready(client)
    while (await run(client)).degraded.reason == common.DEGRADED_REASON_SERVICE_TIMEOUT:
        assert len(service.checks) < 10
    started, asked = time.perf_counter(), len(service.checks)
    verdicts = [await run(client) for _ in range(50)]
    assert time.perf_counter() - started < 0.4
    assert len(service.checks) == asked
    assert {v.degraded.reason for v in verdicts} == {common.DEGRADED_REASON_SERVICE_UNAVAILABLE}
    service.on_check = None
    await until(lambda: asked_again(client, service))


def asked_again(client: UsageFlowClient, service: FakeService) -> bool:
    exchange = client.begin(view())
    assert exchange is not None
    task = asyncio.get_running_loop().create_task(client.decide(exchange))
    task.add_done_callback(lambda _: client.finish(exchange, 200))
    return any(e.reason == common.REASON_WITHIN_LIMITS for e in service.events.values())


async def test_a_local_fail_mode_limits_by_itself(service: FakeService, make: Make) -> None:
    local = plan_pb2.LocalFallback(limit=4, share_ppm=500_000)
    local.window.seconds = 3_600
    service.push(
        full_plan(endpoint_plan(1, "GET", "/x", CHECK, fail_mode=common.FAIL_MODE_LOCAL, local=local))
    )
    service.on_check = lambda _, context: abort(context, grpc.StatusCode.UNAVAILABLE)
    client = make()
    await ready(client)
    verdicts = [await run(client) for _ in range(3)]
    assert [v.allowed for v in verdicts] == [True, True, False]
    assert verdicts[2].retry_after_us > 0
    assert verdicts[2].degraded.fail_mode == common.FAIL_MODE_LOCAL
    assert verdicts[2].reason == common.REASON_LIMIT_EXCEEDED  # 429, as where the service's own bucket denies
    assert verdicts[1].reason == common.REASON_FAIL_MODE


@pytest.mark.parametrize(
    "fault",
    [
        script(grpc.StatusCode.UNAVAILABLE),
        script(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_s=5),
        script(grpc.StatusCode.INTERNAL),
        script(grpc.StatusCode.INVALID_ARGUMENT),
        script(grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_any_rpc_error_is_the_fail_modes_case(service: FakeService, make: Make, fault: Any) -> None:
    service.on_check = fault
    client = make()
    await ready(client)
    verdict = await run(client)
    assert verdict.allowed
    assert verdict.degraded.reason == common.DEGRADED_REASON_SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    "result",
    [
        wire.CheckResult(),
        wire.CheckResult(status=common.ItemStatus(code=common.ITEM_CODE_UNAVAILABLE)),
        wire.CheckResult(decision=9, reason=99),  # type: ignore[arg-type]
    ],
)
async def test_an_item_that_decides_nothing_is_the_fail_modes_case(
    service: FakeService, make: Make, result: wire.CheckResult
) -> None:
    service.answer = lambda _: result
    client = make()
    await ready(client)
    assert (await run(client)).degraded.reason == common.DEGRADED_REASON_SERVICE_UNAVAILABLE


async def test_an_unknown_plan_is_asked_again_by_name_once(service: FakeService, make: Make) -> None:
    service.push(full_plan(endpoint_plan(5, "GET", "/x", CHECK)))

    async def unknown(request: wire.BatchCheckRequest, context: Any) -> None:
        if request.plan_version:
            await abort(context, grpc.StatusCode.FAILED_PRECONDITION, reason="PLAN_UNKNOWN")

    service.on_check = unknown
    client = make(deadline_s=1.0)
    await ready(client)
    assert (await run(client)).degraded is None
    assert [batch.plan_version for batch in service.checks] == [1, 0]
    assert (service.checks[1].items[0].request.route, service.checks[1].items[0].request.method) == (
        "/x",
        "GET",
    )
    service.on_check = script(grpc.StatusCode.FAILED_PRECONDITION, reason="PLAN_UNKNOWN")
    assert (await run(client)).degraded is not None
    assert len(service.checks) == 4, "once, not for ever"
