"""What HTTP callers see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import http_sf
import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from clients.python.client.tests.fake_service import (
    FakeService,
    allow,
    deny,
    full_plan,
)
from clients.python.fastapi.tests.serving import Serve, has_plan, small_app, watch
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire


def state(remaining: int, *, exceeded: bool = False) -> wire.LimitState:
    return wire.LimitState(policy_number=9, remaining=remaining, reset_us=90_000_000, exceeded=exceeded)


async def test_an_allowed_answer_is_the_apps_with_rate_limit_headers(
    service: FakeService, serve: Serve
) -> None:
    service.push(full_plan())
    service.answer = lambda _: allow(policy_number=9, limits=[state(99)])
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    answer = await site.http.get("/x")
    assert (answer.status_code, answer.json()) == (200, {"x": 1})
    limits = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    assert limits == [("transactions/hourly", {"r": 99, "t": 90})]
    policies = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    assert policies == [("transactions/hourly", {"q": 100, "w": 3_600})]


async def test_429(service: FakeService, serve: Serve) -> None:
    service.push(full_plan())
    service.answer = lambda _: deny(
        common.REASON_LIMIT_EXCEEDED,
        policy_number=9,
        retry_after_us=89_000_001,
        limits=[state(0, exceeded=True)],
    )
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    answer = await site.http.get("/x")
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "90"
    limits = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    assert limits == [("transactions/hourly", {"r": 0, "t": 90})]
    assert answer.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "The limit for this request is used up; retry later.",
        "violated-policies": ["transactions/hourly"],
    }
    head = await site.http.head("/x")
    assert (head.status_code, head.content) == (429, b"")
    events = await service.wait_for_events(2)
    assert [(e.status, e.decision, e.reason, e.policy_number) for e in events] == [
        (429, common.DECISION_DENY, common.REASON_LIMIT_EXCEEDED, 9)
    ] * 2


@pytest.mark.parametrize(
    ("reason", "status", "header", "value"),
    [
        (common.REASON_BLOCKED, 403, "www-authenticate", None),
        (common.REASON_IDENTITY_REQUIRED, 401, "www-authenticate", 'Bearer realm="api"'),
        (common.REASON_COST_ABOVE_LIMIT, 429, "retry-after", None),
        (common.REASON_FAIL_MODE, 503, "retry-after", "1"),
    ],
)
async def test_other_denials(
    service: FakeService,
    serve: Serve,
    reason: common.Reason.ValueType,
    status: int,
    header: str,
    value: str | None,
) -> None:
    service.answer = lambda _: deny(reason)
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    answer = await site.http.get("/x")
    assert (answer.status_code, answer.headers.get(header)) == (status, value)
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text)["status"] == status
    assert (await service.wait_for_events(1))[0].status == status


async def test_a_path_that_cannot_be_understood_is_400(service: FakeService, serve: Serve) -> None:
    bad = common.ItemStatus(code=common.ITEM_CODE_INVALID_ARGUMENT, field="request.path")
    service.answer = lambda _: wire.CheckResult(status=bad)
    app = small_app()
    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    assert (await site.http.get("/%zz")).status_code == 400


async def test_headers_bodies_and_streams_stay_as_they_were(service: FakeService, serve: Serve) -> None:
    service.answer = lambda _: allow(policy_number=9, limits=[state(1)])
    service.push(full_plan())
    app = small_app()
    first_read = asyncio.Event()

    @app.get("/cookies")
    async def cookies(response: Response) -> dict[str, int]:
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return {}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.wait_for(first_read.wait(), 5)
            yield b"second"

        return StreamingResponse(parts())

    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    answer = await site.http.get("/cookies")
    assert [cookie.split("=")[0] for cookie in answer.headers.get_list("set-cookie")] == ["a", "b"]
    assert "ratelimit" in answer.headers
    async with site.http.stream("GET", "/stream") as streamed:
        parts = streamed.aiter_bytes()
        assert await anext(parts) == b"first", "the first part came while the second did not exist"
        first_read.set()
        assert await anext(parts) == b"second"
    events = {e.endpoint.template: e for e in await service.wait_for_events(2)}
    assert events["/stream"].response_bytes == len(b"firstsecond")


async def test_bodies_are_left_alone(service: FakeService, serve: Serve) -> None:
    app = FastAPI()

    @app.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    content = b"\x00\xff" * 500_000
    answer = await site.http.post("/upload", files={"file": content})
    assert answer.json()["size"] > len(content)
    event = (await service.wait_for_events(1))[0]
    assert event.request_bytes > len(content)
    assert max(report.ByteSize() for report in service.reports) < 1_000, "nothing of the body leaves"


async def test_exceptions_are_reported_as_500_and_raised_again(service: FakeService, serve: Serve) -> None:
    app = small_app()
    raised: list[BaseException] = []

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("boom")

    client = watch(app, service.address)

    class Outer:
        def __init__(self, app: object) -> None:
            self.app = app

        async def __call__(self, *args: object) -> None:
            try:
                await self.app(*args)  # type: ignore[operator]
            except RuntimeError as error:
                raised.append(error)
                raise

    app.add_middleware(Outer)
    site = await serve(app)
    await has_plan(client)
    assert (await site.http.get("/boom")).status_code == 500
    events = await service.wait_for_events(1)
    assert [(e.endpoint.template, e.status) for e in events] == [("/boom", 500)]
    assert [str(error) for error in raised] == ["boom"]


async def test_a_caller_that_leaves_is_reported(service: FakeService, serve: Serve) -> None:
    app = FastAPI()
    started = asyncio.Event()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                started.set()
                yield b"x" * 1_000
                await asyncio.sleep(0.01)

        return StreamingResponse(parts())

    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    async with site.http.stream("GET", "/endless"):
        await started.wait()
    event = (await service.wait_for_events(1))[0]
    assert (event.endpoint.template, event.status) == ("/endless", 200)


async def test_background_tasks_are_not_timed(service: FakeService, serve: Serve) -> None:
    app = FastAPI()

    async def slow() -> None:
        await asyncio.sleep(0.3)

    @app.get("/bg")
    async def bg(tasks: BackgroundTasks) -> dict[str, int]:
        tasks.add_task(slow)
        return {}

    client = watch(app, service.address)
    site = await serve(app)
    await has_plan(client)
    await site.http.get("/bg")
    event = (await service.wait_for_events(1))[0]
    assert event.latency.ToTimedelta().total_seconds() < 0.25


async def test_client_addresses_are_believed_only_of_trusted_proxies(
    service: FakeService, serve: Serve
) -> None:
    addresses = []
    for trusted in (0, 1):
        app = small_app()
        client = watch(app, service.address, trusted_proxies=trusted)
        transport = httpx.ASGITransport(app=app, client=("10.0.0.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            client.start()
            await has_plan(client)
            await http.get("/x", headers={"X-Forwarded-For": "6.6.6.6, 1.2.3.4"})
        addresses.append(service.checks[-1].items[0].request.client_ip)
        await client.aclose()
    assert addresses == ["10.0.0.9", "1.2.3.4"]
