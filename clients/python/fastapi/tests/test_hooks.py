"""What handlers say about their requests."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request

from clients.python.client.tests.fake_service import (
    FakeService,
    endpoint_plan,
    full_plan,
)
from clients.python.fastapi.tests.serving import Serve, has_plan, watch
from usageflow.fastapi import set_consumer, set_metadata, set_quantity
from usageflow.v1 import plan_pb2

REPORT = plan_pb2.PLAN_ACTION_REPORT


async def test_hooks_and_state_reach_the_event(service: FakeService, serve: Serve) -> None:
    service.push(
        full_plan(endpoint_plan(1, "GET", "/async", REPORT), endpoint_plan(2, "GET", "/sync", REPORT))
    )
    app = FastAPI()

    @app.get("/async")
    async def hooks(request: Request) -> dict[str, int]:
        request.state.usageflow = {"metadata": {"from": "state"}}
        set_consumer("acme")
        await asyncio.create_task(child())
        return {}

    async def child() -> None:
        set_quantity(2.5)
        set_metadata(child=True)

    @app.get("/sync")
    def hooks_in_a_thread() -> dict[str, int]:
        set_quantity(7)
        return {}

    @app.get("/bad")
    async def bad(request: Request) -> dict[str, int]:
        request.state.usageflow = {"metadata": {"x": object()}}
        return {}

    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    for path in ("/async", "/sync", "/bad"):
        assert (await site.http.get(path)).status_code == 200
    events = {e.endpoint.template: e for e in await service.wait_for_events(3)}
    assert dict(events["/async"].metadata) == {"from": "state", "child": True}
    assert (events["/async"].quantity, events["/async"].identity.value) == (2.5, "acme")
    assert events["/sync"].quantity == 7
    assert not events["/sync"].HasField("identity")
    assert not events["/bad"].metadata


async def test_concurrent_requests_do_not_share_what_their_hooks_say(
    service: FakeService, serve: Serve
) -> None:
    app = FastAPI()

    @app.get("/q/{n}")
    async def quantity(n: int) -> dict[str, int]:
        set_quantity(n)
        await asyncio.sleep(0.01)
        set_metadata(n=n)
        return {}

    client = watch(app, service.address, deadline_s=2.0)
    site = await serve(app)
    await has_plan(client)
    await asyncio.gather(*(site.http.get(f"/q/{n}") for n in range(30)))
    events = await service.wait_for_events(30)
    assert sorted(e.quantity for e in events) == list(range(30))
    assert all(e.metadata["n"] == e.quantity for e in events)
