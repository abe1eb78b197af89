"""Requests hold their slots of CONCURRENCY limits while they run, however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import http_sf
import pytest
from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from clients.python.client.tests.fake_service import FakeService, allow, deny, slot_plan, until
from clients.python.fastapi.tests.serving import Serve, has_plan, watch
from usageflow.client import UsageFlowClient
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire


class Site:
    """An application whose requests end when they are told to."""

    def __init__(self, service: FakeService) -> None:
        service.push(slot_plan())
        state = wire.LimitState(policy_number=9, remaining=1)
        service.answer = lambda _: allow(policy_number=9, limits=[state], slot_id=b"slot")
        self.going_on = asyncio.Event()
        self.may_end = asyncio.Event()
        self.app = FastAPI()
        self.app.get("/ok")(self.ok)
        self.app.get("/fails")(self.fails)
        self.app.get("/stream")(self.stream)
        self.app.get("/background")(self.background)
        self.app.websocket("/socket")(self.socket)
        self.client: UsageFlowClient = watch(self.app, service.address)

    async def wait(self) -> None:
        self.going_on.set()
        await self.may_end.wait()

    async def ok(self) -> dict[str, int]:
        await self.wait()
        return {}

    async def fails(self) -> None:
        await self.wait()
        raise RuntimeError("the application's own")

    async def stream(self) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await self.wait()
            yield b"last"

        return StreamingResponse(parts())

    async def background(self, tasks: BackgroundTasks) -> dict[str, int]:
        tasks.add_task(self.wait)
        return {}

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        await self.wait()
        await socket.close()


@pytest.mark.parametrize("path", ["/ok", "/fails", "/stream"])
async def test_the_slot_is_held_to_the_last_byte(service: FakeService, serve: Serve, path: str) -> None:
    site = Site(service)
    serving = await serve(site.app)
    await has_plan(site.client)
    request = asyncio.create_task(serving.http.get(path))
    await site.going_on.wait()
    assert site.client.status().slots == 1
    assert not service.released()
    site.may_end.set()
    await request
    await until(service.released)
    assert service.released() == [b"slot"]
    assert site.client.status().slots == 0


async def test_work_after_the_response_holds_no_slot(service: FakeService, serve: Serve) -> None:
    site = Site(service)
    serving = await serve(site.app)
    await has_plan(site.client)
    await serving.http.get("/background")
    await site.going_on.wait()
    await until(service.released)
    site.may_end.set()


async def test_a_caller_that_leaves_frees_the_slot(service: FakeService, serve: Serve) -> None:
    site = Site(service)
    serving = await serve(site.app)
    await has_plan(site.client)
    async with serving.http.stream("GET", "/stream"):
        await site.going_on.wait()
        assert site.client.status().slots == 1
    await until(service.released)


async def test_a_websocket_holds_its_slot_until_it_is_closed(service: FakeService) -> None:
    site = Site(service)
    site.client.start()
    await has_plan(site.client)
    sent: list[str] = []
    scope = {
        "type": "websocket",
        "path": "/socket",
        "raw_path": b"/socket",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {},
        "asgi": {"version": "3.0"},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    socket = asyncio.create_task(site.app(scope, receive, send))
    await site.going_on.wait()
    await service.wait_for_events(1)  # the handshake is over
    assert site.client.status().slots == 1
    assert not service.released()
    site.may_end.set()
    await socket
    await until(service.released)
    assert sent == ["websocket.accept", "websocket.close"]
    await site.client.aclose()


async def test_the_app_stops_with_no_slot_left(service: FakeService, serve: Serve) -> None:
    site = Site(service)
    serving = await serve(site.app)
    await has_plan(site.client)
    request = asyncio.create_task(serving.http.get("/ok"))
    await site.going_on.wait()
    await site.client.aclose()
    assert service.released() == [b"slot"]
    site.may_end.set()
    await request


async def test_too_many_at_once_is_429_after_a_second(service: FakeService, serve: Serve) -> None:
    site = Site(service)
    full = wire.LimitState(policy_number=9, remaining=0, reset_us=1_000_000, exceeded=True)
    service.answer = lambda _: deny(
        common.REASON_CONCURRENCY_EXCEEDED, policy_number=9, retry_after_us=1_000_000, limits=[full]
    )
    serving = await serve(site.app)
    await has_plan(site.client)
    answer = await serving.http.get("/ok")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["violated-policies"] == ["transactions/at-once"]
    policies = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    assert policies == [("transactions/at-once", {"q": 2, "qu": "concurrent-requests"})]
    limits = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    assert limits == [("transactions/at-once", {"r": 0})]
    assert site.client.status().slots == 0
