"""A real HTTP server in this process, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from clients.python.client.tests.fake_service import KEY, until
from usageflow.client import ClientConfig, UsageFlowClient
from usageflow.fastapi import UsageFlowMiddleware

Serve = Callable[..., Awaitable["Serving"]]


class Serving:
    """An application that is being served, and a client of it."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self._server = server
        self._task = task
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    @classmethod
    async def start(cls, app: Any, *, lifespan: str = "auto") -> Serving:
        """Returns once the application accepts requests."""
        config = uvicorn.Config(app, port=0, log_config=None, lifespan=lifespan, timeout_graceful_shutdown=2)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started or task.done())
        return cls(server, task)

    async def stop(self) -> None:
        """Stops as a signal would."""
        await self.http.aclose()
        self._server.should_exit = True
        await self._task


def client_of(address: str, *, routes: Any = None, whitelist: Any = None, **settings: Any) -> UsageFlowClient:
    """A client that is in no one's way: it flushes fast."""
    fast = {
        "api_key": KEY,
        "address": address,
        "deadline_s": 2.0,
        "flush_interval_s": 0.02,
        "shutdown_s": 0.5,
        **settings,
    }
    return UsageFlowClient(ClientConfig(**fast), routes=routes, whitelist_routes=whitelist)


def watch(app: Any, address: str, *, trusted_proxies: int = 0, **settings: Any) -> UsageFlowClient:
    """Adds the middleware; returns its client."""
    client = client_of(address, **settings)
    app.add_middleware(UsageFlowMiddleware, client=client, trusted_proxies=trusted_proxies)
    return client


async def has_plan(client: UsageFlowClient) -> None:
    """Waits for the first plan."""
    await until(lambda: client.status().plan_version > 0)


def ok() -> dict[str, bool]:
    return {"ok": True}


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/x")
    async def x() -> dict[str, int]:
        return {"x": 1}

    return app
