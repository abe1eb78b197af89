"""The application while the service is absent, slow or hostile, and what never leaves it."""

from __future__ import annotations

import asyncio
import time

from clients.python.client.tests.fake_service import (
    FakeService,
    endpoint_plan,
    full_plan,
    hang,
    until,
)
from clients.python.fastapi.tests.serving import Serve, has_plan, ok, small_app, watch
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2

CHECK, REPORT, SKIP = plan_pb2.PLAN_ACTION_CHECK, plan_pb2.PLAN_ACTION_REPORT, plan_pb2.PLAN_ACTION_SKIP


async def test_an_absent_service_neither_stops_nor_slows_the_app(serve: Serve) -> None:
    app = small_app()
    watch(app, "127.0.0.1:1")
    started = time.perf_counter()
    site = await serve(app)
    assert time.perf_counter() - started < 10.0
    started = time.perf_counter()
    for _ in range(50):
        assert (await site.http.get("/x")).status_code == 200
    assert time.perf_counter() - started < 2.0
    started = time.perf_counter()
    await site.stop()
    assert time.perf_counter() - started < 3.0


async def test_without_a_plan_a_closed_app_answers_503(serve: Serve) -> None:
    app = small_app()
    watch(app, "127.0.0.1:1", fail_mode="closed")
    site = await serve(app)
    answer = await site.http.get("/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_hanging_service_holds_up_only_what_it_checks(service: FakeService, serve: Serve) -> None:
    service.push(
        full_plan(endpoint_plan(1, "GET", "/skip", SKIP), endpoint_plan(2, "GET", "/report", REPORT))
    )
    service.on_check = hang
    service.on_report = hang
    app = small_app()
    for path in ("/skip", "/report"):
        app.add_api_route(path, ok)
    client = watch(app, service.address, deadline_s=0.5)
    site = await serve(app)
    await has_plan(client)
    checked = [asyncio.create_task(site.http.get("/x")) for _ in range(10)]
    await until(lambda: len(service.checks) == 4)
    started = time.perf_counter()
    for path in ("/skip", "/report"):
        assert (await site.http.get(path)).status_code == 200
    assert time.perf_counter() - started < 0.3
    assert all(answer.status_code == 200 for answer in await asyncio.gather(*checked))


async def test_events_of_an_outage_arrive_exactly_once(service: FakeService, serve: Serve) -> None:
    await service.stop()
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    for _ in range(10):
        assert (await site.http.get("/x")).status_code == 200
    await service.start(service.address)
    await until(lambda: client.status().reported == 10, 15)
    assert len(service.events) == 10
    assert sum(len(report.events) for report in service.reports) == 10


async def test_secrets_never_leave(service: FakeService, serve: Serve) -> None:
    attribute = plan_pb2.PlanAttribute(
        number=1, location=common.ATTRIBUTE_LOCATION_HEADER, name="X-Api-Key", sensitive=True
    )
    service.push(
        full_plan(
            endpoint_plan(1, "GET", "/x", CHECK, attributes=[1]), attributes=[attribute], hash_key=b"k" * 32
        )
    )
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    headers = {"X-Api-Key": "s3cr3t", "Authorization": "Bearer s3cr3t", "Cookie": "sid=s3cr3t"}
    for path in ("/x?token=s3cr3t", "/nowhere?token=s3cr3t"):
        await site.http.get(path, headers=headers)
    await service.wait_for_events(2)
    wire_bytes = [m.SerializeToString() for m in (*service.checks, *service.reports, *service.registered)]
    assert not any(b"s3cr3t" in message for message in wire_bytes)
    assert len(service.checks[0].items[0].values[0].hash) == 32
