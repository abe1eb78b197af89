"""Which route a request is counted for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from clients.python.client.tests.fake_service import FakeService, deny, until
from clients.python.fastapi.tests.serving import Serve, client_of, has_plan, watch
from usageflow.client import UsageFlowClient
from usageflow.fastapi import UsageFlowMiddleware, _routing
from usageflow.fastapi._routing import RouteTable
from usageflow.v1 import common_pb2 as common


def ok() -> dict[str, bool]:
    return {"ok": True}


async def ok_starlette(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def site(tmp_path: Any) -> FastAPI:
    """Nested routers, mounts, sub-applications, converters, and routes whose order matters."""
    app = FastAPI()
    inner = APIRouter(prefix="/b")
    inner.add_api_route("/items/{iid:int}", ok, methods=["GET", "PUT"])
    outer = APIRouter(prefix="/a")
    outer.include_router(inner)
    outer.add_api_route("/files/{path:path}", ok)
    app.include_router(outer, prefix="/v1")
    app.add_api_route("/users/me", ok)
    app.add_api_route("/users/{user_id}", ok)
    sub = FastAPI()
    sub.include_router(inner, prefix="/deep")
    app.mount("/sub", sub)
    nested = Mount("/in", routes=[Route("/{x}", ok_starlette)])
    app.mount("/star/{tenant}", Starlette(routes=[Route("/leaf/{x}", ok_starlette), nested]))
    app.mount("/static", StaticFiles(directory=tmp_path))
    return app


CASES = [
    ("GET", "/v1/a/b/items/7", "/v1/a/b/items/{iid:int}"),
    ("PUT", "/v1/a/b/items/7", "/v1/a/b/items/{iid:int}"),
    ("GET", "/v1/a/files/x/y.txt", "/v1/a/files/{path:path}"),
    ("GET", "/users/me", "/users/me"),
    ("GET", "/users/7", "/users/{user_id}"),
    ("GET", "/sub/deep/b/items/7", "/sub/deep/b/items/{iid:int}"),
    ("GET", "/star/t1/leaf/1", "/star/{tenant}/leaf/{x}"),
    ("GET", "/star/t1/in/1", "/star/{tenant}/in/{x}"),
    ("GET", "/static/a.txt", "/static/{path:path}"),
    ("GET", "/nowhere", "{unmatched}"),
    ("GET", "/sub/nowhere", "{unmatched}"),
    ("GET", "/v1/a/b/items/x", "{unmatched}"),
    ("DELETE", "/users/7", "{unmatched}"),
]


async def test_templates_before_the_handler(service: FakeService, serve: Serve, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("a")
    app = site(tmp_path)
    client = watch(app, service.address, deadline_s=2.0)
    served = await serve(app)
    await has_plan(client)
    for round_ in (1, 2):  # the second round is answered from the cache
        for number, (method, path, want) in enumerate(CASES, 1):
            answer = await served.http.request(method, path)
            unmatched = want == "{unmatched}"
            assert answer.status_code == (405 if method == "DELETE" else 404 if unmatched else 200), path
            await service.wait_for_events(len(CASES) * (round_ - 1) + number)
            event = list(service.events.values())[-1]
            assert (event.endpoint.method, event.endpoint.template) == (method, want)
            asked = service.checks[-1].items[0].request
            assert asked.route == ("" if unmatched else want)
    parameters = [
        b.items[0].request.path_parameters for b in service.checks if "star" in b.items[0].request.route
    ]
    assert dict(parameters[0]) == {"tenant": "t1", "x": "1"}
    registered = [(e.method, e.template) for e in service.registered[0].endpoints]
    assert {(method, want) for method, _, want in CASES if want != "{unmatched}"} <= set(registered)
    assert len(registered) == len(set(registered))


def test_flat_routes_of_older_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_routing, "iter_route_contexts", iter)
    table = RouteTable([Route("/a/{b}", ok_starlette), Mount("/m", routes=[Route("/x", ok_starlette)])])
    scope = {"type": "http", "method": "GET", "headers": [], "root_path": ""}
    assert table.find({**scope, "path": "/a/1"}).template == "/a/{b}"
    assert table.find({**scope, "path": "/m/x"}).template == "/m/x"
    assert table.find({**scope, "path": "/m/y"}).template == ""


def test_hosts_are_not_cached_by_path() -> None:
    routes = [
        Host("one.test", app=Starlette(routes=[Route("/{one}", ok_starlette)])),
        Route("/{other}", ok_starlette),
    ]
    table = RouteTable(routes)
    scope = {"type": "http", "method": "GET", "path": "/x", "root_path": ""}
    assert table.find({**scope, "headers": [(b"host", b"one.test")]}).template == "/{one}"
    assert table.find({**scope, "headers": [(b"host", b"two.test")]}).template == "/{other}"


async def test_routes_added_later_are_found_and_registered(service: FakeService, serve: Serve) -> None:
    app = FastAPI()
    router = APIRouter()
    app.include_router(router)
    client = watch(app, service.address)
    served = await serve(app)
    await has_plan(client)
    router.add_api_route("/late/{x}", ok)
    assert (await served.http.get("/late/1")).status_code == 200
    assert (await service.wait_for_events(1))[0].endpoint.template == "/late/{x}"
    await until(lambda: any("/late/{x}" in [e.template for e in r.endpoints] for r in service.registered[1:]))


async def test_the_whitelist_wins_and_preflights_are_skipped(service: FakeService, serve: Serve) -> None:
    app = FastAPI()
    for path in ("/api/health", "/api/users/{user_id}", "/other"):
        app.add_api_route(path, ok)
    client = watch(
        app,
        service.address,
        routes=[{"method": "GET", "url": "/api/*"}, {"method": "OPTIONS", "url": "/api/*"}],
        whitelist=[{"method": "GET", "url": "/metrics"}, {"method": "GET", "url": "/api/health"}],
    )
    served = await serve(app)
    await has_plan(client)
    for path in ("/api/health", "/other", "/api/users/1"):
        assert (await served.http.get(path)).status_code == 200
    preflight = {"Origin": "https://a.test", "Access-Control-Request-Method": "GET"}
    await served.http.options("/api/users/1", headers=preflight)
    await served.http.options("/api/users/1")
    events = await service.wait_for_events(2)
    await served.stop()
    assert [(e.endpoint.method, e.endpoint.template) for e in events] == [
        ("GET", "/api/users/{user_id}"),
        ("OPTIONS", "{unmatched}"),
    ]
    assert len(service.events) == 2


async def test_without_a_lifespan_it_works_from_the_first_request(service: FakeService, serve: Serve) -> None:
    app = FastAPI()
    app.add_api_route("/x", ok)
    client = watch(app, service.address)
    served = await serve(app, lifespan="off")
    assert (await served.http.get("/x")).status_code == 200
    assert (await service.wait_for_events(1))[0].endpoint.template == "/x"
    assert "/x" in [e.template for e in service.registered[0].endpoints]
    await served.stop()
    await client.aclose()


async def test_routes_of_the_lifespan_count_and_its_end_delivers(service: FakeService, serve: Serve) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        app.add_api_route("/early", ok)
        yield {"mine": "kept"}

    app = FastAPI(lifespan=lifespan)
    watch(app, service.address, flush_interval_s=60.0)
    served = await serve(app)
    assert (await served.http.get("/early")).status_code == 200
    await served.stop()
    assert [e.endpoint.template for e in service.events.values()] == ["/early"]
    assert "/early" in [e.template for e in service.registered[0].endpoints]


async def test_middleware_in_a_sub_application_too_counts_once(service: FakeService, serve: Serve) -> None:
    app, sub = FastAPI(), FastAPI()
    sub.add_api_route("/x", ok)
    client = watch(app, service.address)
    watch(sub, service.address)
    app.mount("/sub", sub)
    served = await serve(app)
    await has_plan(client)
    assert (await served.http.get("/sub/x")).status_code == 200
    await served.stop()
    assert [e.endpoint.template for e in service.events.values()] == ["/sub/x"]


async def test_a_plain_asgi_application_may_be_wrapped(service: FakeService) -> None:
    client = client_of(service.address)
    app = UsageFlowMiddleware(Starlette(routes=[Route("/p/{x}", ok_starlette)]), client=client)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
        assert (await http.get("/p/1")).text == "ok"
    assert (await service.wait_for_events(1))[0].endpoint.template == "/p/{x}"
    await client.aclose()


async def handshake(client: UsageFlowClient, path: str, echo: Callable[..., Any]) -> list[dict[str, Any]]:
    """Runs a websocket through the middleware; returns what the server sent."""
    app = UsageFlowMiddleware(Starlette(routes=[WebSocketRoute("/ws/{room}", echo)]), client=client)
    incoming = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hi"}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(incoming, {"type": "websocket.disconnect", "code": 1000})

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "headers": [],
        "query_string": b"",
        "root_path": "",
        "client": None,
    }
    await app(scope, receive, send)
    return sent


async def echo(socket: Any) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


async def test_a_websocket_counts_as_its_handshake(service: FakeService) -> None:
    client = client_of(service.address)
    client.start()
    await has_plan(client)
    sent = await handshake(client, "/ws/1", echo)
    assert [m["type"] for m in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    await handshake(client, "/nowhere", echo)
    events = await service.wait_for_events(2)
    assert [(e.endpoint.method, e.endpoint.template, e.status) for e in events] == [
        ("GET", "/ws/{room}", 101),
        ("GET", "{unmatched}", 403),
    ]
    await client.aclose()


async def test_a_denied_websocket_is_closed_before_it_is_accepted(service: FakeService) -> None:
    service.answer = lambda _: deny(common.REASON_LIMIT_EXCEEDED)
    client = client_of(service.address)
    client.start()
    await has_plan(client)
    sent = await handshake(client, "/ws/1", echo)
    assert [(m["type"], m.get("code")) for m in sent] == [("websocket.close", 1008)]
    assert (await service.wait_for_events(1))[0].status == 429
    await client.aclose()


def test_middleware_wants_a_client_or_its_arguments_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        UsageFlowMiddleware(Starlette(), "uf_1", client=client_of("127.0.0.1:1"))
