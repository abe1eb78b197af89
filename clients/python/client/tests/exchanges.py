"""One request through a client, as an adapter would run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from clients.python.client.tests.fake_service import (
    abort,
    until,
)
from usageflow.client import UsageFlowClient
from usageflow.client.adapters import RequestView

Make = Callable[..., UsageFlowClient]


async def ready(client: UsageFlowClient, version: int = 1) -> None:
    client.start()
    await until(lambda: client.status().plan_version == version)


def view(route: str = "/x", **fields: Any) -> RequestView:
    return RequestView("GET", route, "/x", **fields)


async def run(client: UsageFlowClient, request: RequestView | None = None) -> Any:
    """One request; returns its verdict, or None where the plan leaves it alone."""
    exchange = client.begin(request or view())
    if exchange is None:
        return None
    verdict = await client.decide(exchange)
    client.finish(exchange, 200 if verdict.allowed else client.denial(exchange).status)
    client.finish(exchange, 500)  # a second end changes nothing
    return verdict


def script(code: grpc.StatusCode, **details: Any) -> Callable[..., Awaitable[None]]:
    return lambda _, context: abort(context, code, **details)
