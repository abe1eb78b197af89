"""Pure ASGI middleware: asks before the handler runs, reports after the response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.requests import ClientDisconnect

from usageflow.client import ClientConfig, UsageFlowClient
from usageflow.client.adapters import Exchange, RouteOption
from usageflow.fastapi._asgi import (
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    is_preflight,
    method_of,
    route_path,
    state_of,
    view_of,
)
from usageflow.fastapi._bodies import tapped
from usageflow.fastapi._routing import RouteTable
from usageflow.fastapi._runs import HttpRun, WebSocketRun

_SEEN: Final = "usageflow.seen"


class UsageFlowMiddleware:
    """Decides and reports the requests of an ASGI application.

    `app.add_middleware(UsageFlowMiddleware, api_key="uf_...")`; without `api_key` USAGEFLOW_API_KEY is used. The
    application starts and serves whether or not the service is there.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_key: str | None = None,
        *,
        address: str | None = None,
        routes: Iterable[RouteOption] | None = None,
        whitelist_routes: Iterable[RouteOption] | None = None,
        trusted_proxies: int = 0,
        disabled: bool = False,
        client: UsageFlowClient | None = None,
    ) -> None:
        """`client` replaces every argument but `trusted_proxies`, the number of own proxies that a request passes.

        Raises ValueError for arguments that cannot be used.
        """
        if client is None:
            config = ClientConfig.load(api_key, address=address, disabled=disabled)
            client = UsageFlowClient(config, routes=routes, whitelist_routes=whitelist_routes)
        elif api_key or address or routes or whitelist_routes or disabled:
            raise ValueError("give UsageFlowMiddleware a client or the client's own arguments, not both")
        self.client = client
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._table: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs one ASGI connection."""
        kind = scope["type"]
        if kind == "lifespan" and self.client.active:
            await self._app(scope, receive, self._lifespan_send(scope, send))
        elif kind in ("http", "websocket") and _SEEN not in scope:
            scope[_SEEN] = True  # an application inside this one may have the middleware too: count once
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._begin(scope)
        if exchange is None:
            await self._app(scope, receive, send)
            return
        run = (HttpRun if scope["type"] == "http" else WebSocketRun)(self.client, exchange, scope, send)
        try:
            verdict = await self.client.decide(exchange)
            if verdict.allowed:
                run.prepare()
                reading = tapped(receive, exchange.request) if self.client.keeps_body(exchange) else receive
                await self._app(scope, reading, run.send)
            else:
                await run.deny(receive)
        except BaseException as error:
            run.failed(
                disconnected=not isinstance(error, Exception) or isinstance(error, ClientDisconnect | OSError)
            )
            raise
        finally:
            run.end()

    def _begin(self, scope: Scope) -> Exchange | None:
        if not self.client.watches(method_of(scope), route_path(scope)) or is_preflight(scope):
            return None
        state_of(scope)
        found = self._routes(scope).find(scope)
        return self.client.begin(view_of(scope, found.template, found.parameters, self._trusted_proxies))

    def _routes(self, scope: Scope) -> RouteTable:
        if self._table is None or self._table.stale:
            # Not before: middleware is made before the routes are.
            owner: Any = scope.get("app", self._app)
            self._table = RouteTable(getattr(owner, "routes", ()))
            self.client.set_routes(self._table.endpoints())
        return self._table

    def _lifespan_send(self, scope: Scope, send: Send) -> Send:
        async def forward(message: Message) -> None:
            kind = message["type"]
            if kind == "lifespan.startup.complete":
                self._routes(scope)
                self.client.start()
                await self.client.settled()
            elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.client.aclose()
            await send(message)

        return forward
